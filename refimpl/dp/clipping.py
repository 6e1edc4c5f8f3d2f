"""Clipping: bounding what one contribution can change, which is what noise is measured against.

A vector whose norm exceeds the bound is scaled down to it; others, and the zero vector, stay as
they are. A sum of clipped vectors then has a sensitivity, whatever the data:

- one vector added or removed moves it by at most ``bound`` ("add-remove"),
- one vector replaced by another moves it by at most 2 ``bound`` ("replace-one").

Who is protected is decided by what a row is: one example's gradient (``rows``), or everything that
one client sends (``joint``). Clipping after averaging bounds nothing: one vector can still
outweigh the others.

The bound is kept in exact arithmetic on the doubles (or floats) returned: the factor is smaller
by a few units in the last place than the formula's, more than rounding can add.

Errors: ValueError for a bound that is not positive and finite, an order other than 1 or 2, and NaN
or infinite values; such a vector is a fault to be found, not a large one to be clipped.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.checks import whole
from refimpl.dp import checks

Neighbours = Literal["add-remove", "replace-one"]


def rows(array: NDArray[Any], *, bound: float, order: int = 2) -> NDArray[Any]:
    """Each row of ``array`` (axis 0, all other axes together) clipped by itself.

    min(1, bound / norm) * row, the norm being L1 or L2 by ``order`` (Abadi et al., CCS 2016,
    algorithm 1, for L2). Returns a new array of the same shape, float32 or float64.
    """
    array = _floating(array)
    if array.ndim == 0:
        raise ValueError("array must have rows, got a single number")
    flat = array.reshape(len(array), math.prod(array.shape[1:]))
    factors = _factors(norms(flat, order=order), bound, flat.shape[1], array.dtype)
    return (flat * factors[:, None].astype(array.dtype)).reshape(array.shape)


def vector(array: NDArray[Any], *, bound: float, order: int = 2) -> NDArray[Any]:
    """The whole array clipped as one vector, for example one client's update."""
    return rows(np.asarray(array)[None], bound=bound, order=order)[0]


def joint(arrays: Sequence[NDArray[Any]], *, bound: float, order: int = 2) -> list[NDArray[Any]]:
    """Several arrays of one contributor, clipped by their norm taken together."""
    if not arrays:
        raise ValueError("arrays must be at least one, got none")
    kinds = [_floating(array) for array in arrays]
    whole_vector = np.concatenate([np.asarray(a, float).reshape(-1) for a in kinds])
    lowest = min((a.dtype for a in kinds), key=lambda dtype: np.finfo(dtype).bits)
    (factor,) = _factors(norms(whole_vector[None], order=order), bound, whole_vector.size, lowest)
    return [array * array.dtype.type(factor) for array in kinds]


def norms(array: NDArray[Any], *, order: int = 2) -> NDArray[np.float64]:
    """The L1 or L2 norm of each row, computed in float64 without overflow or underflow."""
    order = whole("order", order, 1, 2)
    array = _floating(array)
    flat = array.reshape(len(array), math.prod(array.shape[1:]))
    peaks = np.abs(flat).max(axis=1, initial=0).astype(float)
    _, exponents = np.frexp(peaks)
    if order == 1:
        scaled = np.abs(np.ldexp(flat.astype(float), -exponents[:, None]))
        return np.ldexp(scaled.sum(axis=1), exponents)
    scaled = np.ldexp(flat.astype(float), -exponents[:, None])
    return np.ldexp(np.sqrt(np.einsum("ij,ij->i", scaled, scaled)), exponents)


def sum_sensitivity(bound: float, *, neighbours: Neighbours = "add-remove") -> float:
    """How far one contributor moves a sum of vectors of norm at most ``bound``, in that norm."""
    if neighbours not in ("add-remove", "replace-one"):
        raise ValueError(f"neighbours must be 'add-remove' or 'replace-one', got {neighbours!r}")
    return float(checks.positive("bound", bound)) * (1 if neighbours == "add-remove" else 2)


def mean_sensitivity(bound: float, *, count: int, neighbours: Neighbours = "replace-one") -> float:
    """How far one contributor moves the sum divided by ``count``, a public number.

    With "add-remove", the divisor must be the same number for both neighbours, such as the expected
    size of a batch; the number of rows at hand changes with the contributor, and tells of it.
    """
    return sum_sensitivity(bound, neighbours=neighbours) / whole("count", count, 1)


def _factors(
    lengths: NDArray[np.float64], bound: float, size: int, dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    """min(1, bound / norm), rounded down so far that the clipped norm cannot exceed the bound."""
    bound = float(checks.positive("bound", bound))
    slack = 4 * float(np.finfo(dtype).eps) + (size + 8) * 2.0**-52
    clipped = lengths > bound * (1 - slack / 2)  # so that clipping again changes nothing
    with np.errstate(over="ignore", divide="ignore"):
        return np.where(clipped, bound / np.where(clipped, lengths, 1) * (1 - slack), 1.0)


def _floating(array: NDArray[Any]) -> NDArray[Any]:
    """The array as float32 or float64, without NaN and infinity."""
    array = np.asarray(array)
    finite = checks.finite("array", array)
    return array if array.dtype in (np.float32, np.float64) else finite
