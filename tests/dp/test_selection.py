"""Selection: chances of each option against formulas in exact arithmetic, and an audit of them."""

import math
from itertools import permutations

import numpy as np
import pytest
from diffprivlib.mechanisms import Exponential
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.dp import coins
from refimpl.dp.selection import exponential, report_noisy_max
from tests.dp.exact_laws import CHANCE

DRAWS = 200_000
SCORES = np.array([3.0, 0.0, 2.5, 3.0, -4.0])
ONE = {"sensitivity": 1.0, "epsilon": 1.0}


def exponential_law(scores, rate):
    weights = np.exp(rate * (scores - scores.max()))
    return weights / weights.sum()


def permute_and_flip_law(scores, rate):
    """McKenna and Sheldon 2020, algorithm 1: the average over all orders of the options."""
    keep, law = np.exp(rate * (scores - scores.max())), np.zeros(len(scores))
    for order in permutations(range(len(scores))):
        left = 1.0
        for option in order:
            law[option] += left * keep[option]
            left *= 1 - keep[option]
    return law / math.factorial(len(scores))


def fits(indices, law):
    return stats.chisquare(np.bincount(indices, minlength=len(law)), law * indices.size).pvalue


def choose(function, scores=SCORES, seed=1, draws=DRAWS, **arguments):
    rows = np.broadcast_to(scores, (draws, len(scores)))
    return function(rows, rng=randomness.seeded(seed), **{**ONE, **arguments})


def gumbel(scores, **arguments):
    return report_noisy_max(scores, noise="gumbel", **arguments)


FUNCTIONS = [
    (exponential, exponential_law),
    (gumbel, exponential_law),
    (report_noisy_max, permute_and_flip_law),
]


@pytest.mark.parametrize(("function", "law"), FUNCTIONS)
@pytest.mark.parametrize(
    ("arguments", "rate"),
    [
        ({}, 0.5),
        ({"sensitivity": 2.0}, 0.25),
        ({"epsilon": 3}, 1.5),
        ({"monotonic": True}, 1.0),
    ],
)
def test_the_chances_are_those_of_the_formula(function, law, arguments, rate):
    """Power: epsilon 5 % off, half or twice the noise, a sensitivity ignored, are all found."""
    chosen = choose(function, **arguments)
    assert fits(chosen, law(SCORES, rate)) > CHANCE
    for wrong in (rate / 2, rate * 0.95, rate * 1.05, rate * 2):
        assert fits(chosen, law(SCORES, wrong)) < CHANCE


def test_permute_and_flip_is_the_maximum_after_exponential_noise():
    """Noise of mean 2 / epsilon in doubles, 200,000 times (Ding et al. 2021)."""
    noise = np.random.default_rng(1).exponential(2.0, (DRAWS, len(SCORES)))
    assert fits((SCORES + noise).argmax(axis=1), permute_and_flip_law(SCORES, 0.5)) > CHANCE


def test_the_two_mechanisms_differ():
    """So the tests above can tell them apart; permute-and-flip has the better score on average."""
    assert fits(choose(exponential), permute_and_flip_law(SCORES, 0.5)) < CHANCE
    means = [law(SCORES, 0.5) @ SCORES for law in (permute_and_flip_law, exponential_law)]
    assert means[0] > means[1]


@pytest.mark.parametrize("function", [exponential, report_noisy_max])
def test_the_exact_coins_have_the_same_chances(monkeypatch, function):
    """All coins decided by bounds of their chance. Power at 3,000 draws: a wrong rate (half)."""
    monkeypatch.setattr(coins, "MARGIN", 2.0)
    law = dict(FUNCTIONS)[function]
    chosen = choose(function, draws=1500)
    assert fits(chosen, law(SCORES, 0.5)) > CHANCE
    assert fits(chosen, law(SCORES, 0.2)) < CHANCE


def test_chances_are_those_of_the_peer():
    theirs = Exponential(
        epsilon=1.0, sensitivity=1.0, utility=SCORES.tolist(), random_state=1
    )._probabilities
    law = np.diff(theirs, prepend=0) if theirs[-1] > 0.999 else np.array(theirs)
    assert np.allclose(law, exponential_law(SCORES, 0.5))
    assert fits(choose(exponential), law / law.sum()) > CHANCE


@pytest.mark.parametrize("function", [exponential, report_noisy_max])
def test_each_row_is_its_own_choice(function):
    scores = np.full((3, 2, 7), -1e6)
    best = np.array([[0, 6], [3, 3], [5, 1]])
    np.put_along_axis(scores, best[..., None], 0.0, axis=-1)
    assert (function(scores, **ONE) == best).all()
    assert function([0.0, 100.0], sensitivity=1, epsilon=100).shape == ()
    assert function(np.zeros((0, 4)), **ONE).shape == (0,)
    assert function([5.0], **ONE) == 0


@pytest.mark.parametrize("function", [exponential, report_noisy_max])
def test_equal_scores_are_equally_likely(function):
    assert fits(choose(function, np.zeros(6)), np.full(6, 1 / 6)) > CHANCE


@pytest.mark.parametrize("function", [exponential, report_noisy_max])
def test_extreme_scores_and_budgets(function):
    assert function([-1e308, 1e308], **ONE) == 1
    assert function([0.0, 1.0], sensitivity=1e-300, epsilon=1e300) == 1
    many = choose(function, np.array([0.0, 1.0]), draws=20_000, epsilon=1e-300)
    assert fits(many, np.array([0.5, 0.5])) > CHANCE
    scores = np.zeros(100_000)
    scores[77] = 1e5
    assert function(scores, **ONE) == 77


def test_permutations_are_uniform():
    """With equal scores the first of the order is chosen; with steep ones, the order is hidden."""
    chosen = choose(report_noisy_max, np.array([0.0, 0.0, 0.0, -2.0]), epsilon=2.0)
    assert fits(chosen, permute_and_flip_law(np.array([0.0, 0.0, 0.0, -2.0]), 1.0)) > CHANCE


@pytest.mark.parametrize("function", [exponential, report_noisy_max])
def test_bad_input(function):
    with pytest.raises(ValueError, match="scores must be finite, got nan at index"):
        function([1.0, np.nan], **ONE)
    with pytest.raises(ValueError, match="scores must be finite, got inf"):
        function([1.0, np.inf], **ONE)
    for none in ([], np.zeros((3, 0)), 1.0):
        with pytest.raises(ValueError, match="scores must hold at least one option"):
            function(none, **ONE)
    for wrong in (0, -1, np.nan, np.inf, None):
        with pytest.raises(ValueError, match="epsilon must be a finite number above 0"):
            function([1.0], sensitivity=1, epsilon=wrong)
        with pytest.raises(ValueError, match="sensitivity must be a finite number above 0"):
            function([1.0], sensitivity=wrong, epsilon=1)


def test_noise_of_another_name():
    with pytest.raises(ValueError, match="noise must be 'exponential' or 'gumbel', got 'laplace'"):
        report_noisy_max([1.0], noise="laplace", **ONE)
