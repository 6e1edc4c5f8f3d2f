"""Noise in the integers: discrete Laplace, discrete Gaussian, and the normal rounded to integers.

    discrete Laplace    P(x) proportional to exp(-|x| / scale)        (two-sided geometric)
    discrete Gaussian   P(x) proportional to exp(-x^2 / (2 sigma^2))
    rounded Gaussian    P(x) = Pr[x - 1/2 < N(0, sigma^2) < x + 1/2]

All three are drawn exactly from the stream of random bits: their distance from the formula is 0,
so nothing is to be added to delta. A narrow distribution comes from a table (see ``inversion``).
A wide one is built as in Karney, ACM TOMS 42(1), 2016, algorithm N: with m a power of two,

    |x| = m (H + U),  H from a table of exp(-E(m H)),  U uniform in [0, 1),
    kept with chance exp(-(E(m H + m U) - E(m H))) <= 1,  E(x) = |x| / scale or x^2 / (2 sigma^2).

H has a width between 32 and 128, so nearly all draws are kept. The uniform number U is a
multiple of 1/m for the discrete distributions, and a real number for the rounded one.

Scale and sigma are taken as the exact rational numbers that they are (a float is one; a
``Fraction`` is never rounded), and may be up to 2^52. An independent sampler, in integers only and
slow, is in ``integer_sampling``.

Side channel: drawing takes time that depends on the draws. Do not let the adversary measure it.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.randomness import CryptoGenerator, Shape, resolve
from refimpl.dp import coins, inversion
from refimpl.dp.checks import exact

_DIRECT = {1: 256, 2: 1024}  # the largest scale, sigma that one table holds
_SPLIT = 128  # the largest of H
_LIMIT = 2**52  # so that all draws fit 64 bits
_LEAST = Fraction(1, 2**30)  # of the rounded one: below, rounding leaves no noise
_CHUNK = 1 << 15  # draws at a time, so that all steps stay in the cache
Attempt = Callable[[int, CryptoGenerator], NDArray[Any]]  # as many draws, or fewer


def discrete_laplace(
    shape: Shape, *, scale: float | Fraction, rng: CryptoGenerator | None = None
) -> NDArray[np.int64]:
    """Independent discrete Laplace variables, P(x) proportional to exp(-|x| / scale).

    A query of integers whose L1 sensitivity is D becomes (D / scale)-DP by adding them (Ghosh,
    Roughgarden and Sundararajan, STOC 2009, the geometric mechanism).
    """
    width = _width("scale", scale)
    return _fill(shape, _exactly(1 / width, 1, width), rng)


def discrete_gaussian(
    shape: Shape, *, sigma: float | Fraction, rng: CryptoGenerator | None = None
) -> NDArray[np.int64]:
    """Independent discrete Gaussian variables, P(x) proportional to exp(-x^2 / (2 sigma^2)).

    ``sigma`` is that of the formula. The standard deviation is at most sigma, and equal to it to
    six digits from sigma = 1 on. A query of integers whose L2 sensitivity is D becomes
    D^2 / (2 sigma^2)-zCDP by adding them (Canonne, Kamath and Steinke, NeurIPS 2020, theorem 4,
    for each coordinate).
    """
    width = _width("sigma", sigma)
    return _fill(shape, _exactly(1 / (2 * width**2), 2, width), rng)


def rounded_gaussian(
    shape: Shape, *, sigma: float | Fraction, rng: CryptoGenerator | None = None
) -> NDArray[np.int64]:
    """Independent normal variables of standard deviation sigma, each rounded to an integer.

    Added to integers, they give what rounding would after adding the normal variable itself. So
    every guarantee of the Gaussian mechanism holds as it stands: rounding is post-processing.
    """
    width = _width("sigma", sigma)
    if width < _LEAST:
        raise ValueError(f"sigma must be at least 2^-30, got {float(width):.4g}; use a finer grid")
    return _fill(shape, _Split(1 / (2 * width**2), 2, width, rounded=True).attempt, rng)


def _width(name: str, value: float | Fraction) -> Fraction:
    width = exact(name, value)
    if width > _LIMIT:
        raise ValueError(f"{name} must be at most 2^52, got {float(width):.4g}; use a coarser grid")
    return width


def _exactly(a: Fraction, power: int, width: Fraction) -> Attempt:
    """Draws with P(x) proportional to exp(-a |x|^power)."""
    if width <= _DIRECT[power]:
        return inversion.table(a, power).draw
    return _Split(a, power, width, rounded=False).attempt


def _fill(shape: Shape, attempt: Attempt, rng: CryptoGenerator | None) -> NDArray[np.int64]:
    """An array of independent draws, in pieces that stay in the cache."""
    rng, out = resolve(rng), np.empty(shape, np.int64)
    flat, filled = out.reshape(-1), 0
    while filled < flat.size:
        kept = attempt(min(_CHUNK, flat.size - filled), rng)
        flat[filled : filled + kept.size] = kept
        filled += kept.size
    return out


class _Split:
    """Draws of |x| = 2^shift (H + U), and the sign."""

    def __init__(self, a: Fraction, power: int, width: Fraction, *, rounded: bool) -> None:
        parts = width / _SPLIT
        self.shift = parts.numerator.bit_length() - parts.denominator.bit_length() + 1
        if not rounded:
            self.shift = max(self.shift, 0)
        self.a = a * Fraction(2) ** (self.shift * power)  # of H, of width 32 to 128
        self.power, self.rounded = power, rounded
        self.table = inversion.table(self.a, power, both_zeros=True)

    def attempt(self, size: int, rng: CryptoGenerator) -> NDArray[np.int64]:
        """The draws kept of ``size``; they are independent of each other and of how many."""
        code = self.table.draw(size, rng).astype(np.int64)
        sign = code >> 63  # 0 or -1
        h = code ^ sign
        words = rng.uint64(size)
        if not self.rounded:
            words &= np.uint64(2**64 - 2 ** (64 - self.shift)) if self.shift else np.uint64(0)
        u = words * 2.0**-64
        energy = u if self.power == 1 else u * (2 * h + u)

        def narrowing(i: int) -> Iterator[coins.Bounds]:
            return self._chances(int(h[i]), int(words[i]), rng)

        keep = coins.flip(np.exp(energy * -float(self.a)), narrowing, rng)
        magnitude = self._magnitude(h, words)
        if not self.rounded:
            keep &= (magnitude != 0) | (sign == 0)  # one zero, not two
        return ((magnitude ^ sign) - sign)[keep]

    def _magnitude(self, h: NDArray[np.int64], words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """2^shift (H + U), rounded to the nearest integer; U is given by its first 64 bits."""
        if self.shift < 0:  # U does not reach the next half
            return (h + (1 << (-self.shift - 1))) >> -self.shift
        halves = (words >> np.uint64(63 - self.shift)).astype(np.int64)  # floor(2^(shift+1) U)
        return (h << self.shift) + ((halves + 1) >> 1)

    def _chances(self, h: int, word: int, rng: CryptoGenerator) -> Iterator[coins.Bounds]:
        """Ever closer bounds of the chance to keep a draw, U being revealed on the way."""
        digits, low, unit = 20, Fraction(word, 2**64), Fraction(0)
        if self.rounded:
            unit = Fraction(1, 2**64)
        while True:
            yield self._chance(h, low + unit, digits)[0], self._chance(h, low, digits)[1]
            digits += 20
            if self.rounded:
                unit /= 2**64
                low += int(rng.uint64()) * unit

    def _chance(self, h: int, u: Fraction, digits: int) -> coins.Bounds:
        energy = self.a * ((h + u) ** self.power - h**self.power)
        return coins.exponential(energy, digits)
