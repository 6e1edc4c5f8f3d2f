"""Mechanisms that make an answer differentially private by adding noise, on whole arrays.

Laplace and Gaussian release real numbers **on a grid**: each result is a multiple of ``grid``, a
power of two. The steps, and why the promise holds for the numbers that leave the machine:

1. Each coordinate is rounded to the nearest multiple of the grid g. That is exact in doubles. It
   moves a coordinate by at most g/2, so neighbours come to lie up to g further apart in each of
   d coordinates. With sensitivity D before, it is at most D + d g after in the L1 norm, and
   D + sqrt(d) g in the L2 norm. The noise is calibrated to that.
2. Noise is drawn exactly, in whole units of g (``discrete``), and added as integers. For Laplace
   it is discrete Laplace noise: moving the answer by k units changes the probability of each
   result by a factor of at most e^(k / scale). For Gaussian it is a normal variable rounded to
   the grid. The sum is what rounding the Gaussian mechanism's own result would give, and
   rounding is post-processing: so its (epsilon, delta), Renyi and privacy-loss curves hold.
3. The integer times g is returned. That depends on the integer only, so it reveals no more.

No result is possible for one answer and impossible for a neighbour, which is the hole of noise in
double precision (see ``floating_point``). ``grid`` defaults to the largest power of two that adds
at most 2^-16 to the sensitivity; it depends on public parameters only.

Conventions: ``sensitivity`` is how far one person (a record added or removed, or replaced: as the
caller defines neighbours) can move the answer, over all coordinates together: in the L1 norm for
Laplace and geometric, in the L2 norm for Gaussian. ``sigma`` is an absolute standard deviation.
Noise comes from a cryptographic generator unless ``rng`` is given.

Adversary: sees the results, has any computing power, knows all of the data but one person's.
Not covered: the time that a call takes, what computing the answer itself reveals, and rounding
errors of a sum in floating point, which can exceed its sensitivity (Casacuberta et al., CCS 2022).

Errors: ValueError for epsilon <= 0, delta outside (0, 1), a sensitivity that is missing, infinite
or not positive, and for NaN or infinite values.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator, Shape
from refimpl.dp import checks, discrete
from refimpl.dp.calibration import gaussian_delta, gaussian_sigma
from refimpl.dp.discrete import discrete_gaussian, discrete_laplace
from refimpl.dp.selection import exponential, report_noisy_max

__all__ = [
    "default_grid",
    "discrete_gaussian",
    "discrete_laplace",
    "exponential",
    "gaussian",
    "gaussian_delta",
    "gaussian_sigma",
    "gaussian_units",
    "geometric",
    "laplace",
    "report_noisy_max",
]

_FINENESS = 2**16  # the rounding adds at most one part in this many to the sensitivity
_LARGEST = 2**62  # of a value in units of the grid, so that sums with noise fit 64 bits


def laplace(
    value: ArrayLike,
    *,
    sensitivity: float,
    epsilon: float,
    grid: float | None = None,
    rng: CryptoGenerator | None = None,
) -> NDArray[np.float64]:
    """``value`` with Laplace noise of scale sensitivity / epsilon, on a grid: epsilon-DP.

    (Dwork, McSherry, Nissim and Smith, TCC 2006; on a grid as the module says.) ``sensitivity`` is
    that of the whole array in the L1 norm. The result has the shape of ``value``.
    """
    array = checks.finite("value", value)
    distance, step = checks.sensitivity(sensitivity), _grid(grid, sensitivity, array, 1)
    units = math.floor(distance / step) + _spread(array.size, 1)  # of the grid, after rounding
    noise = discrete_laplace(array.shape, scale=units / checks.exact("epsilon", epsilon), rng=rng)
    return _release(array, step, noise)


def gaussian(
    value: ArrayLike,
    *,
    sensitivity: float,
    sigma: float | None = None,
    epsilon: float | None = None,
    delta: float | None = None,
    grid: float | None = None,
    rng: CryptoGenerator | None = None,
) -> NDArray[np.float64]:
    """``value`` with Gaussian noise, on a grid.

    Either ``epsilon`` and ``delta`` are given, and the result is (epsilon, delta)-DP with the least
    noise (``gaussian_sigma``); or ``sigma``, the standard deviation, and the result has the
    privacy of the Gaussian mechanism with noise multiplier sigma / sensitivity. ``sensitivity`` is
    that of the whole array in the L2 norm. The noise is larger than sigma by the factor by which
    rounding enlarges the sensitivity, 1 + 2^-16 at most with the default grid.
    """
    array = checks.finite("value", value)
    distance, step = checks.sensitivity(sensitivity), _grid(grid, sensitivity, array, 2)
    if (sigma is None) == (epsilon is None) or (epsilon is None) != (delta is None):
        raise ValueError("give either sigma, or both epsilon and delta")
    if sigma is None:
        assert epsilon is not None and delta is not None  # for the type checker
        sigma = gaussian_sigma(epsilon, delta, sensitivity=sensitivity)
    noise = gaussian_units(
        array.shape, sensitivity=distance, sigma=sigma, grid=float(step), rng=rng
    )
    return _release(array, step, noise)


def gaussian_units(
    shape: Shape,
    *,
    sensitivity: float | Fraction,
    sigma: float,
    grid: float,
    rng: CryptoGenerator | None = None,
) -> NDArray[np.int64]:
    """The noise of ``gaussian`` for an answer of this shape, in units of ``grid``: it fits any
    answer, so it may be drawn beforehand. Each draw is for one answer only.
    """
    size, step = math.prod((shape,) if isinstance(shape, int) else shape), Fraction(grid)
    enlarged = 1 + _spread(size, 2) * step / checks.sensitivity(sensitivity)
    width = checks.exact("sigma", sigma) / step * enlarged
    return discrete.rounded_gaussian(shape, sigma=width, rng=rng)


def geometric(
    value: ArrayLike,
    *,
    sensitivity: int = 1,
    epsilon: float,
    rng: CryptoGenerator | None = None,
) -> NDArray[np.int64]:
    """Counts with discrete Laplace noise of scale sensitivity / epsilon: epsilon-DP, and integers.

    (Ghosh, Roughgarden and Sundararajan, STOC 2009.) ``sensitivity``, a whole number, is that of
    the whole array in the L1 norm: 1 for a histogram to which a person adds one entry. Results may
    be negative; setting those to zero afterwards costs no privacy, but biases sums.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"value must be integers, got an array of {array.dtype}; see laplace")
    units = whole("sensitivity", sensitivity, 1)
    if array.size and max(abs(int(array.max())), abs(int(array.min()))) > _LARGEST:
        raise ValueError("value must be within +-2^62, so that sums with noise fit 64 bits")
    scale = units / checks.exact("epsilon", epsilon)
    result = array.astype(np.int64) + discrete_laplace(array.shape, scale=scale, rng=rng)
    return np.asarray(result)


def default_grid(sensitivity: float, *, size: int = 1, order: int = 1) -> float:
    """The grid of ``laplace`` (order 1) and ``gaussian`` (order 2) for ``size`` coordinates.

    The largest power of two of which 2^16 size, or 2^16 sqrt(size) with the root rounded up,
    fit into the sensitivity.
    """
    fit = _FINENESS * _spread(max(1, whole("size", size)), whole("order", order, 1, 2))
    exponent = math.frexp(float(checks.sensitivity(sensitivity)) / fit)[1] - 1
    if exponent < -1000:
        raise ValueError(
            f"sensitivity is too small for doubles, got {sensitivity!r}; scale the data"
        )
    return math.ldexp(1.0, exponent)


def _spread(size: int, order: int) -> int:
    """How many grid units rounding ``size`` coordinates moves neighbours apart, or a bit more."""
    return size if order == 1 or size == 0 else math.isqrt(size - 1) + 1  # sqrt, rounded up


def _grid(grid: float | None, sensitivity: float, array: NDArray[Any], order: int) -> Fraction:
    """The grid given, or the default one, as an exact number."""
    if grid is None:
        return Fraction(default_grid(sensitivity, size=array.size, order=order))
    if math.frexp(checks.positive("grid", grid))[0] != 0.5:
        nearest = math.ldexp(1.0, math.frexp(grid)[1] - 1)
        raise ValueError(
            f"grid must be a power of two, got {grid!r}; {nearest!r} is the next below"
        )
    return Fraction(grid)


def _release(
    array: NDArray[np.float64], step: Fraction, noise: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The values rounded to the grid, plus the noise, which is in units of the grid."""
    with np.errstate(over="ignore"):
        units = np.rint(array / float(step))
    if units.size and np.abs(units).max() > _LARGEST:
        raise ValueError(
            f"value must be within 2^62 grid={float(step)!r}, got {float(np.abs(array).max())!r}; "
            "clip it, or give a coarser grid"
        )
    return np.asarray((units.astype(np.int64) + noise) * float(step))
