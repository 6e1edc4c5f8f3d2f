"""Audits: the bounds against exact laws, and every mechanism attacked.

Mechanisms are attacked with fixed seeds, and each lower bound has alpha = 1e-8. So for fresh
seeds one of the fewer than 50 bounds below would exceed a true claim with chance below 1e-6. The
power is stated at each test: noise of half the width is caught with a chance above 1 - 1e-6.
"""

import functools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.dp import auditing, calibration, floating_point, mechanisms
from refimpl.dp import randomized_response as rr
from refimpl.dp.auditing import Guesses, OneRun

ALPHA = 1e-8
TRIALS = 50_000


def counts(true_positives, positives, false_positives, negatives):
    return Guesses(
        true_positives=true_positives,
        positives=positives,
        false_positives=false_positives,
        negatives=negatives,
    )


# Clopper-Pearson


def test_the_known_answer_of_a_perfect_attack():
    bound = counts(500, 500, 0, 500).epsilon(alpha=0.01)
    assert f"{bound:.12f}" == "4.541915810224"
    root = mpmath.mpf("0.005") ** (mpmath.mpf(1) / 500)  # the closed form of both bounds
    assert bound == pytest.approx(float(mpmath.log(root / (1 - root))), rel=1e-13)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 300), st.data(), st.sampled_from([0.05, 1e-3, 1e-8]))
def test_clopper_pearson_inverts_the_exact_binomial_tails(trials, data, alpha):
    successes = data.draw(st.integers(0, trials))
    lower, upper = auditing.clopper_pearson(successes, trials, alpha=alpha)
    assert 0 <= lower <= successes / trials <= upper <= 1
    if successes:  # at the lower bound, so many successes have chance alpha / 2
        assert stats.binom.sf(successes - 1, trials, lower) == pytest.approx(alpha / 2, rel=1e-6)
    if successes < trials:
        assert stats.binom.cdf(successes, trials, upper) == pytest.approx(alpha / 2, rel=1e-6)
    interval = stats.binomtest(successes, trials).proportion_ci(1 - alpha, method="exact")
    assert (lower, upper) == pytest.approx(tuple(interval), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("n", [5, 40])
def test_the_bound_fails_at_most_as_often_as_it_says(epsilon, n):
    """Exact, by summing over all counts of the worst mechanism: randomised response."""
    right = float(1 / (1 + np.exp(-epsilon)))
    failing = sum(
        stats.binom.pmf(tp, n, right) * stats.binom.pmf(fp, n, 1 - right)
        for tp in range(n + 1)
        for fp in range(n + 1)
        if counts(tp, n, fp, n).epsilon(alpha=0.1) > epsilon
    )
    assert failing <= 0.1


@pytest.mark.parametrize("mu", [0.5, 2.0])
def test_the_gaussian_bounds_fail_at_most_as_often_as_they_say(mu):
    n, delta, failing = 30, calibration.gaussian_delta(0.5, 1 / mu), np.zeros(2)
    tpr, fpr = stats.norm.cdf([mu / 2, -mu / 2])
    for tp in range(n + 1):
        for fp in range(n + 1):
            chance = stats.binom.pmf(tp, n, tpr) * stats.binom.pmf(fp, n, fpr)
            guesses = counts(tp, n, fp, n)
            bounds = guesses.mu(alpha=0.1), guesses.epsilon(delta=delta, alpha=0.1)
            failing += chance * (np.array(bounds) > [mu, 0.5])
    assert (failing <= 0.1).all()


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.data())
def test_the_bounds_of_guesses_by_their_formulas(positives, negatives, data):
    tp, fp = data.draw(st.integers(0, positives)), data.draw(st.integers(0, negatives))
    delta = data.draw(st.sampled_from([0.0, 1e-5, 0.3]))
    guesses, alpha = counts(tp, positives, fp, negatives), 0.02
    tpr, fpr = (
        auditing.clopper_pearson(*pair, alpha=alpha) for pair in [(tp, positives), (fp, negatives)]
    )
    expected = max(1, (tpr[0] - delta) / fpr[1], (1 - fpr[1] - delta) / (1 - tpr[0]))
    assert guesses.epsilon(delta=delta, alpha=alpha) == pytest.approx(math.log(expected), abs=1e-9)
    mu = max(0, stats.norm.ppf(tpr[0]) - stats.norm.ppf(fpr[1]))
    assert guesses.mu(alpha=alpha) == pytest.approx(mu, abs=1e-9)
    mirrored = counts(negatives - fp, negatives, positives - tp, positives)
    assert guesses.epsilon(delta=delta, alpha=alpha) == mirrored.epsilon(delta=delta, alpha=alpha)


def test_more_trials_and_less_confidence_raise_the_bound():
    bounds = [counts(k, k, 0, k).epsilon(alpha=0.01) for k in (10, 100, 10_000, 10**8)]
    assert bounds == sorted(bounds) and bounds[-1] == pytest.approx(16.75, abs=0.01)
    assert counts(50, 50, 0, 50).epsilon(alpha=0.1) > counts(50, 50, 0, 50).epsilon(alpha=0.01)
    assert counts(50, 100, 50, 100).epsilon() == counts(0, 100, 100, 100).epsilon() == 0
    assert counts(50, 100, 50, 100).mu() == counts(0, 100, 100, 100).mu() == 0


# One run


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.data())
def test_the_p_value_by_exact_arithmetic(canaries, data):
    """Fractions instead of floats, sums instead of the library's tails, for odds e^epsilon = 3."""
    guesses = data.draw(st.integers(1, canaries))
    correct = data.draw(st.integers(0, guesses))
    q = Fraction(3, 4)
    chances = [math.comb(guesses, k) * q**k * (1 - q) ** (guesses - k) for k in range(guesses + 1)]
    tail = functools.cache(lambda v: sum(chances[max(v, 0) :], Fraction(0)))
    gains = [(tail(correct - i) - tail(correct)) / i for i in range(1, canaries + 1)]
    for delta in (Fraction(0), Fraction(1, 1000)):
        expected = min(1, tail(correct) + 2 * canaries * delta * max(gains))
        run = OneRun(correct=correct, guesses=guesses, canaries=canaries)
        found = run.p_value(epsilon=math.log(3), delta=float(delta))
        assert found == pytest.approx(float(expected), rel=1e-10)


def test_a_perfect_attack_in_one_run_by_its_closed_form():
    """q^r = alpha, so epsilon = log(q / (1 - q)) with q = alpha^(1/r)."""
    for r in (1, 100, 10**6):
        with mpmath.workdps(40):
            q = mpmath.mpf("0.05") ** (mpmath.mpf(1) / r)
            expected = max(0, mpmath.log(q / (1 - q)))
        bound = OneRun(correct=r, guesses=r, canaries=r).epsilon(alpha=0.05)
        assert bound == pytest.approx(float(expected), rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 400), st.data(), st.sampled_from([1e-7, 1e-4, 1e-2]))
def test_the_bound_is_where_the_p_value_reaches_alpha(canaries, data, delta):
    guesses = data.draw(st.integers(1, canaries))
    correct = data.draw(st.integers(guesses // 2, guesses))
    run = OneRun(correct=correct, guesses=guesses, canaries=canaries)
    bound = run.epsilon(delta=delta, alpha=0.05)
    assert bound <= run.epsilon(alpha=0.05)
    if bound:
        assert run.p_value(epsilon=bound, delta=delta) <= 0.05
        assert run.p_value(epsilon=bound + 1e-9, delta=delta) > 0.05 * (1 - 1e-6)
        below = np.linspace(0, bound, 9)  # all smaller epsilon are refused too
        assert all(run.p_value(epsilon=e, delta=delta) <= 0.05 for e in below)
    else:
        assert run.p_value(epsilon=1e-9, delta=delta) > 0.05 * (1 - 1e-6)


@settings(deadline=None)
@given(st.integers(1, 50), st.floats(0, 4), st.floats(1e-4, 0.2), st.data())
def test_no_mechanism_beats_its_p_value(canaries, epsilon, delta, data):
    """Two (epsilon, delta)-DP mechanisms at their exact laws; the term in delta is needed.

    One reveals each canary with chance delta, the other all at once; else each answers by
    randomised response.
    """
    correct = data.draw(st.integers(1, canaries))
    q = 1 / (1 + math.exp(-epsilon))
    one_by_one = stats.binom.sf(correct - 1, canaries, delta + (1 - delta) * q)
    together = delta + (1 - delta) * stats.binom.sf(correct - 1, canaries, q)
    run = OneRun(correct=correct, guesses=canaries, canaries=canaries)
    assert run.p_value(epsilon=epsilon, delta=delta) >= max(one_by_one, together) * (1 - 1e-9)


def test_guessing_the_highest_and_the_lowest_scores():
    scores = np.array([5.0, -3.0, 0.1, 4.0, -2.0, 0.0])
    included = np.array([True, False, True, False, True, False])
    assert auditing.guess_one_run(scores, included, guesses=1).correct == 1  # 5.0 in
    assert auditing.guess_one_run(scores, included, guesses=2).correct == 2  # -3.0 out
    assert auditing.guess_one_run(scores, included, guesses=3).correct == 2  # 4.0 is not in
    run = auditing.guess_one_run(scores, included, guesses=6)
    assert run == OneRun(correct=4, guesses=6, canaries=6)  # 5, .1 in; -3, 0 out


def test_guessing_by_a_threshold_counts_what_reaches_it():
    assert auditing.guess([1, 2, 3], [[0, 2], [1, 1]], threshold=2) == counts(2, 3, 1, 4)


# Every mechanism of the package, at what it claims and with half of its noise
# name: (claimed epsilon, delta, threshold, scores(present, epsilon, rng)). The neighbours are the
# worst ones, or nearly; a mechanism that is told 2 epsilon has half the noise.


def many(shape, *values):
    return np.broadcast_to(np.array(values), (shape, len(values)))


SIGMA = calibration.gaussian_sigma(1.0, 0.1, sensitivity=1.0)


def _laplace(present, epsilon, rng):
    # The sensitivity is that of the array: each of TRIALS entries gets noise for 1 / epsilon.
    value = np.full(TRIALS, 1.0 * present)
    return mechanisms.laplace(value, sensitivity=1, epsilon=epsilon, grid=2.0**-34, rng=rng)


def _geometric(present, epsilon, rng):
    return mechanisms.geometric(
        np.full(TRIALS, 2 * present), sensitivity=2, epsilon=epsilon, rng=rng
    )


def _discrete_laplace(present, epsilon, rng):
    return 300 * present + mechanisms.discrete_laplace(TRIALS, scale=300 / epsilon, rng=rng)


def _gaussian(present, epsilon, rng):
    value = np.full(TRIALS, 1.0 * present)
    sigma = SIGMA / epsilon  # told 2 epsilon, half of it
    return mechanisms.gaussian(value, sensitivity=1, sigma=sigma, grid=2.0**-30, rng=rng)


def _discrete_gaussian(present, epsilon, rng):
    return 40 * present + mechanisms.discrete_gaussian(TRIALS, sigma=40 * SIGMA / epsilon, rng=rng)


def _binary_response(present, epsilon, rng):
    return rr.respond(np.full(TRIALS, int(present)), epsilon=epsilon, rng=rng)


def _response(present, epsilon, rng):
    truths = np.full(TRIALS, 4 if present else 2)
    return rr.respond(truths, epsilon=epsilon, categories=6, rng=rng) == 4


def _options(present):
    """One option up by the sensitivity and all others down: the worst there is."""
    return many(TRIALS, *([1.0] + 24 * [0.0] if present else [0.0] + 24 * [1.0]))


def _exponential(present, epsilon, rng):
    return mechanisms.exponential(_options(present), sensitivity=1, epsilon=epsilon, rng=rng) == 0


def _noisy_max(present, epsilon, rng, noise="exponential"):
    scores = _options(present)
    best = mechanisms.report_noisy_max(scores, sensitivity=1, epsilon=epsilon, noise=noise, rng=rng)
    return best == 0


AUDITED = {
    "laplace": (1.0, 0.0, 1.0, _laplace),
    "geometric": (1.0, 0.0, 2.0, _geometric),
    "discrete Laplace": (1.0, 0.0, 300.0, _discrete_laplace),
    "gaussian": (1.0, 0.1, 1.5, _gaussian),
    "discrete Gaussian": (1.0, 0.1, 60.0, _discrete_gaussian),
    "randomised response": (1.0, 0.0, 1.0, _binary_response),
    "randomised response, 6": (1.0, 0.0, 1.0, _response),
    "exponential": (1.0, 0.0, 1.0, _exponential),
    "report-noisy-max": (1.0, 0.0, 1.0, _noisy_max),
    "Gumbel": (1.0, 0.0, 1.0, functools.partial(_noisy_max, noise="gumbel")),
}


def attack(name, *, factor, seed=4):
    claimed, delta, threshold, scores = AUDITED[name]
    rng = randomness.seeded(seed, name)
    with_it, without = (
        np.asarray(scores(present, factor * claimed, rng), float) for present in (True, False)
    )
    return auditing.guess(with_it, without, threshold=threshold), claimed, delta


def weakened(guesses):
    """The same attack with counts that are 10 standard deviations worse for it."""
    tp, fp = guesses.true_positives, guesses.false_positives
    return counts(
        tp - math.ceil(10 * math.sqrt(tp)),
        guesses.positives,
        fp + math.ceil(10 * math.sqrt(fp)),
        guesses.negatives,
    )


@pytest.mark.parametrize("name", AUDITED)
def test_no_mechanism_leaks_more_than_it_claims(name):
    guesses, claimed, delta = attack(name, factor=1)
    bound = guesses.epsilon(delta=delta, alpha=ALPHA)
    assert 0.6 * claimed < bound <= claimed  # from below too: the attack is not idle


@pytest.mark.parametrize("name", AUDITED)
def test_half_of_the_noise_is_caught(name):
    """Not by luck: attacks 10 standard deviations worse catch it, so one in 10^6 misses at most."""
    guesses, claimed, delta = attack(name, factor=2)
    assert weakened(guesses).epsilon(delta=delta, alpha=ALPHA) > claimed


def test_the_gaussian_mechanism_at_its_mu():
    """The bound on mu comes within 10 % of the truth, and half the noise exceeds the claim."""
    for factor, true_mu in ((1, 1 / SIGMA), (2, 2 / SIGMA)):
        rng = randomness.seeded(factor, "mu")
        scores = [_gaussian(present, factor, rng) for present in (True, False)]
        bound = auditing.guess(*scores, threshold=0.5).mu(alpha=ALPHA)
        assert 0.9 * true_mu < bound <= true_mu


def test_noise_in_doubles_is_caught_where_a_threshold_is_blind():
    """The claim is epsilon = 1. Results that no neighbour can have: no epsilon is true."""
    rng = randomness.seeded(1)
    scores, seen = [], []
    for value in (1.0, 0.0):
        results = floating_point.naive_laplace(
            np.full(2000, value), sensitivity=1, epsilon=1, rng=rng
        )
        seen.append(results)
        scores.append(~floating_point.could_be_laplace(results, 0.0, sensitivity=1, epsilon=1))
    assert auditing.guess(*seen, threshold=1.0).epsilon(alpha=ALPHA) <= 1
    as_numbers = [score.astype(float) for score in scores]
    assert auditing.guess(*as_numbers, threshold=1.0).epsilon(alpha=ALPHA) > 3


@pytest.mark.parametrize(
    ("noise", "low", "high"), [(1.0, 0.3, 1.0), (0.5, 0.8, 2.0), (0.01, 3.0, math.inf)]
)
def test_one_run_of_many_counts_stays_below_the_claim_and_catches_gross_faults(noise, low, high):
    """1000 histogram cells with one person each, or none, epsilon = 1.

    Nearly no noise exceeds the claim threefold. Half the noise (epsilon = 2) does not exceed it by
    enough to be caught with certainty: a bound of one run is loose. It stays below the truth.
    """
    rng = randomness.seeded(3)
    included = rng.bits(1, 1000).astype(bool)
    released = mechanisms.geometric(included.astype(int), epsilon=1 / noise, rng=rng)
    run = auditing.guess_one_run(released, included, guesses=300)
    assert low < run.epsilon(alpha=1e-6) <= high


# Wrong arguments


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: counts(6, 5, 0, 5), "true_positives must be a whole number between 0 and 5"),
        (lambda: counts(1, 5, 6, 5), "false_positives must be a whole number between 0 and 5"),
        (lambda: counts(0, 0, 0, 5), "positives must be a whole number of at least 1"),
        (lambda: counts(1.0, 5, 0, 5), "true_positives must be a whole number"),
        (lambda: counts(1, 5, 0, 5).epsilon(alpha=0), "alpha must be between 0 and 1"),
        (lambda: counts(1, 5, 0, 5).mu(alpha=1), "alpha must be between 0 and 1"),
        (lambda: counts(1, 5, 0, 5).epsilon(delta=1.0), "delta must be between 0 and 1"),
        (lambda: counts(1, 5, 0, 5).epsilon(delta=math.nan), "delta must be between 0 and 1"),
        (lambda: OneRun(correct=3, guesses=2, canaries=9), "correct must be a whole number"),
        (lambda: OneRun(correct=0, guesses=10, canaries=9), "guesses must be a whole number"),
        (lambda: OneRun(correct=2, guesses=2, canaries=9).epsilon(delta=-1), "delta must be"),
        (lambda: OneRun(correct=2, guesses=2, canaries=9).epsilon(alpha=2), "alpha must be"),
        (lambda: OneRun(correct=2, guesses=2, canaries=9).p_value(epsilon=-1), "epsilon must be"),
        (lambda: auditing.guess([math.nan], [1], threshold=0), "with_it must be finite"),
        (lambda: auditing.guess([1], [], threshold=0), "without must hold at least one score"),
        (lambda: auditing.guess([1], [1], threshold=math.inf), "threshold must be finite"),
        (lambda: auditing.guess_one_run([1, 2], [True], guesses=1), "one truth value a canary"),
        (lambda: auditing.guess_one_run([1, 2], [1, 0], guesses=1), "one truth value a canary"),
        (lambda: auditing.guess_one_run([1], [True], guesses=2), "guesses must be a whole number"),
        (lambda: auditing.clopper_pearson(3, 2, alpha=0.1), "successes must be a whole number"),
    ],
)
def test_wrong_arguments_are_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()
