"""The accountants: known answers, the truth underneath over a random grid, peers, bad input.

What the grid catches: an epsilon below the true one by a part in 10^6 (by the inversion of
``oracles``, which has no grid of losses), or above it by a part in 10^3.
"""

import math
import warnings

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as google
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant

from refimpl.dp import accounting, composed, pld, rdp
from tests.dp import oracles

ACCOUNTANTS = ("pld", "rdp", "moments", "zcdp", "advanced", "basic")


def training(q, sigma, steps, **others):
    return {"sample_rate": q, "noise_multiplier": sigma, "steps": steps, **others}


@pytest.mark.parametrize(
    ("arguments", "accountant", "known", "tolerance"),
    [
        (training(0.01, 4, 10_000, delta=1e-5), "moments", 1.2586, 5e-5),
        (training(0.01, 4, 10_000, delta=1e-5), "rdp", 1.03549, 5e-6),
        (training(0.01, 4, 10_000, delta=1e-5), "pld", 0.9470, 2e-4),
        (training(150 / 60000, 1.3, 6000, delta=1e-5), "rdp", 0.7242234026, 5e-10),
        (training(150 / 60000, 1.3, 6000, delta=1e-5), "pld", 0.6401, 1e-4),
        (training(0.04, 1.5, 2250, delta=1e-5), "rdp", 7.32911117, 5e-9),
        (training(0.04, 1.5, 2249, delta=1e-5), "pld", 6.76705, 1e-5),
        (training(0.01, 1.1, 10_000, delta=1e-5), "rdp", 5.6320, 5e-5),
        (training(0.01, 1.1, 10_000, delta=1e-5), "pld", 5.1926, 5e-5),
    ],
)
def test_known_answers(arguments, accountant, known, tolerance):
    epsilon = accounting.epsilon(**arguments, accountant=accountant)
    assert epsilon == pytest.approx(known, abs=tolerance)


def test_the_certified_interval_lies_in_the_peer_s():
    lower, upper = accounting.epsilon_interval(**training(0.04, 1.5, 2249, delta=1e-5))
    assert 6.75670 < lower < 6.7670 < upper < 6.77740
    assert upper - lower < 0.003


def true_delta(q, sigma, steps, neighbours, epsilon):
    kinds = {"add-remove": ("remove", "add"), "replace-one": ("replace",)}[neighbours]
    return max(oracles.Inversion(sigma, q, steps, kind).delta(epsilon) for kind in kinds)


def random_training(seed, count):
    """Trainings that the inversion can judge: a sum of many losses, or no sampling."""
    rng = np.random.default_rng(seed)
    while count:
        q = 1.0 if rng.random() < 0.2 else float(10 ** rng.uniform(-6, 0))
        sigma, delta = float(10 ** rng.uniform(-0.52, 4)), float(10 ** rng.uniform(-15, -3))
        steps = int(10 ** rng.uniform(0, 5))
        spread = math.sqrt(steps) * q * math.sqrt(math.expm1(min(600, sigma**-2)))
        if q == 1 or (q * steps > 50 and spread > 100 * delta):
            yield training(q, sigma, steps, delta=delta)
            count -= 1


@pytest.mark.parametrize("neighbours", ["add-remove", "replace-one"])
@pytest.mark.parametrize("arguments", random_training(4, 12))
def test_no_epsilon_is_below_the_true_one(arguments, neighbours):
    q, sigma, steps, delta = (
        arguments[name] for name in ("sample_rate", "noise_multiplier", "steps", "delta")
    )
    tight = accounting.epsilon(**arguments, neighbours=neighbours)
    if tight > 0:
        assert true_delta(q, sigma, steps, neighbours, tight) <= delta
        assert true_delta(q, sigma, steps, neighbours, tight * (1 - 1e-3)) > delta
    for accountant in ACCOUNTANTS[1:]:
        bound = accounting.epsilon(**arguments, neighbours=neighbours, accountant=accountant)
        assert bound >= tight * (1 - 1e-4)


@pytest.mark.parametrize(
    ("arguments", "least", "most"),
    [  # q -> 0 and 1, sigma 0.3 and 1e4, ten million steps, delta 1e-15
        (training(1e-9, 10, 10**7, delta=1e-15), 1.74e-6, 1.75e-6),
        (training(1e-6, 0.3, 10**5, delta=1e-5), 0.01, 20),
        (training(1.0, 1e4, 10**7, delta=1e-15), 2.4, 2.7),
        (training(1 - 1e-12, 1.0, 1, delta=1e-15), 8.165, 8.1658),
        (training(0.999, 0.3, 10**6, delta=1e-15), 5.54e6, 5.58e6),
        (training(0.01, 0.05, 100, delta=1e-5), 1460, 1465),
    ],
)
def test_extremes(arguments, least, most):
    epsilon = accounting.epsilon(**arguments)
    assert least < epsilon < most
    q, sigma, steps, delta = (
        arguments[name] for name in ("sample_rate", "noise_multiplier", "steps", "delta")
    )
    true = true_delta(q, sigma, steps, "add-remove", epsilon)
    assert math.isnan(true) or 0.8 * delta < true <= delta
    assert accounting.epsilon(**arguments, accountant="rdp") > epsilon


def test_a_rare_record_costs_what_its_first_use_does():
    """q T << 1: delta is T times that of one step, but for 1e-5. Round-off costs 3 % at most."""
    q, sigma, steps, delta = 1e-7, 0.3, 100, 1e-9
    epsilon = accounting.epsilon(**training(q, sigma, steps, delta=delta))
    once = float(oracles.one_step(sigma, q, "remove", epsilon))
    assert 0.97 * delta < steps * once <= delta * (1 + 1e-4)


def test_a_record_that_is_hardly_ever_used_costs_nothing():
    for accountant in ACCOUNTANTS:
        arguments = training(1e-300, 0.3, 10**7, delta=1e-5)
        assert accounting.epsilon(**arguments, accountant=accountant) == 0.0
    assert accounting.epsilon_interval(**training(0.01, 1.0, 1, delta=0.01)) == (0.0, 0.0)
    assert accounting.epsilon(**training(0.01, 0.1, 1, delta=0.0099)) > 0


def test_both_directions_count(monkeypatch):
    """The worse one is the answer, whichever comes first; without removing, epsilon is too low.

    (A random search found no training for which adding a record costs more than removing one, so a
    missing second direction shows only here.)
    """
    arguments = training(0.01, 1.1, 10_000, delta=1e-5)
    full, pairs_of = accounting.epsilon(**arguments), composed._pairs
    directions = accounting.compose([accounting.Gaussian(1.1, 0.01)]).directions
    assert [(d[0][0].above, d[0][0].below) for d in directions] == [(True, False), (False, True)]
    monkeypatch.setattr(composed, "_pairs", lambda *a: pairs_of(*a)[::-1])
    assert accounting.epsilon(**arguments) == full
    monkeypatch.setattr(composed, "_pairs", lambda *a: pairs_of(*a)[1:])
    added = accounting.epsilon(**arguments)
    assert true_delta(0.01, 1.1, 10_000, "add-remove", added) > 2e-5


def test_the_peer_of_loss_distributions():
    """dp-accounting's pessimistic bound at the same grid, over a random grid of trainings."""
    rng = np.random.default_rng(5)
    for _ in range(4):
        q, sigma = float(10 ** rng.uniform(-3, -0.3)), float(10 ** rng.uniform(-0.1, 0.7))
        steps = int(10 ** rng.uniform(1, 3.5))
        peer = google.from_gaussian_mechanism(
            sigma, sampling_prob=q, value_discretization_interval=1e-3, use_connect_dots=True
        ).self_compose(steps)
        for delta in (1e-3, 1e-7):
            theirs = peer.get_epsilon_for_delta(delta)
            sharp = accounting.epsilon(**training(q, sigma, steps, delta=delta))
            assert sharp <= theirs * (1 + 1e-4) + 1e-6
            ours = 0.0
            for composition in accounting.compose(
                [accounting.Gaussian(sigma, q, steps)]
            ).directions:
                ours = max(ours, pld.compose(composition, delta=delta, spacing=1e-3).epsilon(delta))
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


def test_the_peer_of_replacing_one():
    from dp_accounting import privacy_accountant

    peer = google.from_gaussian_mechanism(
        1.1,
        sampling_prob=0.05,
        value_discretization_interval=1e-3,
        use_connect_dots=True,
        neighboring_relation=privacy_accountant.NeighboringRelation.REPLACE_ONE,
    ).self_compose(300)
    ours = accounting.epsilon(**training(0.05, 1.1, 300, delta=1e-6), neighbours="replace-one")
    assert ours == pytest.approx(peer.get_epsilon_for_delta(1e-6), rel=1e-3)


def test_the_peer_of_renyi_divergences():
    """Opacus, at orders where it is exact; a random grid."""
    rng = np.random.default_rng(6)
    orders = [*range(2, 64), 128, 256]
    for _ in range(6):
        q, sigma = float(10 ** rng.uniform(-4, -0.1)), float(10 ** rng.uniform(-0.2, 1))
        steps, delta = int(10 ** rng.uniform(0, 5)), float(10 ** rng.uniform(-9, -3))
        peer = RDPAccountant()
        peer.history = [(sigma, q, steps)]
        with warnings.catch_warnings():  # that the best order is the first or the last one
            warnings.simplefilter("ignore", UserWarning)
            theirs = peer.get_epsilon(delta, alphas=orders)
        curve = steps * rdp.sampled_gaussian(orders, noise_multiplier=sigma, sample_rate=q)
        assert rdp.epsilon(orders, curve, delta)[0] == pytest.approx(theirs, rel=1e-6)
        sharper = accounting.epsilon(**training(q, sigma, steps, delta=delta), accountant="rdp")
        assert sharper <= theirs * (1 + 1e-6)


@pytest.mark.parametrize(("accountant", "known"), [("rdp", 1.416), ("pld", 1.34766)])
def test_noise_for_a_budget(accountant, known):
    """Opacus's tests, 90 epochs at q=.04; its search stops within 0.01 of epsilon=8."""
    found = accounting.noise_multiplier(
        epsilon=8, sample_rate=0.04, steps=2250, delta=1e-5, accountant=accountant
    )
    assert found == pytest.approx(known, abs=2e-3)
    spent = accounting.epsilon(**training(0.04, found, 2250, delta=1e-5), accountant=accountant)
    assert 8 * (1 - 1e-4) < spent <= 8


@settings(deadline=None, max_examples=8)
@given(st.floats(0.05, 20), st.floats(0.001, 1), st.integers(1, 2000), st.integers(3, 12))
def test_noise_and_steps_are_inverse_to_epsilon(epsilon, q, steps, digits):
    delta = 10.0**-digits
    if 1 - (1 - q) ** steps <= 2 * delta:
        return
    sigma = accounting.noise_multiplier(
        epsilon=epsilon, sample_rate=q, steps=steps, delta=delta, accountant="rdp"
    )
    spent = accounting.epsilon(**training(q, sigma, steps, delta=delta), accountant="rdp")
    assert epsilon * (1 - 1e-3) < spent <= epsilon
    most = accounting.steps(
        epsilon=epsilon, sample_rate=q, noise_multiplier=sigma, delta=delta, accountant="rdp"
    )
    assert steps <= most <= steps * (1 + 2e-3) + 1


def test_steps_for_a_budget():
    budget = accounting.epsilon(**training(0.04, 1.5, 2249, delta=1e-5))
    arguments = {"noise_multiplier": 1.5, "sample_rate": 0.04, "delta": 1e-5}
    assert accounting.steps(epsilon=budget, **arguments) == 2249
    assert accounting.steps(epsilon=budget * (1 - 1e-7), **arguments) == 2248


@pytest.mark.parametrize("accountant", ["pld", "rdp", "zcdp"])
def test_delta_is_the_twin_of_epsilon(accountant):
    arguments = training(0.02, 1.2, 500)
    for delta in (1e-2, 1e-8):
        epsilon = accounting.epsilon(**arguments, delta=delta, accountant=accountant)
        again = accounting.delta(**arguments, epsilon=epsilon, accountant=accountant)
        assert again == pytest.approx(delta, rel=1e-3)


def test_different_mechanisms_compose():
    """Against the composition of equal parts, and two accountants against each other."""
    halves = [accounting.Gaussian(1.1, 0.01, 3000), accounting.Gaussian(1.1, 0.01, 7000)]
    whole = accounting.epsilon(**training(0.01, 1.1, 10_000, delta=1e-5))
    assert accounting.compose(halves).epsilon(1e-5) == pytest.approx(whole, rel=1e-4)
    # two Gaussians without sampling are one, of the summed squares of 1/sigma
    pair = accounting.compose([accounting.Gaussian(3.0), accounting.Gaussian(4.0, steps=2)])
    exact = oracles.gaussian_delta(math.sqrt(1 / 9 + 2 / 16), pair.epsilon(1e-6))
    assert 0.999e-6 < exact <= 1e-6
    mixed = accounting.compose(
        [
            accounting.Gaussian(2.0, 0.1, 100),
            accounting.Laplace(10.0, steps=20),
            accounting.ApproximateDP(0.1, 1e-8, steps=3),
        ]
    )
    lower, upper = mixed.epsilon_interval(1e-5)
    epsilons = {name: mixed.epsilon(1e-5, accountant=name) for name in ACCOUNTANTS}
    assert lower <= upper <= epsilons["pld"] * (1 + 1e-6) < epsilons["rdp"] < epsilons["moments"]
    assert mixed.delta(epsilons["pld"]) == pytest.approx(1e-5, rel=1e-3)


def test_pure_mechanisms_cost_at_most_their_sum():
    for mechanism in (accounting.Laplace(2.0, 4), accounting.ApproximateDP(0.5, steps=4)):
        composition = accounting.compose([mechanism])
        assert composition.epsilon(1e-15) == pytest.approx(2.0, rel=1e-9)
        assert composition.epsilon(1e-15, accountant="basic") == 2.0
        assert composition.delta(2.0) == 0.0


def test_replacing_moves_laplace_noise_twice_as_far():
    composition = accounting.compose([accounting.Laplace(2.0)], neighbours="replace-one")
    assert composition.epsilon(1e-15) == pytest.approx(1.0, rel=1e-9)


def test_a_known_delta_is_spent_first():
    """One (1, 1e-3)-DP step: at delta=1e-3+x it is what remains of a pure step at x, exactly."""
    step = accounting.ApproximateDP(1.0, 1e-3)
    delta = 0.01
    remaining = (delta - 1e-3) / (1 - 1e-3)
    # randomised response: delta(x) = (e - e^x) / (1 + e)
    exact = math.log(math.e - remaining * (1 + math.e))
    assert accounting.compose([step]).epsilon(delta) == pytest.approx(exact, rel=1e-4)
    with pytest.raises(ValueError, match=r"delta must be above 0.001"):
        accounting.compose([step]).epsilon(1e-3)


def test_randomised_response_is_about_a_changed_answer():
    response = accounting.RandomizedResponse(1.0, categories=10, steps=3)
    with pytest.raises(ValueError, match="neighbours must be 'replace-one' for randomised"):
        accounting.compose([response])
    composition = accounting.compose([response], neighbours="replace-one")
    binary = accounting.compose(
        [accounting.RandomizedResponse(1.0, steps=3)], neighbours="replace-one"
    )
    assert composition.epsilon(1e-3) < binary.epsilon(1e-3)
    known = accounting.compose([accounting.ApproximateDP(1.0, steps=3)])
    assert binary.epsilon(1e-3) == pytest.approx(known.epsilon(1e-3), rel=1e-9)


def test_more_noise_fewer_steps_larger_delta_cost_less():
    base = training(0.02, 1.0, 500, delta=1e-5)
    for accountant in ACCOUNTANTS:
        at = accounting.epsilon(**base, accountant=accountant)
        for change in ({"noise_multiplier": 1.3}, {"steps": 300}, {"delta": 1e-3}):
            assert accounting.epsilon(**{**base, **change}, accountant=accountant) < at
        if accountant != "zcdp":
            assert accounting.epsilon(**{**base, "sample_rate": 0.01}, accountant=accountant) < at
        assert accounting.epsilon(**base, accountant=accountant, neighbours="replace-one") > at


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_multiplier": 0.0}, "noise_multiplier must be a finite number above 0, got 0.0"),
        ({"noise_multiplier": math.nan}, "noise_multiplier must be a finite number above 0"),
        ({"noise_multiplier": math.inf}, "noise_multiplier must be a finite number above 0"),
        ({"sample_rate": 1.5}, r"sample_rate must be in \(0, 1\], got 1.5"),
        ({"sample_rate": 0.0}, r"sample_rate must be in \(0, 1\], got 0.0"),
        ({"sample_rate": math.nan}, r"sample_rate must be in \(0, 1\]"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"delta": 0.0}, "delta must be between 0 and 1, both excluded, got 0.0"),
        ({"delta": 1.0}, "delta must be between 0 and 1"),
        ({"delta": math.nan}, "delta must be between 0 and 1"),
        ({"delta": 1e-200}, "accountant='rdp'"),
        ({"accountant": "prv"}, "accountant must be one of"),
        ({"neighbours": "swap"}, "neighbours must be one of"),
        ({"sampler": "shuffle"}, "sampler must be 'poisson', got 'shuffle': epochs over shuffled"),
        ({"sampler": "fixed-size"}, "batches of a fixed size are no Poisson samples"),
        ({"sampler": "roulette"}, "got 'roulette': no account of it is known"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        accounting.epsilon(**{**training(0.01, 1.0, 100, delta=1e-5), **change})


def test_budgets_that_cannot_be_kept():
    with pytest.raises(ValueError, match="less than one step costs"):
        accounting.steps(epsilon=0.1, noise_multiplier=1.0, sample_rate=1.0, delta=1e-5)
    with pytest.raises(ValueError, match="exceeds the chance that a record is ever in a sample"):
        accounting.noise_multiplier(epsilon=1, sample_rate=1e-3, steps=5, delta=0.01)
    with pytest.raises(ValueError, match="is out of reach"):
        accounting.noise_multiplier(
            epsilon=1e-9, sample_rate=1.0, steps=5, delta=1e-9, accountant="zcdp"
        )
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="epsilon must be a finite number above 0"):
            accounting.noise_multiplier(epsilon=wrong, sample_rate=0.1, steps=5, delta=1e-5)
        with pytest.raises(ValueError, match="epsilon must be a finite number above 0"):
            accounting.delta(epsilon=wrong, **training(0.1, 1.0, 5))
    with pytest.raises(ValueError, match="accountant must be 'pld', 'rdp' or 'zcdp' for a delta"):
        accounting.delta(epsilon=1.0, **training(0.1, 1.0, 5), accountant="basic")
    with pytest.raises(ValueError, match="mechanisms must be at least one"):
        accounting.compose([])
    with pytest.raises(ValueError, match=r"delta must be in \[0, 1\)"):
        accounting.compose([accounting.ApproximateDP(1.0, 1.0)])


class TestPlantedFaults:
    """Faults in the accountants above the loss distributions, and the known answer that moves."""

    def test_classic_instead_of_improved_conversion(self, monkeypatch):
        right = rdp.epsilon
        monkeypatch.setattr(rdp, "epsilon", lambda *a, **_: right(*a, conversion="classic"))
        moved = accounting.epsilon(**training(0.01, 4, 10_000, delta=1e-5), accountant="rdp")
        assert abs(moved - 1.03549) > 0.1

    def test_moments_beyond_the_paper_s_orders(self, monkeypatch):
        monkeypatch.setattr(rdp, "MOMENTS", (2, 3, 4))
        moved = accounting.epsilon(**training(0.01, 4, 10_000, delta=1e-5), accountant="moments")
        assert abs(moved - 1.2586) > 0.1

    def test_replacing_taken_for_removing(self):
        arguments = training(1.0, 1.0, 1, delta=1e-5)
        epsilon = accounting.epsilon(**arguments, neighbours="add-remove")
        assert oracles.gaussian_delta(2.0, epsilon) > 1e-5
        epsilon = accounting.epsilon(**arguments, neighbours="replace-one")
        assert 0.999e-5 < oracles.gaussian_delta(2.0, epsilon) <= 1e-5
