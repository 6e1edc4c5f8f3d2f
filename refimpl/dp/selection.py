"""Choosing the best of several options privately: exponential mechanism and report-noisy-max.

    exponential:        Pr[i] proportional to exp(epsilon score_i / (2 sensitivity))
    report-noisy-max:   the i with the largest score_i + noise_i

With Gumbel noise, report-noisy-max is the exponential mechanism. With exponential noise it is
permute-and-flip: visit the options in random order, and take each with chance exp(-epsilon
(best - score_i) / (2 sensitivity)) (McKenna and Sheldon, NeurIPS 2020; equal by Ding et al.,
arXiv:2105.07260). It is never worse in expectation, at the same epsilon.

Floating point: noise in doubles is not the stated noise, and its gaps tell scores apart. So no
noise is computed. Both mechanisms take coins with the chances above, which are exact for the
scores as given (see ``coins``), and are epsilon-DP for them.

Side channel: the number of coins depends on the scores. Do not let the adversary measure the time.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.dp import checks, coins

_COINS = 1 << 20  # at a time


def exponential(
    scores: ArrayLike,
    *,
    sensitivity: float,
    epsilon: float,
    monotonic: bool = False,
    rng: CryptoGenerator | None = None,
) -> NDArray[np.intp]:
    """The index of an option, with chances that grow exponentially with its score: epsilon-DP.

    (McSherry and Talwar, FOCS 2007.) ``scores``: (..., options); each row of the last axis is a
    choice of its own, so that the result has the shape of the axes before. One person may move
    each score of one row by ``sensitivity``, and no other row: else choices compose. If one
    person moves all scores in the same direction (counts, when a record is added),
    ``monotonic=True`` saves half of epsilon. NaN and infinite scores are errors.

    Options are drawn uniformly, each kept with its chance relative to the best one's.
    """
    rng, choice = resolve(rng), _Choice(scores, sensitivity, epsilon, monotonic)
    rows, options = choice.scores.shape
    chosen, left, tries = np.empty(rows, np.intp), np.arange(rows), 8
    while left.size:
        index = rng.below(options, (left.size, tries)).astype(np.intp)
        kept = choice.flip(left, index, rng)
        done, first = kept.any(axis=1), kept.argmax(axis=1)
        chosen[left[done]] = index[done, first[done]]
        left = left[~done]
        tries = max(1, min(2 * tries, 2 * options, _COINS // max(1, left.size)))
    return chosen.reshape(choice.shape)


def report_noisy_max(
    scores: ArrayLike,
    *,
    sensitivity: float,
    epsilon: float,
    noise: Literal["exponential", "gumbel"] = "exponential",
    monotonic: bool = False,
    rng: CryptoGenerator | None = None,
) -> NDArray[np.intp]:
    """The index of the option whose score is largest after noise: epsilon-DP.

    Exponential noise has mean 2 sensitivity / epsilon, Gumbel noise that scale; other arguments and
    the result are those of ``exponential``. Only the index is released; the noisy score is not.
    """
    if noise == "gumbel":
        return exponential(
            scores, sensitivity=sensitivity, epsilon=epsilon, monotonic=monotonic, rng=rng
        )
    if noise != "exponential":
        raise ValueError(f"noise must be 'exponential' or 'gumbel', got {noise!r}")
    rng, choice = resolve(rng), _Choice(scores, sensitivity, epsilon, monotonic)
    rows, options = choice.scores.shape
    order = _permutations(rows, options, rng)
    first = choice.flip(np.arange(rows), order, rng).argmax(axis=1)  # the best is always kept
    return order[np.arange(rows), first].reshape(choice.shape)


class _Choice:
    """The scores of each row, and the coins that they bias."""

    def __init__(
        self, scores: ArrayLike, sensitivity: float, epsilon: float, monotonic: bool
    ) -> None:
        array = checks.finite("scores", scores)
        if array.ndim == 0 or array.shape[-1] == 0:
            raise ValueError(f"scores must hold at least one option, got shape {array.shape}")
        self.shape = array.shape[:-1]
        self.scores = array.reshape(-1, array.shape[-1])
        self.best = self.scores.max(axis=1)
        moved = checks.sensitivity(sensitivity) * (1 if monotonic else 2)
        self.rate = checks.exact("epsilon", epsilon) / moved

    def flip(
        self, rows: NDArray[np.intp], options: NDArray[np.intp], rng: CryptoGenerator
    ) -> NDArray[np.bool_]:
        """Coins of chances exp(-rate (best - score)); row i is about row ``rows[i]``."""
        scores, best = self.scores[rows[:, None], options], self.best[rows]
        rate = float(min(self.rate, Fraction(2) ** 1000))
        with np.errstate(over="ignore"):  # a gap beyond the doubles has chance 0 to 2^-40
            chances = np.exp((scores - best[:, None]) * rate)

        def narrowing(i: int) -> Iterator[coins.Bounds]:
            gap = Fraction(best[i // options.shape[1]]) - Fraction(scores.flat[i])
            return coins.exponentials(self.rate * gap)

        return coins.flip(chances.reshape(-1), narrowing, rng).reshape(options.shape)


def _permutations(rows: int, options: int, rng: CryptoGenerator) -> NDArray[np.intp]:
    """Uniform permutations: the order of random words, drawn again where two are equal."""
    words = rng.uint64((rows, options))
    order = words.argsort(axis=1)
    ranked = np.take_along_axis(words, order, axis=1)
    for row in np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(axis=1)):
        order[row] = _permutations(1, options, rng)[0]
    return order
