"""The checks that all mechanisms share, so that a wrong number never passes for a promise."""

import math
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def exact(name: str, value: Any, *, remedy: str = "") -> Fraction:
    """``value``, a finite number above 0 of any real type, as the rational number that it is.

    Raises ValueError with name, rule and value otherwise, and then the ``remedy``.
    """
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        number = Fraction(int(value) if isinstance(value, Integral) else value)  # type: ignore[arg-type]
        if number > 0:
            return number
    end = f"; {remedy}" if remedy else ""
    raise ValueError(f"{name} must be a finite number above 0, got {value!r}{end}")


def positive(name: str, value: Any) -> float:
    """``value`` as a float: see ``exact``."""
    return float(exact(name, value))


def sensitivity(value: Any) -> Fraction:
    """A sensitivity: as ``exact``, and an error that says where one comes from."""
    remedy = "clip each contribution (refimpl.dp.clipping) so that there is a bound"
    return exact("sensitivity", value, remedy=remedy)


def probability(name: str, value: Any) -> float:
    """``value`` as a float between 0 and 1, both excluded."""
    number = float(value) if isinstance(value, Real) else math.nan
    if not 0 < number < 1:
        raise ValueError(f"{name} must be between 0 and 1, both excluded, got {value!r}")
    return number


def finite(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as a float64 array without NaN and infinity.

    Raises ValueError where there is one, naming the first, TypeError for what is no real number.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be real numbers, got an array of {array.dtype}")
    whole = array.dtype.kind in "iu" and array.size
    if whole and max(int(array.max()), -int(array.min())) > 2**53:
        raise ValueError(f"{name} must be within +-2^53, where doubles hold every integer")
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        at = f" at index {where}" if where else ""
        raise ValueError(
            f"{name} must be finite, got {array[where]}{at} ({int(bad.sum())} of {array.size})"
        )
    return array.astype(np.float64)
