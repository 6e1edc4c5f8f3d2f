"""Randomised response: each person lies with a known chance, and the statistics are put right.

    Pr[answer = truth] = e^epsilon / (e^epsilon + k - 1),  Pr[answer = any other] = 1 / (...)

Of k categories, numbered from 0; k = 2 is Warner's method (J. Am. Stat. Assoc. 60, 1965), general k
is Kairouz, Oh and Viswanath, NeurIPS 2014. Each answer is epsilon-DP for whoever gives it (local
DP: a truth replaced by another changes no chance by more than e^epsilon), and no one needs to be
trusted. ``estimate`` computes from answers only, so it costs no privacy.

Adversary: sees all answers. What leaks: that answers were given, and how many. Answers of one
person to several questions, or to one question several times, compose.

Errors: ValueError for epsilon <= 0, and for categories that are not whole numbers in [0, k).
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.dp import checks, coins


class Estimate(NamedTuple):
    """Unbiased ``frequencies`` of the categories, and their ``standard_errors``; shape (k,) each.

    Frequencies add up to 1; those of rare categories may be negative, as unbiased ones must.
    """

    frequencies: NDArray[np.float64]
    standard_errors: NDArray[np.float64]


def respond(
    truths: ArrayLike,
    *,
    epsilon: float,
    categories: int = 2,
    rng: CryptoGenerator | None = None,
) -> NDArray[np.int64]:
    """One answer for each truth; both are categories in [0, categories). epsilon-DP each.

    The coins are exact: with rounded chances, neighbouring truths could differ by more.
    """
    values = _categories("truths", truths, categories)
    rng, lie = resolve(rng), lie_probability(epsilon=epsilon, categories=categories)
    exponent = checks.exact("epsilon", epsilon)

    def narrowing(_: int) -> Iterator[coins.Bounds]:  # of (k - 1) / (e^epsilon + k - 1)
        for low, high in coins.exponentials(exponent):
            yield _lie(low, categories), _lie(high, categories)

    lies = coins.flip(np.full(values.size, lie), narrowing, rng).reshape(values.shape)
    shift = rng.below(categories - 1, values.shape).astype(np.int64) + 1  # another category
    return np.where(lies, (values + shift) % categories, values)


def estimate(answers: ArrayLike, *, epsilon: float, categories: int = 2) -> Estimate:
    """The frequencies of the truths behind n >= 1 independent answers.

    A category of frequency f is answered with chance c = q + f (p - q), p for the truth and q for
    any other. So f is estimated by (share of answers - q) / (p - q): unbiased. The
    standard error, sqrt((f p (1-p) + (1-f) q (1-q)) / n) / (p - q), is that of the lies alone, for
    the persons asked; that persons are a sample from more is not in it. Its square is unbiased.
    """
    values = _categories("answers", answers, categories)
    if not values.size:
        raise ValueError("answers must be at least one, got none")
    n, decay = values.size, math.exp(-checks.positive("epsilon", epsilon))
    total = 1 + (categories - 1) * decay
    q, difference = decay / total, -math.expm1(-float(epsilon)) / total  # p - q
    shares = np.bincount(values.reshape(-1), minlength=categories) / n
    # f p (1-p) + (1-f) q (1-q) = q (1-q) + f (p-q) (1-p-q), and 1-p-q = (k-2) q
    variances = (q * (1 - q) + (shares - q) * (categories - 2) * q) / n
    return Estimate((shares - q) / difference, np.sqrt(variances) / difference)


def lie_probability(*, epsilon: float, categories: int = 2) -> float:
    """The chance that an answer is not the truth: (k - 1) / (e^epsilon + k - 1)."""
    k = whole("categories", categories, 2)
    return float(_lie(Fraction(math.exp(-checks.positive("epsilon", epsilon))), k))


def epsilon_of(*, noise: float, categories: int = 2) -> float:
    """The epsilon of answering, with chance ``noise``, a uniform category (truth included).

    A common way to say it: epsilon = log((1 - noise + noise / k) / (noise / k)).
    """
    k = whole("categories", categories, 2)
    return float(np.log1p(k * (1 - checks.probability("noise", noise)) / noise))


def _lie(decay: Fraction, k: int) -> Fraction:
    """(k - 1) / (e^epsilon + k - 1), for decay = e^-epsilon."""
    return (k - 1) * decay / (1 + (k - 1) * decay)


def _categories(name: str, values: ArrayLike, categories: int) -> NDArray[np.int64]:
    k = whole("categories", categories, 2)
    array = np.asarray(values)
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be whole numbers, got an array of {array.dtype}")
    wrong = array[(array < 0) | (array >= k)]
    if wrong.size:
        raise ValueError(f"{name} must be in [0, {k}), got {wrong.flat[0]}")
    return array.astype(np.int64)
