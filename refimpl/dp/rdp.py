"""Renyi differential privacy: divergences that add up under composition, and what they bound.

A mechanism is (alpha, r)-RDP if D_alpha(P||Q) = 1/(alpha-1) log E_Q[(P/Q)^alpha] <= r for each
pair of neighbours (Mironov, CSF 2017, definition 4). Composition adds the r of each order
(proposition 1), and each order yields an (epsilon, delta), so the best one counts.

Orders are numbers above 1, whole or not, in arrays of shape (orders,); divergences have the same
shape, in nats. What is returned is rounded up by a part in 10^11, more than its round-off, so an
epsilon made of it is an upper bound. ``noise_multiplier`` is the noise's standard deviation over
the largest contribution of a record. With "replace-one" a record changes from one contribution to
another, up to twice as far.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from refimpl.dp.pairs import Array, DiscretePair, GaussianPair, LaplacePair, Pair

ORDERS: tuple[float, ...] = (
    *(1 + x / 100 for x in (1, 2, 3, 5, 7)),
    *(1 + x / 10 for x in range(1, 100)),
    *range(11, 65),
    *(72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 768, 1024),
    *(2**power for power in range(11, 15)),
)
MOMENTS: tuple[int, ...] = tuple(range(2, 34))  # lambda + 1 for lambda = 1, ..., 32

_UP = 1 + 1e-11
_POINTS = 8192
_TABLE = 128  # integer orders up to this one are computed as one table


def gaussian(orders: ArrayLike, *, noise_multiplier: float) -> Array:
    """The Gaussian mechanism of sensitivity 1: alpha / (2 sigma^2) (Mironov 2017, prop. 7)."""
    return _UP * _checked(orders) / (2 * noise_multiplier**2)


def sampled_gaussian(
    orders: ArrayLike,
    *,
    noise_multiplier: float,
    sample_rate: float,
    neighbours: Literal["add-remove", "replace-one"] = "add-remove",
) -> Array:
    """The Gaussian mechanism on a Poisson sample, exact at every order.

    For "add-remove" this is D_alpha((1-q) N(0, s^2) + q N(1, s^2) || N(0, s^2)), a record removed,
    which is at least that of one added (Mironov, Talwar and Zhang 2019, theorem 5). Whole orders
    are a finite sum (section 3.3), others an integral.
    """
    alphas = _checked(orders)
    replace = neighbours == "replace-one"
    if sample_rate == 1:
        return gaussian(alphas, noise_multiplier=noise_multiplier / (2 if replace else 1))
    whole = np.zeros(len(alphas), bool) if replace else alphas == np.floor(alphas)
    result = np.empty_like(alphas)
    result[whole] = _binomial(alphas[whole], noise_multiplier, sample_rate)
    pair = GaussianPair(noise_multiplier, sample_rate, above=True, below=replace)
    result[~whole] = _integral(alphas[~whole], pair)
    unsampled = gaussian(alphas, noise_multiplier=noise_multiplier / (2 if replace else 1))
    return np.minimum(_UP * result, unsampled)  # by quasi-convexity; where the integral is too long


def laplace(orders: ArrayLike, *, epsilon: float) -> Array:
    """The Laplace mechanism whose scale is sensitivity / epsilon (Mironov 2017, prop. 6)."""
    a = _checked(orders)
    log_sum = np.logaddexp(
        np.log(a / (2 * a - 1)) + (a - 1) * epsilon,
        np.log((a - 1) / (2 * a - 1)) - a * epsilon,
    )
    return _UP * np.maximum(log_sum + 1e-15, 0) / (a - 1)


def discrete(orders: ArrayLike, *, p: Sequence[float], q: Sequence[float]) -> Array:
    """Two distributions on finitely many outcomes, each with mass under both."""
    masses = np.array([p, q], float)
    if masses.ndim != 2 or not np.all(masses > 0) or not np.allclose(masses.sum(axis=1), 1):
        raise ValueError(f"p and q must be positive and sum to 1, got {p!r} and {q!r}")
    log_p, log_q = np.log(masses)
    return _UP * _divergence(_checked(orders), log_q, log_p - log_q, masses[0] - masses[1])


def curve(pair: Pair, orders: ArrayLike) -> Array:
    """The divergences D_alpha(P||Q) of a pair."""
    if isinstance(pair, GaussianPair):
        # one added is covered by one removed, see sampled_gaussian
        replace = pair.above and pair.below
        return sampled_gaussian(
            orders,
            noise_multiplier=pair.sigma,
            sample_rate=pair.rate,
            neighbours="replace-one" if replace else "add-remove",
        )
    if isinstance(pair, LaplacePair):
        return laplace(orders, epsilon=pair.epsilon)
    if isinstance(pair, DiscretePair):
        return discrete(orders, p=pair.p, q=pair.q)
    raise TypeError(f"pair must be one of refimpl.dp.pairs, got {pair!r}")


def epsilon(
    orders: ArrayLike,
    divergences: ArrayLike,
    delta: float,
    *,
    conversion: Literal["improved", "classic"] = "improved",
) -> tuple[float, float]:
    """The least epsilon of all orders at this delta, and its order.

    "improved" is proposition 12 of Canonne, Kamath and Steinke (NeurIPS 2020), "classic"
    proposition 3 of Mironov 2017, which is larger.
    """
    a, r = _checked(orders), np.asarray(divergences, float)
    bounds = r - math.log(delta) / (a - 1)
    if conversion == "improved":
        bounds += np.log1p(-1 / a) - np.log(a) / (a - 1)
    elif conversion != "classic":
        raise ValueError(f"conversion must be 'improved' or 'classic', got {conversion!r}")
    best = int(np.argmin(bounds))
    return max(0.0, float(bounds[best])), float(a[best])


def delta(orders: ArrayLike, divergences: ArrayLike, epsilon: float) -> tuple[float, float]:
    """The least delta of all orders at this epsilon, and its order: the improved conversion."""
    a, r = _checked(orders), np.asarray(divergences, float)
    logs = (a - 1) * (r - epsilon + np.log1p(-1 / a)) - np.log(a)
    best = int(np.argmin(logs))
    return math.exp(min(0.0, max(-700.0, logs[best]))), float(a[best])


def _checked(orders: ArrayLike) -> Array:
    alphas = np.atleast_1d(np.asarray(orders, float))
    if alphas.ndim != 1 or not len(alphas) or not np.all((alphas > 1) & np.isfinite(alphas)):
        raise ValueError(f"orders must be finite numbers above 1, at least one, got {orders!r}")
    return alphas


def _binomial(orders: Array, sigma: float, q: float) -> Array:
    """Whole orders: E[(P/Q)^a] = sum over k of C(a, k) (1-q)^(a-k) q^k e^(k(k-1) / (2 s^2)).

    The same sum without the exponential is 1, so E - 1 is the sum of its terms times e^... - 1,
    all positive: nothing cancels, however small it is.
    """
    result = np.empty_like(orders)
    small = orders <= _TABLE
    blocks = [np.flatnonzero(small), *np.flatnonzero(~small)[:, None]]
    for block in blocks:
        if not len(block):
            continue
        a = orders[block][:, None]
        k = np.arange(2, a.max() + 1)
        log_factorial = special.gammaln(np.arange(a.max() + 1) + 1)
        rest = (a - k).astype(int)
        exponent = k * (k - 1) / (2 * sigma**2)
        log_growth = exponent + np.log(-np.expm1(-exponent))
        log_factorials = log_factorial[a.astype(int)] - log_factorial[2:]
        log_terms = log_factorials - log_factorial[np.maximum(rest, 0)] + rest * math.log1p(-q)
        log_terms += k * math.log(q) + log_growth
        result[block] = _log_one_plus(np.where(rest >= 0, log_terms, -np.inf)) / (a[:, 0] - 1)
    return result


def _log_one_plus(log_terms: Array) -> Array:
    """log(1 + the sum of e^term along the last axis)."""
    largest = log_terms.max(axis=-1)
    return np.logaddexp(0, largest + np.log(np.exp(log_terms - largest[..., None]).sum(axis=-1)))


def _integral(orders: Array, pair: GaussianPair) -> Array:
    """Any orders, by the trapezoidal rule.

    The integrand is analytic within pi s^2 of the real line and falls like a Gaussian, so the rule
    converges exponentially: steps of s min(1, s) / 4 leave less than round-off. Orders that would
    need more than 8,192 points get infinity.
    """
    sigma, q = pair.sigma, pair.rate
    step = sigma * min(1.0, sigma) / 4
    reach = (2 if pair.below else 1) * orders + 1 + 13 * sigma  # from the means of extreme terms
    short = reach < _POINTS * step - (1 + 13 * sigma)
    result = np.full_like(orders, np.inf)
    if short.any():
        x = np.arange(-1 - 13 * sigma, reach[short].max(), step)
        log_q = pair.log_below(x) + math.log(step)
        centre, up, down = (_density(x - m, sigma) * step for m in (0, 1, -1))
        difference = q * (up - (down if pair.below else centre))
        result[short] = _divergence(orders[short], log_q, pair.loss(x), difference)
    return result


def _density(x: Array, sigma: float) -> Array:
    return np.exp(-0.5 * (x / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


def _divergence(orders: Array, log_q: Array, log_ratio: Array, difference: Array) -> Array:
    """D_alpha from log Q, log(P/Q) and P - Q at all outcomes (or points of a rule).

    E[(P/Q)^a] - 1 is computed as E[r^a - 1 - a (r - 1)] with r = P/Q: E[r - 1] is zero and the
    rest is never negative, so nothing cancels between outcomes.
    """
    a = orders[:, None]
    exponent = log_q + a * log_ratio
    shift = np.maximum(0, exponent.max(axis=1, keepdims=True))
    direct = np.exp(exponent - shift) - np.exp(-shift) * (np.exp(log_q) + a * difference)
    # within an outcome: where r is near 1, the binomial series from its quadratic term
    t = np.where(a * np.abs(log_ratio) < 0.1, np.expm1(np.minimum(log_ratio, 1)), 0)
    series = np.ones_like(t)
    for k in range(10, 2, -1):
        series = 1 + series * t * (a - k + 1) / k
    series *= np.exp(log_q) * t**2 * a * (a - 1) / 2 * np.exp(-shift)
    total = np.where(t != 0, series, np.maximum(direct, 0)).sum(axis=1)
    return (np.logaddexp(-shift[:, 0], np.log(total)) + shift[:, 0]) / (orders - 1)
