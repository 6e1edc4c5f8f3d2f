"""The discrete Gaussian by arithmetic on integers alone: short, exact, and slow.

Algorithms 1 to 3 of Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy",
NeurIPS 2020. All chances are rational numbers or e to the power of one, and none is ever computed.
Parameters are rational numbers of any size. About 10^4 draws a second; ``discrete`` draws the same
distributions some thousand times faster. It is kept as the plain definition and as its oracle.

Side channel: drawing takes time that depends on the draws. Do not let the adversary measure it.
"""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.randomness import CryptoGenerator, Shape, resolve
from refimpl.dp.checks import exact


def discrete_laplace(
    shape: Shape, *, scale: float | Fraction, rng: CryptoGenerator | None = None
) -> NDArray[np.int64]:
    """Independent variables with P(x) proportional to exp(-|x| / scale)."""
    parameter, source = exact("scale", scale), _Uniform(resolve(rng))
    out = np.empty(shape, np.int64)
    out.reshape(-1)[:] = [laplace(parameter, source) for _ in range(out.size)]
    return out


def discrete_gaussian(
    shape: Shape, *, sigma: float | Fraction, rng: CryptoGenerator | None = None
) -> NDArray[np.int64]:
    """Independent variables with P(x) proportional to exp(-x^2 / (2 sigma^2))."""
    variance, source = exact("sigma", sigma) ** 2, _Uniform(resolve(rng))
    out = np.empty(shape, np.int64)
    out.reshape(-1)[:] = [gaussian(variance, source) for _ in range(out.size)]
    return out


class _Uniform:
    """Uniform integers of any size, from a stock of random bits."""

    def __init__(self, rng: CryptoGenerator) -> None:
        self._rng, self._stock, self._bits = rng, 0, 0

    def below(self, bound: int) -> int:
        """A uniform element of [0, bound), exactly: draws that reach the bound are drawn again."""
        bits = (bound - 1).bit_length()
        while True:
            if self._bits < bits:
                fresh = 8 * max(64, bits)
                self._stock = int.from_bytes(self._rng.bytes(fresh // 8), "little")
                self._bits = fresh
            value = self._stock & ((1 << bits) - 1)
            self._stock >>= bits
            self._bits -= bits
            if value < bound:
                return value

    def coin(self, chance: Fraction) -> bool:
        """True with a rational chance."""
        return self.below(chance.denominator) < chance.numerator


def exponential_coin(gamma: Fraction, source: _Uniform) -> bool:
    """True with chance e^-gamma, gamma >= 0 (algorithm 1).

    For gamma <= 1: k coins of chances gamma/1, gamma/2, ... in turn show heads with chance
    gamma^k / k!, and the first tails comes at an odd place with chance 1 - gamma + gamma^2/2! - ...
    """
    while gamma > 1:
        if not exponential_coin(Fraction(1), source):
            return False
        gamma -= 1
    place = 1
    while source.coin(gamma / place):
        place += 1
    return place % 2 == 1


def laplace(scale: Fraction, source: _Uniform) -> int:
    """One discrete Laplace variable of scale = t / s (algorithm 2)."""
    t, s = scale.numerator, scale.denominator
    while True:
        u = source.below(t)
        if not exponential_coin(Fraction(u, t), source):
            continue
        v = 0
        while exponential_coin(Fraction(1), source):
            v += 1
        magnitude, negative = (u + t * v) // s, source.below(2) == 1
        if magnitude or not negative:  # one zero, not two
            return -magnitude if negative else magnitude


def gaussian(variance: Fraction, source: _Uniform) -> int:
    """One discrete Gaussian variable of parameter sigma^2 (algorithm 3)."""
    t = math.isqrt(int(variance)) + 1  # floor(sigma) + 1
    while True:
        y = laplace(Fraction(t), source)
        gamma = (abs(y) - variance / t) ** 2 / (2 * variance)
        if exponential_coin(gamma, source):
            return y
