"""The hole in noise from doubles, and that releases on a grid do not have it.

The attack decides between the answers 0 and 1 by asking which of them can have led to a result.
2,000 results each. In vain, it is right as often for both answers up to a factor e^epsilon.
"""

import numpy as np
import pytest
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.dp import floating_point, mechanisms

EPSILON = 0.5
LAPLACE = {"sensitivity": 1.0, "epsilon": EPSILON}
SIGMA = mechanisms.gaussian_sigma(EPSILON, 1e-6)
RESULTS = 2000


def could_be(results, value, law):
    if law == "laplace":
        return floating_point.could_be_laplace(results, value, **LAPLACE)
    return floating_point.could_be_gaussian(results, value, sigma=SIGMA)


def naive(value, law, seed=1):
    values, rng = np.full(RESULTS, float(value)), randomness.seeded(seed, f"{value}")
    if law == "laplace":
        return floating_point.naive_laplace(values, rng=rng, **LAPLACE)
    return floating_point.naive_gaussian(values, sigma=SIGMA, rng=rng)


def released(value, law):
    rng = randomness.seeded(1, f"{value}")
    if law == "laplace":
        one = [mechanisms.laplace(value, rng=rng, **LAPLACE) for _ in range(RESULTS)]
    else:
        one = [
            mechanisms.gaussian(value, sensitivity=1.0, sigma=SIGMA, rng=rng)
            for _ in range(RESULTS)
        ]
    return np.array(one)


def lower_bound(hits, false_hits):
    """Clopper and Pearson's bound on log(P/Q) at 1 - 1e-7, of an event of chances P and Q."""
    least = stats.beta.ppf(5e-8, hits, RESULTS - hits + 1) if hits else 0.0
    most = stats.beta.ppf(1 - 5e-8, false_hits + 1, RESULTS - false_hits)
    return np.log(least / most) if least else -np.inf


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
@pytest.mark.parametrize("truth", [0, 1])
def test_the_hole(law, truth):
    """Each naive result is possible from its answer; most are not from the neighbour's.

    So "impossible from the other" never accuses the wrong answer, and convicts the right one in
    more than half of all cases: epsilon is at least 4 with certainty, where 0.5 was promised.
    """
    results = naive(truth, law)
    assert could_be(results, truth, law).all()
    convicted = ~could_be(results, 1 - truth, law)
    wrongly = ~could_be(naive(1 - truth, law), 1 - truth, law)
    assert convicted.mean() > 0.5
    assert not wrongly.any()
    assert lower_bound(convicted.sum(), wrongly.sum()) > 4 > EPSILON


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_releases_on_a_grid_do_not_have_it(law):
    """The same attack, in vain: no event that it defines is more likely than the promise allows."""
    results = {value: released(float(value), law) for value in (0, 1)}
    for accused in (0, 1):
        events = {value: ~could_be(results[value], accused, law) for value in (0, 1)}
        for one, other in ((0, 1), (1, 0)):
            assert lower_bound(events[one].sum(), events[other].sum()) <= EPSILON


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_all_releases_are_possible_from_both_answers(law):
    """Every result is a multiple of a public grid, as are all of the neighbour's; and each unit
    near the answers does occur: the supports are equal where they can be seen."""
    if law == "laplace":
        made = {
            value: mechanisms.laplace(np.full(5000, value), sensitivity=1.0, epsilon=5e3, grid=1.0)
            for value in (0.0, 1.0)
        }
    else:
        made = {
            value: mechanisms.gaussian(np.full(5000, value), sensitivity=80.0, sigma=1.0, grid=1.0)
            for value in (0.0, 1.0)
        }
    supports = [set(results[np.abs(results) <= 2]) for results in made.values()]
    assert supports[0] == supports[1] == {-2.0, -1.0, 0.0, 1.0, 2.0}


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_naive_noise_is_the_right_noise_otherwise(law):
    """It passes a test of fit, so looking at the histogram does not show the hole."""
    noise = naive(0, law)
    reference = stats.laplace(scale=1 / EPSILON) if law == "laplace" else stats.norm(0, SIGMA)
    assert stats.kstest(noise, reference.cdf).pvalue > 1e-6
    assert stats.kstest(noise / 2, reference.cdf).pvalue < 1e-6


def test_results_too_far_away_are_an_error():
    with pytest.raises(ValueError, match="results must be within some 1000 times the noise"):
        floating_point.could_be_laplace([1e9], 1e9 + 1e-3, sensitivity=1.0, epsilon=1.0)


def test_bad_input():
    with pytest.raises(ValueError, match="epsilon must be a finite number above 0"):
        floating_point.naive_laplace(0.0, sensitivity=1.0, epsilon=0)
    with pytest.raises(ValueError, match="sigma must be a finite number above 0"):
        floating_point.naive_gaussian(0.0, sigma=-1.0)
    with pytest.raises(ValueError, match="value must be finite"):
        floating_point.naive_gaussian(np.nan, sigma=1.0)
    with pytest.raises(ValueError, match="results must be finite"):
        floating_point.could_be_laplace([np.nan], 0, **LAPLACE)
