"""Privacy-loss distributions: closed forms, exact convolution, an inversion without a grid, faults.

The faults are planted by monkeypatch, and the same comparison that passes without them fails.
"""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from refimpl.dp import discretisation, pairs, pld, saddle
from tests.dp import oracles

KINDS = {"remove": (True, False), "add": (False, True), "replace": (True, True)}


def gaussian(sigma, rate, kind):
    above, below = KINDS[kind]
    return pairs.GaussianPair(sigma, rate, above, below)


def bounds(steps, delta, **grid):
    profile = pld.compose(steps, delta=delta, **grid)
    return profile.epsilon_lower(delta), profile.epsilon(delta)


# (sigma, rate, steps, delta), small numbers and large ones, where the inversion converges
TRAINING = [
    (1.1, 0.01, 10_000, 1e-5),
    (1.1, 0.01, 10_000, 1e-15),
    (4.0, 0.01, 10_000, 1e-12),
    (0.5, 0.3, 50, 1e-6),
    (0.7, 0.05, 3_000, 1e-3),
    (20.0, 6e-6, 1_500, 1e-12),
    (1e4, 0.5, 100_000, 1e-10),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sigma", "rate", "steps", "delta"), TRAINING)
def test_the_true_epsilon_lies_in_the_certified_interval(sigma, rate, steps, delta, kind):
    """And the upper end is within a part in 10^4 of it."""
    lower, upper = bounds([(gaussian(sigma, rate, kind), steps)], delta)
    oracle = oracles.Inversion(sigma, rate, steps, kind, delta)
    assert oracle.delta(upper) <= delta <= oracle.delta(lower)
    assert delta < oracle.delta(upper * (1 - 1e-4))


def test_the_inversion_itself():
    """Against closed forms of 40 digits, and one convolution by high-precision quadrature."""
    for mu, epsilon in [(1, 1), (1, 8.16), (0.01, 0.02)]:
        exact = float(oracles.gaussian_delta(mu, epsilon))
        for sigma, steps, kind in [(1, 1, "remove"), (10, 100, "add"), (20, 100, "replace")]:
            found = oracles.Inversion(sigma / mu, 1, steps, kind, 1e-24).delta(epsilon)
            assert found == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("log_sigma", np.linspace(math.log10(0.3), 4, 6))
@pytest.mark.parametrize(("steps", "delta"), [(1, 1e-5), (1, 1e-15), (1000, 1e-9), (10**5, 1e-3)])
def test_without_sampling_it_is_the_analytic_gaussian(log_sigma, steps, delta):
    sigma = 10**log_sigma
    lower, upper = bounds([(gaussian(sigma, 1.0, "remove"), steps)], delta)
    mu = math.sqrt(steps) / sigma
    if upper <= 0:
        assert oracles.gaussian_delta(mu, 0) <= delta
        return
    assert oracles.gaussian_delta(mu, upper) <= delta <= oracles.gaussian_delta(mu, max(0, lower))
    assert oracles.gaussian_delta(mu, upper * (1 - 1e-4)) > delta


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sigma", "rate"), [(0.3, 1e-4), (1.1, 0.01), (2.0, 0.6), (100, 0.1)])
def test_one_step_is_the_hockey_stick_of_the_pair(sigma, rate, kind):
    """At 30 digits; small rates too, where the inversion would not converge."""
    delta = 1e-6
    lower, upper = bounds([(gaussian(sigma, rate, kind), 1)], delta)
    with mpmath.workdps(30):
        if upper > 0:
            assert oracles.one_step(sigma, rate, kind, upper) <= delta
            assert oracles.one_step(sigma, rate, kind, upper * (1 - 1e-4)) > delta
        if lower > 0:
            assert oracles.one_step(sigma, rate, kind, lower) >= delta


@pytest.mark.parametrize(("kind", "epsilon"), [("remove", 1.2), ("add", 0.5), ("replace", 1.5)])
def test_two_steps_are_a_convolution(kind, epsilon):
    profile = pld.compose([(gaussian(1.1, 0.3, kind), 2)], epsilon=epsilon, scale=1 / 8)
    with mpmath.workdps(15):
        exact = oracles.two_steps(1.1, 0.3, kind, epsilon)
    assert profile.delta_lower(epsilon) <= exact <= profile.delta(epsilon) <= exact * (1 + 1e-5)


@pytest.mark.parametrize(("epsilon", "steps", "delta"), [(0.1, 100, 1e-6), (1.0, 10, 1e-15)])
def test_randomised_response_is_a_binomial_sum(epsilon, steps, delta):
    lower, upper = bounds([(pairs.randomized_response(epsilon), steps)], delta, scale=1 / 8)
    response = oracles.exact_response
    assert response(epsilon, steps, upper) <= delta <= response(epsilon, steps, lower)
    assert upper - lower < 0.02 * upper


def test_two_laplace_steps_are_a_convolution():
    pair = pairs.LaplacePair(0.7)
    lower, upper = bounds([(pair, 2)], 1e-3)

    def one(at):
        if at >= 0.7:
            return mpmath.mpf(0)
        if at <= -0.7:
            return 1 - mpmath.exp(at)
        x = (0.7 - at) / 2  # P(L > at) - e^at Q(L > at), the outputs below x
        return 1 - mpmath.exp(-x) / 2 - mpmath.exp(at) * mpmath.exp(x - 0.7) / 2

    def two(at):
        ends = [0, (1.4 - at) / 2, 0.7]  # beyond the second, delta is 0
        inner = mpmath.quad(lambda x: mpmath.exp(-x) / 2 * one(at - (0.7 - 2 * x)), ends)
        return inner + one(at - 0.7) / 2 + mpmath.exp(-0.7) / 2 * one(at + 0.7)

    assert two(upper) <= 1e-3 <= two(lower)
    assert two(upper * (1 - 1e-4)) > 1e-3


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([*KINDS, "laplace", "response"]),
    st.floats(0.4, 5),
    st.floats(1e-4, 1),
    st.integers(10, 400),
)
def test_dots_keep_both_masses_and_dominate(kind, sigma, rate, points):
    pair = {"laplace": pairs.LaplacePair(1 / sigma), "response": pairs.randomized_response(rate)}
    pair = pair.get(kind) or gaussian(sigma, rate, kind)
    nodes = pair.nodes(1e-12)
    margin = 0.01 * (nodes[-1] - nodes[0])
    losses = np.linspace(nodes[0] - margin, nodes[-1] + margin, points)
    masses, above, _, _ = discretisation.connect_the_dots(pair, losses)
    assert masses.min() >= 0
    assert masses.sum() + above == pytest.approx(1, abs=1e-12)
    tails = pair.tails(losses)
    assert masses @ np.exp(-losses) <= 1 + 1e-9
    profile = np.maximum(0, 1 - np.exp(losses[:, None] - losses)) @ masses + above
    upper = np.arange(points) >= tails.split
    true = tails.p - np.exp(losses) * tails.q
    assert np.all(profile[upper] >= true[upper] - 1e-12)
    assert profile[upper][:-1] == pytest.approx(true[upper][:-1], abs=1e-9)  # exact at the dots


@pytest.mark.parametrize(("spacing", "steps"), [(1.0, 1000), (1e-3, 10), (0.3, 10**6)])
def test_rounding_errors_stay_under_their_bound(spacing, steps):
    """Losses half-way between two dots: a binomial sum, in mean and deviation near the worst."""
    up = -math.expm1(-spacing / 2) / -math.expm1(-spacing)  # keeps E[e^-R] = 1
    for chance in (0.5, 1e-3, 1e-9):
        quantile = stats.binom.isf(chance, steps, up)
        exceeded = (quantile - steps / 2) * spacing
        bound = discretisation.rounding(spacing, steps, chance)
        slack = spacing * math.sqrt(-2 * steps * math.log(chance))
        assert exceeded <= bound <= exceeded + slack + 0.01 * steps * spacing**2


def test_tail_probabilities_are_as_accurate_as_assumed():
    for pair in (gaussian(1.1, 0.01, "remove"), gaussian(3.0, 0.5, "replace")):
        losses = np.sort(np.concatenate([pair.nodes(1e-28)[::60], [1e-3]]))
        tails = pair.tails(losses)
        p, q = oracles.densities(pair.sigma, pair.rate, "replace" if pair.below else "remove")
        with mpmath.workdps(40):
            for i, x in enumerate(pair._output(losses)):
                side = -1 if i < tails.split else 1
                mean = [(1 - pair.rate, 0), (pair.rate, 1)]
                exact = sum(w * mpmath.ncdf(side * (m - x) / pair.sigma) for w, m in mean)
                assert abs(tails.p[i] / exact - 1) < discretisation.relative_error(tails.q[i])
                # the loss assigned to x is the loss at x
                assert abs(mpmath.log(p(x) / q(x)) - losses[i]) < 1e-12


def test_delta_and_epsilon_are_inverse():
    for steps in ([(gaussian(1.1, 0.01, "remove"), 1000)], [(pairs.LaplacePair(0.2), 30)]):
        for delta in (1e-2, 1e-6, 1e-13):
            epsilon = pld.compose(steps, delta=delta).epsilon(delta)
            assert pld.compose(steps, epsilon=epsilon).delta(epsilon) == pytest.approx(
                delta, rel=1e-3
            )


def test_a_delta_that_the_grid_cannot_reach_is_an_error():
    pair = gaussian(1.0, 0.5, "remove")
    with pytest.raises(ValueError, match="delta must be at least 1e-100"):
        pld.compose([(pair, 1)], delta=1e-120)
    with pytest.raises(ValueError, match="delta must be at least 1e-100"):
        pld.compose([(pair, 1)], epsilon=1e4)
    with pytest.raises(ValueError, match="out of reach of this grid"):
        pld.compose([(pair, 1)], delta=1e-3).epsilon(1e-14)
    with pytest.raises(ValueError, match="take a larger spacing"):
        pld.compose([(pair, 1)], delta=1e-5, spacing=1e-9)


class TestPlantedFaults:
    """Each fault moves epsilon out of the certified interval, or the bound under the truth."""

    sigma, rate, steps, delta = 1.1, 0.01, 10_000, 1e-12

    def holds(self, kind="remove", **grid):
        steps = [(gaussian(self.sigma, self.rate, kind), self.steps)]
        lower, upper = bounds(steps, self.delta, **grid)
        oracle = oracles.Inversion(self.sigma, self.rate, self.steps, kind, self.delta)
        return oracle.delta(upper) <= self.delta <= oracle.delta(lower)

    def test_nothing_is_wrong_without_a_fault(self):
        assert self.holds()
        assert self.holds(spacing=1e-2)

    def test_no_tilt(self, monkeypatch):
        """A plain transform: its own round-off bound must say that it knows nothing of 1e-12."""
        index = np.argmin
        monkeypatch.setattr(
            saddle.Moments, "saddle", lambda self, **_: int(index(np.abs(self.thetas)))
        )
        with pytest.raises(ValueError, match="out of reach of this grid"):
            self.holds()
        # and if round-off is not counted either, the result is wrong
        profile = pld._profile

        def uncounted(*arguments):
            made = profile(*arguments)
            return pld.Profile(made.losses, made.hockey_stick, 0 * made.error, 0, 0, 0)

        monkeypatch.setattr(pld, "_profile", uncounted)
        assert not self.holds()

    def test_optimistic_rounding(self, monkeypatch):
        """All of a bucket's mass goes down: the upper bound falls under the truth."""
        dots = discretisation.connect_the_dots

        def down(pair, losses):
            _, above, below, error = dots(pair, losses)
            tails = pair.tails(losses)
            p = discretisation._buckets(tails.p, tails.split)
            p[tails.split - 1] += 1
            return np.append(p, 0.0), above, below, error

        monkeypatch.setattr(pld, "connect_the_dots", down)
        assert not self.holds()

    def test_tail_not_counted(self, monkeypatch):
        """Losses beyond a short grid are dropped instead of made infinite."""
        nodes = pairs.GaussianPair.nodes
        monkeypatch.setattr(pairs.GaussianPair, "nodes", lambda pair, tail: nodes(pair, 1e-9))
        with pytest.raises(ValueError, match="out of reach of this grid"):
            self.holds()
        dots = discretisation.connect_the_dots
        monkeypatch.setattr(
            pld,
            "connect_the_dots",
            lambda pair, losses: (lambda m, _, *rest: (m, 0.0, *rest))(*dots(pair, losses)),
        )
        assert not self.holds()

    def test_rate_and_its_complement_swapped(self, monkeypatch):
        monkeypatch.setattr(
            pairs, "_log_unmixed", lambda loss, q, f=pairs._log_unmixed: f(loss, 1 - q)
        )
        with pytest.raises(ValueError, match="out of reach of this grid"):
            self.holds()

    def test_one_step_missing(self, monkeypatch):
        make = pld._Step
        monkeypatch.setattr(
            pld, "_Step", lambda start, times, *rest: make(start, times - times // 50, *rest)
        )
        assert not self.holds()

    def test_rounding_errors_not_counted(self, monkeypatch):
        """On a coarse grid the lower bound rises above the truth."""
        assert self.holds(spacing=1e-2)
        monkeypatch.setattr(pld, "rounding", lambda *_: 0.0)
        assert not self.holds(spacing=1e-2)
