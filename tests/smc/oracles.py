"""Slow and plain versions to hold the fast ones against, and generators that say what is drawn."""

from itertools import pairwise

import numpy as np
from scipy import stats

from refimpl.arithmetic.randomness import CryptoGenerator

P = 2**61 - 1


def lagrange(points, modulus=P, at=0):
    """f(at) of the polynomial through ``points``, pairs (x, y), in Python integers."""
    total = 0
    for i, (x, y) in enumerate(points):
        above = below = 1
        for j, (other, _) in enumerate(points):
            if i != j:
                above = above * (at - other) % modulus
                below = below * (x - other) % modulus
        total += y * above * pow(below, -1, modulus)
    return total % modulus


def polynomial(coefficients, x, modulus=P):
    """Σ c_k x^k, term by term."""
    return sum(c * pow(x, k, modulus) for k, c in enumerate(coefficients)) % modulus


def differences(values):
    """Forward differences at the first of equally spaced ``values``, its own value first."""
    found, row = [], list(values)
    while row:
        found.append(row[0] % P)
        row = [right - left for left, right in pairwise(row)]
    return found


class Scripted(CryptoGenerator):
    """Draws what it is told, array by array; nothing may be left over."""

    def __init__(self, draws):
        super().__init__(bytes(16))
        self.draws = [np.array(draw, np.uint64) for draw in draws]

    def uint64(self, shape=(), *, out=None):
        out[...] = self.draws.pop(0)
        return out

    def below(self, bound, shape=()):
        assert bound == P
        return self.draws.pop(0).reshape(shape)


def assert_uniform_bytes(data, *, least_power):
    """Chi-squared test of ``data``, bytes, for uniformity, which fails by chance once in 10^9.

    ``least_power``: a bit that is set with this probability instead of 1/2, in every byte, is
    caught except once in 10^6.
    """
    counts = np.bincount(data.reshape(-1).view(np.uint8), minlength=256)
    limit = stats.chi2.isf(1e-9, 255)
    shift = counts.sum() * (2 * least_power - 1) ** 2
    assert stats.ncx2.cdf(limit, 255, shift) < 1e-6, "too few bytes for the power claimed"
    assert stats.chisquare(counts).statistic < limit
