"""Small random coefficients: their laws; and the bound on sums of them."""

import math

import numpy as np
import pytest
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.he import lattice_noise
from tests.he.lattice import binomial_tail, signed

DRAWS = 1 << 18
CHANCE = 1e-7


def agrees(values, probabilities):
    """Whether counts fit a law: {value: probability}; chi-square at CHANCE, rare values merged."""
    found = dict(zip(*np.unique(values, return_counts=True), strict=True))
    assert set(found) <= set(probabilities)
    common = [value for value, p in probabilities.items() if p * values.size >= 20]
    counts = [found.get(value, 0) for value in common]
    expected = [probabilities[value] * values.size for value in common]
    rest = values.size - sum(expected)
    if rest > 1e-6 * values.size:
        counts, expected = [*counts, values.size - sum(counts)], [*expected, rest]
    return stats.chisquare(counts, expected, sum_check=False).pvalue > CHANCE


# Power: with 2^18 draws a law whose variance is off by 2 %, or whose mean is off by 0.03, fails
# with probability above 0.999; so do 20 coins for 21, or a bit that is stuck.
def test_errors_are_centred_binomial_with_42_coins():
    values = signed(lattice_noise.error(randomness.seeded(1), (DRAWS,)))
    law = {k - 21: math.comb(42, k) / 2**42 for k in range(43)}
    assert agrees(values, law)
    wrong = {k - 20: math.comb(40, k) / 2**40 for k in range(41)}
    inside = values[np.abs(values) <= 20]
    assert not agrees(inside, wrong)  # the power, shown


def test_binary_and_ternary_laws():
    values = lattice_noise.binary(randomness.seeded(2), (DRAWS,))
    assert values.dtype == np.int8
    assert agrees(values, {-1: 1 / 4, 0: 1 / 2, 1: 1 / 4})
    values = lattice_noise.ternary(randomness.seeded(3), (DRAWS,))
    assert agrees(values, {-1: 1 / 3, 0: 1 / 3, 1: 1 / 3})
    assert not agrees(values, {-1: 0.33, 0: 0.34, 1: 0.33})


def test_neighbouring_errors_are_independent():
    """A correlation of 0.02 fails with probability above 0.999."""
    for draw in (
        signed(lattice_noise.error(randomness.seeded(4), (DRAWS,))),
        lattice_noise.binary(randomness.seeded(5), (DRAWS,)),
        lattice_noise.ternary(randomness.seeded(6), (DRAWS,)),
    ):
        correlation = np.corrcoef(draw[:-1], draw[1:])[0, 1]
        assert abs(correlation) * math.sqrt(DRAWS) < 5.5


def test_the_variances_are_exact():
    assert (
        sum((k - 21) ** 2 * math.comb(42, k) for k in range(43)) / (2**42)
        == lattice_noise.ERROR_VARIANCE
    )
    assert lattice_noise.BINARY_VARIANCE == (1 + 1) / 4
    assert lattice_noise.TERNARY_VARIANCE == (1 + 1) / 3


@pytest.mark.parametrize("limit", [5, 20, 60, 90, 200])
def test_the_bound_holds_for_coins_and_is_not_loose(limit):
    """400 coins have variance 100. The exact tail is by whole numbers."""
    exact = math.log2(binomial_tail(400, limit))
    bound = lattice_noise.log2_failure(limit, 100, 1)
    assert exact <= bound
    if limit <= 90:  # 9 standard deviations; far beyond, the tails of 400 coins are shorter
        assert bound <= exact + 8


def test_all_laws_are_sub_gaussian():
    """E exp(tX) <= exp(t² Var / 2), what the bound rests on."""
    for t in np.linspace(-8, 8, 161):
        assert np.cosh(t / 2) ** 2 <= np.exp(t * t * 0.5 / 2) * (1 + 1e-12)
        assert (1 + 2 * np.cosh(t)) / 3 <= np.exp(t * t * (2 / 3) / 2) * (1 + 1e-12)


def test_limit_and_failure_invert_each_other():
    for variance, coefficients, probability in [(10.5, 1, -40), (1e7, 1 << 19, -43), (3.0, 7, -2)]:
        limit = lattice_noise.limit(variance, coefficients, probability)
        assert lattice_noise.log2_failure(limit, variance, coefficients) == pytest.approx(
            probability
        )
    assert lattice_noise.log2_failure(1.0, 100.0, 10) == 0  # a probability is at most 1
    assert lattice_noise.log2_failure(1.0, 100.0, 0) == -math.inf
