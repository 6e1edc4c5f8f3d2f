"""Randomised response: exact chances, and estimates that are unbiased, with their errors."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.dp import coins, randomized_response
from tests.dp.exact_laws import CHANCE

DRAWS = 200_000


def law(truth, epsilon, k):
    """The definition: the truth is e^epsilon times as likely as each other answer."""
    weights = np.where(np.arange(k) == truth, np.exp(epsilon), 1.0)
    return weights / weights.sum()


def fits(answers, chances):
    counts = np.bincount(answers, minlength=len(chances))
    return stats.chisquare(counts, chances * answers.size).pvalue


@pytest.mark.parametrize(
    ("epsilon", "k"), [(1.0, 2), (0.1, 2), (np.log(3), 3), (2.5, 10), (4, 100)]
)
def test_answers_have_the_stated_chances(epsilon, k):
    """Power: an epsilon 10 % off, and lies that may be the truth, are found."""
    truths = np.full(DRAWS, k - 2)
    answers = randomized_response.respond(
        truths, epsilon=epsilon, categories=k, rng=randomness.seeded(1)
    )
    assert answers.dtype == np.int64
    assert fits(answers, law(k - 2, epsilon, k)) > CHANCE
    if epsilon > 0.5:
        for wrong in (epsilon / 2, epsilon * 0.9, epsilon * 1.1):
            assert fits(answers, law(k - 2, wrong, k)) < CHANCE
    if epsilon > 0.5 and k <= 10:
        lie = randomized_response.lie_probability(epsilon=epsilon, categories=k)
        uniform = lie / k + (1 - lie) * (np.arange(k) == k - 2)  # a lie that may be the truth
        assert fits(answers, uniform) < CHANCE


def test_the_exact_coins_have_the_same_chances(monkeypatch):
    """All lies decided by the bounds. Power at 4,000 answers: an epsilon 25 % off."""
    monkeypatch.setattr(coins, "MARGIN", 2.0)
    answers = randomized_response.respond(
        np.zeros(4000, int), epsilon=2.0, categories=4, rng=randomness.seeded(2)
    )
    assert fits(answers, law(0, 2.0, 4)) > CHANCE
    assert fits(answers, law(0, 1.5, 4)) < CHANCE


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("epsilon", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("truths", [(0, 0, 0), (0, 1, 1), (1, 0, 1)])
def test_estimates_and_squared_errors_are_unbiased(k, epsilon, truths):
    """Averaged over all k^3 answers of three persons, each with its chance: exact, no sampling.

    A frequency off by the share of lies, or an error of the shares of answers instead of the
    frequencies (missing the division by p - q), would differ by a factor.
    """
    mean, second, errors = np.zeros(k), np.zeros(k), np.zeros(k)
    for answers in product(range(k), repeat=3):
        pairs = zip(truths, answers, strict=True)
        chance = np.prod([law(t, epsilon, k)[a] for t, a in pairs])
        found = randomized_response.estimate(answers, epsilon=epsilon, categories=k)
        assert found.frequencies.sum() == pytest.approx(1)
        mean += chance * found.frequencies
        second += chance * found.frequencies**2
        errors += chance * found.standard_errors**2
    assert mean == pytest.approx(np.bincount(truths, minlength=k) / 3)
    assert errors == pytest.approx(second - mean**2)


def test_estimates_of_many():
    """The frequencies lie within their errors, and 20 times as many people give smaller ones."""
    truths = np.repeat([0, 1, 2, 3], [50_000, 30_000, 20_000, 0])
    answers = randomized_response.respond(
        truths, epsilon=1.0, categories=4, rng=randomness.seeded(1)
    )
    found = randomized_response.estimate(answers, epsilon=1.0, categories=4)
    assert (np.abs(found.frequencies - [0.5, 0.3, 0.2, 0]) < 5.4 * found.standard_errors).all()
    assert found.standard_errors.max() < 0.01


def test_known_answers():
    """Noise 0.3 over 10 categories; and Warner's coin, a truth with chance 3/4, is log 3."""
    assert round(randomized_response.epsilon_of(noise=0.3, categories=10), 8) == 3.19184715
    assert randomized_response.lie_probability(epsilon=np.log(3)) == pytest.approx(0.25)


@given(st.floats(1e-6, 1 - 1e-6), st.integers(2, 50))
def test_the_two_ways_to_say_it_agree(noise, k):
    epsilon = randomized_response.epsilon_of(noise=noise, categories=k)
    lie = randomized_response.lie_probability(epsilon=epsilon, categories=k)
    assert lie == pytest.approx(noise * (k - 1) / k)


def test_extremes():
    truths = np.arange(1000) % 7
    same = randomized_response.respond(truths, epsilon=1e6, categories=7)
    assert (same == truths).all()
    noise = randomized_response.respond(np.zeros(DRAWS, int), epsilon=1e-12, categories=7)
    assert fits(noise, np.full(7, 1 / 7)) > CHANCE
    found = randomized_response.estimate(truths, epsilon=1e-12, categories=7)
    assert np.isfinite(found.frequencies).all()
    assert (found.standard_errors > 1e9).all()
    sure = randomized_response.estimate(truths, epsilon=800, categories=7)
    assert sure.standard_errors == pytest.approx(0)


def test_shapes_and_kinds():
    truths = np.array([[True, False], [False, False]])
    assert randomized_response.respond(truths, epsilon=1.0).shape == (2, 2)
    assert randomized_response.respond(1, epsilon=1.0).shape == ()
    assert randomized_response.respond([], epsilon=1.0).shape == (0,)
    assert randomized_response.estimate(truths, epsilon=1.0).frequencies.shape == (2,)


@pytest.mark.parametrize("wrong", [0, -1.0, np.nan, np.inf, None])
def test_epsilon_must_be_positive(wrong):
    for call in (
        lambda: randomized_response.respond([0], epsilon=wrong),
        lambda: randomized_response.estimate([0], epsilon=wrong),
        lambda: randomized_response.lie_probability(epsilon=wrong),
    ):
        with pytest.raises(ValueError, match="epsilon must be a finite number above 0, got"):
            call()


def test_bad_answers():
    with pytest.raises(ValueError, match=r"truths must be in \[0, 2\), got 2"):
        randomized_response.respond([0, 2], epsilon=1.0)
    with pytest.raises(ValueError, match=r"answers must be in \[0, 3\), got -1"):
        randomized_response.estimate([-1], epsilon=1.0, categories=3)
    with pytest.raises(ValueError, match="truths must be whole numbers, got an array of float64"):
        randomized_response.respond([0.5], epsilon=1.0)
    with pytest.raises(ValueError, match="answers must be at least one, got none"):
        randomized_response.estimate([], epsilon=1.0)
    with pytest.raises(ValueError, match="categories must be a whole number of at least 2, got 1"):
        randomized_response.respond([0], epsilon=1.0, categories=1)
    with pytest.raises(ValueError, match="noise must be between 0 and 1, both excluded"):
        randomized_response.epsilon_of(noise=1.0)
