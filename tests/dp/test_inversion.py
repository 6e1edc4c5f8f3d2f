"""Tables: every place of a boundary, and both sides of it, against 140-digit arithmetic."""

from bisect import bisect_right
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from refimpl.arithmetic import randomness
from refimpl.dp import inversion
from tests.dp import exact_laws

LAWS = [
    (Fraction(50, 9), 2, False),  # sigma 0.3
    (Fraction(1, 32), 2, False),  # sigma 4
    (Fraction(1, 2 * 40**2), 2, True),
    (Fraction(1, 3), 1, False),
    (Fraction(3), 1, True),
    (Fraction(1, 12), 1, False),
    (Fraction(10) ** 30, 2, False),  # sigma 7e-16: all but 0 is beyond any table
]
BITS = 320  # to which U is known in these tests
BIG = 2**BITS


class Uniform:
    """The generator of which a table reads the bits of one given U."""

    def __init__(self, u):
        self.words = [u >> BITS - 64 * i & (2**64 - 1) for i in range(1, BITS // 64 + 1)]
        self.taken = 0

    def uint64(self, shape=()):
        if self.taken == 0:  # the prefix: 16 bits, in the first place of a little-endian word
            self.taken = 1
            return np.array([self.words[0] >> 48], "<u8").astype(np.uint64)
        word = self.words[self.taken]
        self.taken += 1
        return np.uint64(word)

    def bits(self, bits, shape=()):
        assert bits == 48
        return np.full(shape, self.words[0] & (2**48 - 1), np.uint64)


def boundaries(a, power, both_zeros):
    """floor(2^320 F_j) for outcomes in order, until nothing is left."""
    with mpmath.workdps(140):
        weights, k = [], 0
        while not weights or weights[-1] > mpmath.mpf(2) ** -360:
            weights.append(mpmath.exp(-mpmath.mpf(a.numerator) / a.denominator * k**power))
            k += 1
        copies = [w for w in weights for _ in range(2)][0 if both_zeros else 1 :]
        total, sums, running = mpmath.fsum(copies), [], mpmath.mpf(0)
        for weight in copies:
            running += weight
            sums.append(int(mpmath.floor(running / total * BIG)))
        return sums


def place_to_outcome(j, both_zeros):
    """0, 1, -1, 2, -2, ..., or 0, -1 (minus zero), 1, -2 (minus one), ..., written out."""
    order = []
    for k in range(j // 2 + 2):
        order += [k, -1 - k] if both_zeros else ([0] if k == 0 else [k, -k])
    return order[j]


@pytest.mark.parametrize(("a", "power", "both_zeros"), LAWS)
def test_each_boundary_and_its_surroundings(a, power, both_zeros):
    """U just below, at and above each F_j, at a distance of about 1 in 2^190, 2^128, 2^64 and 2^48.

    A table that is cut off early, an entry that is off by two units in 2^64, a tie resolved by
    rounding, or a cell of the guide that hides a boundary, each leads to a wrong outcome here.
    """
    table, sums = inversion.Table(a, power, both_zeros=both_zeros), boundaries(a, power, both_zeros)
    step = max(1, len(sums) // 20)
    tested = 0
    for boundary in [*sums[:20], *sums[20::step]]:
        for distance in (2**130, 2**190, 2**193, 2**254, 2**258, 2**272):
            for u in (boundary - distance, boundary + distance):
                if 0 <= u < sums[-3]:
                    (drawn,) = table.draw(1, Uniform(u))
                    assert drawn == place_to_outcome(bisect_right(sums, u), both_zeros)
                    tested += 1
    assert tested >= (10 if a > 10**6 else 100)


@pytest.mark.parametrize(("a", "power", "both_zeros"), LAWS)
def test_the_guide_agrees_with_the_boundaries(a, power, both_zeros):
    """Both ends of each of the 65,536 cells; most cells are closed, so most draws are fast."""
    table, sums = inversion.Table(a, power, both_zeros=both_zeros), boundaries(a, power, both_zeros)
    cell = BIG >> 16
    closed = np.flatnonzero(table._guide != inversion._OPEN)
    assert closed.size > 0.9 * 2**16
    for prefix in map(int, closed[:: max(1, closed.size // 5000)]):
        first, last = bisect_right(sums, prefix * cell), bisect_right(sums, (prefix + 1) * cell - 1)
        assert first == last
        assert table._guide[prefix] == place_to_outcome(first, both_zeros)


@pytest.mark.parametrize(("a", "power", "both_zeros"), LAWS[:5])
@pytest.mark.parametrize("bits", [64, 128])
def test_the_stated_error_of_the_table(a, power, both_zeros, bits):
    """c <= 2^bits F < c + 2, for all entries; and the tail left out is below 2^-bits."""
    sums = boundaries(a, power, both_zeros)
    table = inversion.Table(a, power, both_zeros=both_zeros)._cumulative(bits)
    for c, s in zip(table, sums, strict=False):
        assert c << (BITS - bits) <= s < (c + 2) << (BITS - bits)
    assert BIG - sums[len(table) - 1] <= BIG >> bits


def test_draws_fit_the_distribution():
    """Power: noise 3 % too small or too large is found with certainty (see test_discrete)."""
    draws = inversion.table(Fraction(1, 32), 2).draw(400_000, randomness.seeded(1))
    assert exact_laws.p_value(draws, exact_laws.gaussian(4), 25) > exact_laws.CHANCE


def test_too_wide_a_distribution_is_an_error():
    with pytest.raises(ValueError, match="too many for a table"):
        inversion.Table(Fraction(1, 10**8), 2)


def test_tables_are_kept():
    assert inversion.table(Fraction(1, 5), 1) is inversion.table(Fraction(1, 5), 1)
