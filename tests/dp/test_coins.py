"""Coins: bounds that hold, and draws next to the chance decided by further digits."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.dp import coins
from tests.dp.exact_laws import CHANCE

EXPONENTS = [Fraction(0), Fraction(1, 3), Fraction(1), Fraction(10**12, 7), Fraction(1, 10**40)]


class Words:
    """A generator that yields given words first, and then only the last one."""

    def __init__(self, *words):
        self.words = list(words)

    def uint64(self, shape=()):
        count = int(np.prod(shape))
        taken = [self.words.pop(0) if len(self.words) > 1 else self.words[0] for _ in range(count)]
        return np.array(taken, np.uint64).reshape(shape)


@given(st.fractions(0, 200), st.integers(1, 80))
def test_bounds_enclose_the_exponential(exponent, digits):
    low, high = coins.exponential(exponent, digits)
    with mpmath.workdps(digits + 120):
        true = mpmath.exp(-mpmath.mpf(exponent.numerator) / exponent.denominator)
        assert mpmath.mpf(low.numerator) / low.denominator <= true
        assert true <= mpmath.mpf(high.numerator) / high.denominator
    assert 0 <= low <= high <= 1
    assert high - low <= Fraction(1, 10**digits)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_bounds_narrow_without_end(exponent):
    pairs = coins.exponentials(exponent)
    widths = [high - low for low, high in (next(pairs) for _ in range(5))]
    assert widths[-1] <= Fraction(1, 10**100)


@pytest.mark.parametrize("exponent", [Fraction(1, 3), Fraction(1), Fraction(30)])
@pytest.mark.parametrize("places", [1, 2, 3])
def test_a_draw_that_agrees_with_the_chance_is_decided_by_what_follows(exponent, places):
    """The first ``places`` words of V are those of the chance; the next one decides.

    A comparison in doubles, or at 64 bits, gives the same answer for the word above and below.
    """
    with mpmath.workdps(120):
        digits = int(mpmath.floor(mpmath.exp(-mpmath.mpf(str(exponent))) * 2 ** (64 * 5)))
        if exponent.denominator != 1:
            digits = int(mpmath.floor(mpmath.exp(-mpmath.mpf(1) / 3) * 2 ** (64 * 5)))
    words = [digits >> 64 * (4 - i) & (2**64 - 1) for i in range(5)]
    chance = np.array([float(np.exp(-float(exponent)))])
    for change, heads in ((-1, True), (1, False)):
        source = Words(*words[:places], words[places] + change, 2**63)
        assert coins.flip(chance, lambda _: coins.exponentials(exponent), source)[0] == heads


def test_far_draws_need_no_further_digits():
    def fails(_):
        raise AssertionError("computed further digits")

    chance = np.array([0.25, 0.25])
    flipped = coins.flip(chance, fails, Words(2**62 - 2**30, 2**62 + 2**30))
    assert flipped.tolist() == [True, False]


def test_certain_and_impossible_chances():
    rng = randomness.seeded(1)
    certain = coins.flip(np.ones(1000), lambda _: coins.exponentials(Fraction(0)), rng)
    assert certain.all()
    impossible = coins.flip(np.zeros(1000), lambda _: coins.exponentials(Fraction(10**9)), rng)
    assert not impossible.any()


def test_a_chance_that_is_no_number_is_decided_exactly():
    rng = randomness.seeded(2)
    flipped = coins.flip(np.full(2000, np.nan), lambda _: coins.exponentials(Fraction(1)), rng)
    assert stats.binomtest(int(flipped.sum()), 2000, float(np.exp(-1))).pvalue > CHANCE


def test_the_exact_way_has_the_same_chances(monkeypatch):
    """All draws are decided by the bounds; the chance in doubles is wrong on purpose.

    Power: a chance off by 0.1 is found except once in 10^6; the wrong one here is off by 0.4.
    """
    monkeypatch.setattr(coins, "MARGIN", 2.0)
    rng, wrong = randomness.seeded(3), np.full(3000, 0.99)
    flipped = coins.flip(wrong, lambda _: coins.exponentials(Fraction(1, 2)), rng)
    assert stats.binomtest(int(flipped.sum()), 3000, float(np.exp(-0.5))).pvalue > CHANCE


def test_bounds_that_end_are_an_error():
    with pytest.raises(ValueError, match="must narrow without end"):
        coins.flip(np.array([0.5]), lambda _: iter([(Fraction(0), Fraction(1))]), Words(2**63))
