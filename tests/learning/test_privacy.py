"""Client-level privacy: clipping, noise in one place or in parts, and what it costs."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.dp import zcdp
from refimpl.learning import privacy
from refimpl.learning.privacy import CentralGaussian, DistributedGaussian, LocalGaussian, Terms

CODE = FixedPoint(bound=8.0, bits=18, summands=10)
TERMS = Terms(clients=10, least=7, size=500, rounds=3, encoding=CODE)
PLAIN = Terms(clients=10, least=10, size=500, rounds=3)


def discrete_gaussian_law(sigma, reach):
    """Probabilities of -reach..reach, from the definition."""
    x = np.arange(-reach, reach + 1)
    weights = np.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()


@pytest.mark.parametrize(("sigma", "summands"), [(1.0, 2), (1.0, 5), (1.3, 3), (2.0, 7)])
def test_a_sum_of_parts_is_a_discrete_gaussian_but_for_tau(sigma, summands):
    """By exact convolution: log-probabilities differ by tau at most, wherever there is mass."""
    part = discrete_gaussian_law(sigma, reach=math.ceil(9 * sigma))
    total = np.ones(1)
    for _ in range(summands):
        total = np.convolve(total, part)
    true = discrete_gaussian_law(sigma * math.sqrt(summands), reach=len(total) // 2)
    heart = true > 1e-12
    distance = np.abs(np.log(total[heart] / true[heart])).max()
    assert distance <= privacy.sum_distance(sigma, summands) + 1e-9
    if sigma == 1.0:  # and it is not nothing: below a unit it would be a fault
        assert distance > 1e-6


def test_below_one_unit_the_sum_is_no_discrete_gaussian():
    part = discrete_gaussian_law(0.3, reach=4)
    total = np.convolve(part, part)
    true = discrete_gaussian_law(0.3 * math.sqrt(2), reach=len(total) // 2)
    assert np.abs(np.log(total[3:6] / true[3:6])).max() > 0.3
    coarse = Terms(10, 7, 500, 3, FixedPoint(bound=8.0, bits=4, summands=10))
    with pytest.raises(ValueError, match="at least one unit"):
        DistributedGaussian(noise_multiplier=0.5).check(coarse)


@pytest.mark.parametrize("colluders", [0, 3])
def test_the_honest_among_the_least_survivors_give_the_whole_noise(colluders):
    """Catches a share of sigma²/t in place of sigma²/(t-c): 0.57 of the variance for c=3, t=7."""
    chosen = DistributedGaussian(
        clipping_norm=0.5, noise_multiplier=2.0, colluders=colluders, seed=1
    )
    chosen.check(TERMS)
    zero, honest = np.zeros(TERMS.size), TERMS.least - colluders
    parts = [chosen.contribute(zero, TERMS, chosen.generator(f"client {k}")) for k in range(honest)]
    total = np.sum(parts, axis=0)
    squares = np.square(total / (2.0 * 0.5)).sum()
    assert 1e-7 < stats.chi2.cdf(squares, TERMS.size) < 1 - 1e-7
    if colluders:  # the test sees a share of sigma²/t
        assert stats.chi2.cdf(squares * honest / TERMS.least, TERMS.size) < 1e-7
    assert abs(np.corrcoef(parts[0], parts[1])[0, 1]) < 0.25  # no two draw the same


def test_contributions_are_multiples_of_the_unit_that_the_encoding_keeps():
    chosen = DistributedGaussian(clipping_norm=0.5, seed=3)
    vector = np.random.default_rng(0).normal(size=TERMS.size)
    given = chosen.contribute(vector, TERMS, chosen.generator("client"))
    units = given / CODE.unit
    np.testing.assert_allclose(units, np.rint(units), atol=1e-6)
    kept = CODE.encode(given).astype(np.int64) - CODE.offset
    np.testing.assert_array_equal(kept, np.rint(units))


def test_a_long_update_is_clipped_and_a_short_one_stays():
    central = CentralGaussian(clipping_norm=0.5, seed=0)
    long = np.full(500, 3.0, np.float32)
    short = np.full(500, 0.01)
    assert np.linalg.norm(central.contribute(long, PLAIN, None)) == pytest.approx(0.5, rel=1e-5)
    np.testing.assert_array_equal(central.contribute(short, PLAIN, None), short)
    parts = DistributedGaussian(clipping_norm=0.5, seed=0, noise_multiplier=1.0)
    mean = np.mean(
        [parts.contribute(long, TERMS, parts.generator(str(k))) for k in range(400)], axis=0
    )
    # the mean of 400 parts, each of deviation 0.5 / sqrt(7) a coordinate
    assert mean.sum() / math.sqrt(500) == pytest.approx(0.5, abs=5.5 * 0.5 / math.sqrt(7 * 400))


def test_central_noise_has_its_width_and_is_fresh():
    """Catches a deviation that is wrong by 20 in 100: half the noise at any odds."""
    central = CentralGaussian(clipping_norm=0.5, noise_multiplier=2.0, seed=0)
    rng = central.generator("server")
    first, second = (central.release(np.zeros(500), PLAIN, rng) for _ in range(2))
    for noise in (first, second):
        assert 1e-7 < stats.chi2.cdf(np.square(noise / 1.0).sum(), 500) < 1 - 1e-7
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.25


def test_rounding_is_right_on_average_and_keeps_to_its_length():
    rng = randomness.seeded(0)
    values = np.random.default_rng(1).normal(size=200) * 3
    longest = DistributedGaussian(clipping_norm=float(np.linalg.norm(values))).sensitivity(
        Terms(3, 3, 200, 1, FixedPoint(bound=2.0**10 - 1, bits=11, summands=3))  # unit 1
    )
    tries = [privacy.round_at_random(values, longest=longest, rng=rng) for _ in range(2000)]
    assert max(np.linalg.norm(rounded) for rounded in tries) <= longest
    assert all(np.abs(rounded - values).max() < 1 for rounded in tries)
    np.testing.assert_allclose(np.mean(tries, axis=0), values, atol=0.08)
    with pytest.raises(ValueError, match="room for rounding"):
        privacy.round_at_random(values, longest=1.0, rng=rng)


def test_the_sensitivity_is_that_of_theorem_one():
    """By hand: S = 3, unit 1, d = 16: min(9 + 4 + 3 + 2, 49); d = 0.01: nothing to round."""
    terms = Terms(3, 3, 16, 1, FixedPoint(bound=2.0**10 - 1, bits=11, summands=3))
    found = DistributedGaussian(clipping_norm=3.0).sensitivity(terms)
    assert found == pytest.approx(math.sqrt(18))


def test_the_price_is_that_of_the_central_mechanism_but_for_a_little():
    delta = 1e-5
    central = CentralGaussian(noise_multiplier=4.0).epsilon(delta, PLAIN)
    parts = DistributedGaussian(noise_multiplier=4.0, clipping_norm=0.5, colluders=2)
    found = parts.epsilon(delta, TERMS)
    assert central < found < 1.15 * central  # zCDP is looser than the exact account
    # zCDP, known answer: rho = 0.025 costs 1.014074 at 1e-6; here rounding adds under 1 in 100
    single = Terms(10, 7, 500, 1, FixedPoint(bound=20.0, bits=24, summands=10))
    chosen = DistributedGaussian(noise_multiplier=math.sqrt(20), clipping_norm=0.5, failure=1e-12)
    assert 1.014 < chosen.epsilon(1e-6, single) < 1.0151
    more = Terms(10, 7, 500, 30, CODE)
    assert parts.epsilon(delta, more) > 2 * found


def test_overflow_is_bounded_by_the_tail_of_the_noise():
    """Against the exact law: the bound holds, and is no more than 20 times too large."""
    terms = Terms(4, 4, 1, 1, FixedPoint(bound=40.0, bits=8, summands=4))
    chosen = DistributedGaussian(clipping_norm=10.0, noise_multiplier=1.5)
    sigma, room = chosen.sigma(terms), 127 - 10.0 * 127 / 40 - 1
    law = discrete_gaussian_law(sigma, reach=400)
    exact = 4 * law[np.abs(np.arange(-400, 401)) > room].sum()
    assert exact <= chosen.overflow_chance(terms) <= 20 * exact
    with pytest.raises(ValueError, match="raise the bound"):
        chosen.check(terms)
    with pytest.raises(ValueError, match="raise the bound"):
        chosen.epsilon(1e-30, terms)


def test_an_overflow_costs_delta_for_both_neighbours(monkeypatch):
    """Catches a chance that is taken from delta once: at epsilon 8 it counts 3000 times."""
    monkeypatch.setattr(DistributedGaussian, "overflow_chance", lambda self, terms: 5e-10)
    fine = Terms(10, 10, 500, 20, FixedPoint(bound=8.0, bits=24, summands=10))
    chosen = DistributedGaussian(noise_multiplier=2.85, clipping_norm=0.5)
    rho = 20 * (chosen.sensitivity(fine) / chosen.sigma(fine)) ** 2 / 10 / 2
    found = chosen.epsilon(1e-5, fine)
    assert zcdp.delta(rho, found) + (1 + math.exp(found)) * 5e-10 <= 1e-5
    once = zcdp.epsilon(rho, 1e-5 - 5e-10)
    assert once < found < once + 0.5
    assert zcdp.delta(rho, once) + (1 + math.exp(once)) * 5e-10 > 1.1e-5


def test_colluders_beyond_those_of_the_aggregation_are_refused():
    """They would see single contributions, each with a part of the noise only."""
    chosen = DistributedGaussian(clipping_norm=0.5, colluders=2)
    chosen.check(replace(TERMS, withstood=2))
    with pytest.raises(ValueError, match="at most 1, all that the aggregation"):
        chosen.check(replace(TERMS, withstood=1))


def test_generators_differ_by_party_and_are_secret_without_a_seed():
    chosen = CentralGaussian(seed=4)
    assert chosen.generator("a").bytes(8) == chosen.generator("a").bytes(8)
    assert chosen.generator("a").bytes(8) != chosen.generator("b").bytes(8)
    unseeded = CentralGaussian()
    assert unseeded.generator("a").bytes(8) != unseeded.generator("a").bytes(8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CentralGaussian(clipping_norm=0), "clipping_norm must be positive"),
        (lambda: CentralGaussian(noise_multiplier=math.inf), "noise_multiplier must be positive"),
        (lambda: DistributedGaussian(colluders=-1), "colluders must be a whole number"),
        (lambda: DistributedGaussian(failure=0), "failure must be between"),
        (lambda: DistributedGaussian(colluders=7).check(TERMS), "fewer than the least=7"),
        (lambda: DistributedGaussian().check(PLAIN), "hides single contributions"),
        (lambda: CentralGaussian(clipping_norm=9.0).check(TERMS), "at most the aggregation's"),
        (lambda: DistributedGaussian(clipping_norm=9.0).check(TERMS), "raise the bound"),
    ],
)
def test_what_cannot_keep_its_promise_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_local_noise_keeps_the_type_of_the_update(kind):
    """Else a float32 update would travel as float64, at twice the bytes."""
    local = LocalGaussian(clipping_norm=0.5, seed=0)
    sent = local.contribute(np.zeros(500, kind), PLAIN, local.generator("client"))
    assert sent.dtype == kind
    assert 1e-7 < stats.chi2.cdf(np.square(sent / 0.5).sum(), 500) < 1 - 1e-7
