"""Noise in plain double precision, and the attack that it does not withstand. NOT FOR RELEASES.

    naive Laplace     value + sensitivity / epsilon * (+-log U),   U = k / 2^53
    naive Gaussian    value + sigma Phi^-1(U)

In real numbers these are the Laplace and the Gaussian mechanism. In doubles, U takes 2^53 values
and the noise at most twice as many, with gaps between. Added to different answers, they land on
different doubles. So whoever sees one result can test which answers can have led to it at all
(Mironov, CCS 2012). Where a result is possible from one answer and not from its neighbour, no
epsilon holds.

``could_be_laplace`` and ``could_be_gaussian`` are that test. It takes nothing but the result and
the public parameters. The releases of ``mechanisms`` are multiples of a grid, each of them
possible from every answer.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.dp import checks

_STEPS = 2.0**53
_LONGEST = 1000  # candidates on either side
Array = NDArray[np.float64]


def naive_laplace(
    value: ArrayLike, *, sensitivity: float, epsilon: float, rng: CryptoGenerator | None = None
) -> Array:
    """Laplace noise as textbooks and many programs compute it. Not differentially private."""
    array, rng, scale = checks.finite("value", value), resolve(rng), _scale(sensitivity, epsilon)
    k = rng.below(2**53 - 1, array.shape).astype(float) + 1
    sign = np.where(rng.bits(1, array.shape) == 1, -1.0, 1.0)
    return np.asarray(array + sign * _exponential(k, scale))


def naive_gaussian(value: ArrayLike, *, sigma: float, rng: CryptoGenerator | None = None) -> Array:
    """Gaussian noise as doubles compute it. Not differentially private."""
    array, sigma = checks.finite("value", value), checks.positive("sigma", sigma)
    k = resolve(rng).below(2**53 - 1, array.shape).astype(float) + 1
    return np.asarray(array + _normal(k, sigma))


def could_be_laplace(
    results: ArrayLike, value: float, *, sensitivity: float, epsilon: float
) -> NDArray[np.bool_]:
    """For each result, whether ``naive_laplace`` can have made it from this value."""
    array, scale = checks.finite("results", results), _scale(sensitivity, epsilon)
    sign = np.where(array < value, -1.0, 1.0)
    nearest = np.exp(-np.abs(array - value) / scale) * _STEPS
    slope = nearest / scale  # of k over the noise
    return _search(array, value, nearest, slope, lambda k: sign * _exponential(k, scale))


def could_be_gaussian(results: ArrayLike, value: float, *, sigma: float) -> NDArray[np.bool_]:
    """For each result, whether ``naive_gaussian`` can have made it from this value."""
    array, sigma = checks.finite("results", results), checks.positive("sigma", sigma)
    z = (array - value) / sigma
    slope = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) / sigma * _STEPS
    return _search(array, value, special.ndtr(z) * _STEPS, slope, lambda k: _normal(k, sigma))


def _search(
    results: Array, value: float, nearest: Array, slope: Array, noise: Callable[[Array], Array]
) -> NDArray[np.bool_]:
    """Whether some k near ``nearest`` leads to the result, computed forward as the mechanism does.

    A rounding of the result, or of the noise, by a unit in the last place moves k by ``slope``
    times it. Those of the functions themselves move it by a few units of k's last place.
    """
    place = np.maximum(np.spacing(np.abs(results)), np.spacing(np.abs(results - value)))
    reach = int(np.ceil((place * slope).max(initial=0))) + 4
    if reach > _LONGEST:
        raise ValueError(f"results must be within some {_LONGEST} times the noise, got {reach}")
    found = np.zeros(results.shape, bool)
    for offset in range(-reach, reach + 1):
        k = np.clip(np.rint(nearest) + offset, 1, _STEPS - 1)
        found |= value + noise(k) == results
    return found


def _exponential(k: Array, scale: float) -> Array:
    return -scale * np.log(k / _STEPS)


def _normal(k: Array, sigma: float) -> Array:
    return np.asarray(sigma * special.ndtri(k / _STEPS))


def _scale(sensitivity: float, epsilon: float) -> float:
    return float(checks.sensitivity(sensitivity)) / float(checks.positive("epsilon", epsilon))
