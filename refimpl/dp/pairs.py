"""Dominating pairs: the two output distributions P and Q that are hardest to tell apart.

A mechanism is (epsilon, delta)-DP for each delta >= the hockey-stick divergence of its pair,

    delta(epsilon) = sup over events A of P(A) - e^epsilon Q(A) = E_P[(1 - e^(epsilon - L))_+],

with the privacy loss L = log dP/dQ. A pair that dominates in this sense, for all epsilon and in
both orders of the neighbours, still does after adaptive composition, step by step (Zhu, Dong and
Wang, AISTATS 2022, Theorem 10), so an accountant needs nothing else. Where the order of the
neighbours matters there are two pairs, and the worse result counts.

Neighbouring data sets differ by one record that is added or removed ("add-remove"), or by one that
is replaced ("replace-one"). A record contributes at most 1, in the mechanism's norm. So replacing
one moves a sum by up to 2, and removing one by up to 1: the same noise gives two epsilons.

A pair answers questions about its loss: its ``tails``, its ``nodes`` and its ``maximum``.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


class Tails(NamedTuple):
    """P and Q of one side of each loss: {L <= l} for the first ``split`` losses, {L > l} after.

    The smaller side is accurate relative to itself, as one minus the larger is not. ``excess`` is
    P - Q, accurate relative to ``scale``.
    """

    p: Array
    q: Array
    excess: Array
    scale: Array
    split: int


class Pair(Protocol):
    """What an accountant asks of a pair (P, Q)."""

    @property
    def maximum(self) -> float:
        """The largest privacy loss, the mechanism's pure epsilon; ``inf`` if there is none."""

    def tails(self, losses: Array) -> Tails:
        """Both sides of increasing losses, of which the first is negative and the last positive."""

    def nodes(self, tail: float) -> Array:
        """Increasing losses, dense where L is likely; P(L > last) <= ``tail``."""


@dataclass(frozen=True)
class GaussianPair:
    """The Gaussian mechanism on a Poisson sample: mixtures of N(0, s^2), N(1, s^2), N(-1, s^2).

    ``sigma`` is noise over the largest contribution of a record, ``rate`` the chance of each
    record to be in the sample. P puts weight ``rate`` on mean 1 if ``above``, Q on mean -1 if
    ``below``; the rest of both is N(0, s^2).

    - A record removed is (above), one added is (below): Zhu, Dong and Wang 2022, Theorem 11.
    - One replaced is (above, below). Why it dominates: given the other records sampled, P is
      (1-q) N(0) + q N(u), Q is (1-q) N(0) + q N(v), with |u|, |v| <= 1 in any dimension, and for
      a = e^epsilon >= 1, P(A) - a Q(A) = q N(u)(A) - (1-q)(a-1) N(0)(A) - a q N(v)(A).
      Among the events with a given N(u)(A), Neyman and Pearson bound N(0)(A) and N(v)(A) from
      below by distances |u| <= 1 and |u-v| <= 2, and the half-lines of u = 1, v = -1 reach both
      bounds at once. The pair is its own mirror image, which covers the other order.
    """

    sigma: float
    rate: float
    above: bool
    below: bool

    @property
    def maximum(self) -> float:
        """Infinite, but for one record added to a sample that may miss it: -log(1 - q)."""
        return np.inf if self.above or self.rate == 1 else -float(np.log1p(-self.rate))

    def tails(self, losses: Array) -> Tails:
        """See ``Pair.tails``: the loss rises with x, so each side of it is one of a Gaussian."""
        x, q = self._output(losses), self.rate
        split = int(np.searchsorted(x, 0))
        sign = np.where(np.arange(len(x)) < split, 1.0, -1.0) / self.sigma
        centre = special.ndtr(sign * x)
        up = special.ndtr(sign * (x - 1)) if self.above else centre
        down = special.ndtr(sign * (x + 1)) if self.below else centre
        p, q_side = (1 - q) * centre + q * up, (1 - q) * centre + q * down
        return Tails(p, q_side, q * (up - down), q * (up + down), split)

    def nodes(self, tail: float) -> Array:
        """The losses of evenly spaced outputs x, whose P-mass outside is at most ``tail``."""
        low = min(self.sigma * special.ndtri(tail), -1.0)  # beyond a mean: losses of both signs
        high = -self.sigma * special.ndtri(tail / 2)
        if self.above:
            high = max(high, 1 - self.sigma * special.ndtri(min(0.5, tail / (2 * self.rate))))
        return np.unique(self.loss(np.linspace(low, high, 240)))

    def loss(self, x: Array) -> Array:
        """log P(x)/Q(x), which rises with x."""
        up = _log_mixture((x - 0.5) / self.sigma**2, self.rate) if self.above else 0
        down = _log_mixture((-x - 0.5) / self.sigma**2, self.rate) if self.below else 0
        return np.asarray(up - down)

    def log_below(self, x: Array) -> Array:
        """log Q(x)."""
        log_centre = -0.5 * (x / self.sigma) ** 2 - np.log(self.sigma * np.sqrt(2 * np.pi))
        down = _log_mixture((-x - 0.5) / self.sigma**2, self.rate) if self.below else 0
        return log_centre + down

    def _output(self, losses: Array) -> Array:
        """The x of each loss: the inverse of ``loss``."""
        variance, q = self.sigma**2, self.rate
        if self.above and self.below:
            # x = s^2 (l/2 + asinh((1-q)/q e^(1/2s^2) sinh(l/2)))
            half = np.abs(losses) / 2
            with np.errstate(divide="ignore"):
                log_sinh = half + np.log(-np.expm1(-2 * half) / 2)
                log_factor = np.log1p(-q) - np.log(q) + 0.5 / variance + log_sinh
            large = log_factor + np.log(2)
            small = np.arcsinh(np.exp(np.minimum(log_factor, 30)))
            return variance * np.sign(losses) * (half + np.where(log_factor < 30, small, large))
        sign = 1.0 if self.above else -1.0
        return sign * (variance * _log_unmixed(sign * losses, q) + 0.5)


def _log_mixture(exponent: Array, q: float) -> Array:
    """log(1 - q + q e^exponent), accurate near zero."""
    if q == 1:
        return exponent
    small = np.log1p(q * np.expm1(np.minimum(exponent, 1)))
    return np.where(exponent < 1, small, np.logaddexp(np.log1p(-q), np.log(q) + exponent))


def _log_unmixed(loss: Array, q: float) -> Array:
    """The exponent whose ``_log_mixture`` is ``loss``; -inf where there is none."""
    if q == 1:
        return loss
    with np.errstate(divide="ignore"):
        small = np.log1p(np.maximum(np.expm1(np.minimum(loss, 1)) / q, -1))
    large = loss - np.log(q) + np.log1p((q - 1) * np.exp(-np.maximum(loss, 1)))
    return np.where(loss < 1, small, large)


@dataclass(frozen=True)
class LaplacePair:
    """The Laplace mechanism: P and Q are Laplace of scale 1, their means ``epsilon`` apart."""

    epsilon: float

    @property
    def maximum(self) -> float:
        """The mechanism is epsilon-DP."""
        return self.epsilon

    def tails(self, losses: Array) -> Tails:
        """See ``Pair.tails``: P has mean 0, Q epsilon, and L = epsilon - 2x between the means."""
        x = (self.epsilon - np.clip(losses, -self.epsilon, self.epsilon)) / 2
        split = int(np.searchsorted(losses, 0))
        lower = np.arange(len(x)) < split
        # P(X >= x) or P(X < x), with P(X < x) = 0 where the loss is epsilon from x = 0 down
        p = np.where(lower, np.exp(-x) / 2, -np.expm1(-x) + np.exp(-x) / 2)
        q = np.where(lower, 1 - np.exp(x - self.epsilon) / 2, np.exp(x - self.epsilon) / 2)
        below, above = losses < -self.epsilon, losses >= self.epsilon
        p, q = np.where(below | above, 0, p), np.where(below | above, 0, q)
        return Tails(p, q, p - q, p + q, split)

    def nodes(self, tail: float) -> Array:
        """Evenly spaced losses between minus and plus epsilon."""
        return np.linspace(-self.epsilon, self.epsilon, 201)


@dataclass(frozen=True)
class DiscretePair:
    """P and Q on finitely many outcomes, each with mass under both."""

    p: tuple[float, ...]
    q: tuple[float, ...]

    @property
    def losses(self) -> Array:
        """The loss of each outcome."""
        return np.log(self.p) - np.log(self.q)

    @property
    def maximum(self) -> float:
        """The largest loss of an outcome."""
        return float(self.losses.max())

    def tails(self, losses: Array) -> Tails:
        """See ``Pair.tails``: sums over the outcomes."""
        p, q = np.array(self.p), np.array(self.q)
        split = int(np.searchsorted(losses, 0))
        lower = (np.arange(len(losses)) < split)[:, None]
        side = np.where(lower, self.losses <= losses[:, None], self.losses > losses[:, None])
        return Tails(side @ p, side @ q, side @ (p - q), side @ (p + q), split)

    def nodes(self, tail: float) -> Array:
        """The losses of the outcomes."""
        return np.unique(self.losses)


def randomized_response(epsilon: float, categories: int = 2) -> DiscretePair:
    """One answer of k categories, true with e^epsilon times the chance of each other answer.

    The answers of two persons differ in two categories. With k = 2 this is the worst of all
    epsilon-DP mechanisms (Kairouz, Oh and Viswanath, ICML 2015, section 3.1).
    """
    lie = 1 / (np.exp(epsilon) + categories - 1)
    rest = (lie,) * (categories - 2)
    return DiscretePair((np.exp(epsilon) * lie, lie, *rest), (lie, np.exp(epsilon) * lie, *rest))
