"""Training under client-level privacy: by the formula, and with the noise where it belongs."""

import math

import numpy as np
import pytest
from scipy import stats

from refimpl import aggregation, learning
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.collaboration import AsynchronousSGD, FedSGD, TwoServers, direct, indirect
from refimpl.dp import accounting, clipping
from refimpl.learning import privacy
from refimpl.learning.local_privacy import LocalDP
from refimpl.learning.privacy import CentralGaussian, DistributedGaussian
from refimpl.network import Fault

TASK = learning.digits(5, seed=0, examples_per_participant=30)
SECURE = aggregation.SecureAggregation(threshold=4, bound=8.0, bits=24)


def train(chosen, **options):
    options = {"rounds": 1, "method": FedSGD(learning_rate=1.0), **options}
    return indirect.train(TASK, privacy=chosen, **options)


def noiseless(divisor=5, bound=0.2):
    """One round of FedSGD with clipped gradients, by hand."""
    start = TASK.initial_parameters()
    total = np.zeros(len(start))
    for name in TASK.participants:
        data = TASK.data[name]
        gradient = learning.gradient(TASK.model, start, data.x, data.y)
        norm = np.linalg.norm(gradient)
        assert norm > bound
        total += gradient * (bound / norm)
    return start - total / divisor


@pytest.mark.parametrize(
    ("chosen", "options"),
    [
        (CentralGaussian(clipping_norm=0.2, noise_multiplier=0.5, seed=0), {}),
        (
            CentralGaussian(clipping_norm=0.2, noise_multiplier=0.5, seed=0),
            {"aggregation": SECURE},
        ),
        (
            DistributedGaussian(clipping_norm=0.2, noise_multiplier=0.5, seed=0),
            {"aggregation": SECURE},
        ),
        (
            DistributedGaussian(clipping_norm=0.2, noise_multiplier=0.5, seed=0),
            {"aggregation": aggregation.SecretSharing()},
        ),
    ],
    ids=["central", "central, secure", "distributed", "distributed, shares"],
)
def test_a_round_is_the_clipped_mean_and_noise_of_the_stated_width(chosen, options):
    """Catches a deviation wrong by 8 in 100, a clip forgotten, another divisor, in 2410 values."""
    run = train(chosen, **options)
    noise = (run.parameters - noiseless()) * 5
    squares = np.square(noise / (0.2 * 0.5)).sum()
    assert 1e-7 < stats.chi2.cdf(squares, len(noise)) < 1 - 1e-7
    assert stats.kstest(noise / (0.2 * 0.5), "norm").pvalue > 1e-7
    # the mean itself: along it, the noise has deviation 0.1
    direction = noiseless() - TASK.initial_parameters()
    direction = direction / np.linalg.norm(direction)
    assert abs(noise @ direction) < 5.4 * 0.1


def test_averaging_clips_the_update_and_not_the_parameters():
    chosen = CentralGaussian(clipping_norm=1e-3, noise_multiplier=1e-6, seed=0)
    run = train(chosen, method=None, rounds=2)
    moved = np.linalg.norm(run.parameters - TASK.initial_parameters())
    assert 1e-5 < moved <= 2e-3 * 1.01


def test_noise_is_fresh_in_each_round():
    """Ten rounds of noise alone add up as sqrt(10); reused noise would as 10."""
    chosen = CentralGaussian(clipping_norm=1e-4, noise_multiplier=1e4, seed=0)
    method = FedSGD(learning_rate=1e-3)
    run = train(chosen, method=method, rounds=10)
    moved = (run.parameters - TASK.initial_parameters()) / (1e-3 / 5)
    squares = np.square(moved / math.sqrt(10)).sum()
    assert 0.8 < squares / len(moved) < 1.2  # 5.7 deviations are 0.16


def test_the_divisor_is_public_whoever_drops_out():
    faults = [Fault(kind="drop", sender=TASK.participants[0], topic="contribution")]
    chosen = CentralGaussian(clipping_norm=0.2, noise_multiplier=1e-6, seed=0)
    run = train(chosen, at_least=4, faults=faults)
    moved = run.parameters - TASK.initial_parameters()
    four = noiseless_without(TASK.participants[0])
    np.testing.assert_allclose(moved, four, atol=1e-5)


def noiseless_without(missing):
    start, total = TASK.initial_parameters(), 0
    for name in TASK.participants:
        if name != missing:
            data = TASK.data[name]
            gradient = learning.gradient(TASK.model, start, data.x, data.y)
            total = total - clipping.vector(gradient, bound=0.2)
    return total / 5


def test_noise_differs_from_run_to_run():
    chosen = DistributedGaussian(clipping_norm=0.2, noise_multiplier=1.0)
    run, again = (train(chosen, aggregation=SECURE) for _ in range(2))
    assert not np.array_equal(run.parameters, again.parameters)


def test_the_run_states_its_price():
    run = train(CentralGaussian(noise_multiplier=2.0), rounds=3)
    expected = accounting.epsilon(noise_multiplier=2.0, sample_rate=1, steps=3, delta=1e-3)
    assert run.epsilon(1e-3) == expected
    chosen = DistributedGaussian(clipping_norm=0.2, noise_multiplier=2.0, colluders=1)
    run = train(chosen, rounds=3, aggregation=SECURE, at_least=4)
    terms = privacy.Terms(5, 4, TASK.model.size, 3, FixedPoint(8.0, 24, 5))
    assert run.epsilon(1e-3) == chosen.epsilon(1e-3, terms) > expected
    with pytest.raises(ValueError, match="no epsilon holds"):
        indirect.train(TASK, rounds=1).epsilon(1e-3)


def test_it_learns():
    task = learning.digits(10, seed=0)
    run = indirect.train(
        task,
        rounds=6,
        privacy=DistributedGaussian(noise_multiplier=0.2, seed=0, colluders=2),
        aggregation=aggregation.SecureAggregation(threshold=7, bound=4.0, bits=20),
        at_least=8,
    )
    assert run.accuracy > 0.75


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": AsynchronousSGD()}, "must come with FedAvg"),
        ({"privacy": DistributedGaussian()}, "hides single contributions"),
        ({"privacy": DistributedGaussian(colluders=5), "aggregation": SECURE}, "fewer than"),
        ({"rounds": 0}, "rounds must be a whole number"),
    ],
)
def test_what_cannot_be_is_an_error_before_anybody_trains(options, message):
    options = {"privacy": CentralGaussian(), **options}
    with pytest.raises(ValueError, match=message):
        indirect.train(TASK, **options)


def test_under_local_privacy_the_server_sees_noisy_examples_only():
    chosen = LocalDP(epsilon_features=64.0, epsilon_label=1.0)
    run = direct.train(TASK, rounds=2, privacy=chosen)
    uploads = [m for m in run.transcript.view("server") if m.topic == "examples"]
    assert len(uploads) == 5
    truths = np.concatenate([TASK.data[m.sender].x for m in uploads])
    noise = np.concatenate([m.payload["x"] for m in uploads]) - truths
    # 64 features in [0, 1] at epsilon 64: scale 1, deviation sqrt(2); 9600 values
    assert 1.3 < noise.std() < 1.53
    assert np.mean(noise == 0) < 0.01
    lies = [m.payload["y"] != TASK.data[m.sender].y for m in uploads]
    assert 0.5 < np.mean(lies) < 0.97  # 9 / (e + 9) = 0.77
    assert run.epsilon(1e-5) == 65.0


def test_with_little_local_noise_the_direct_approach_learns_as_without():
    task = learning.digits(3, seed=0)
    chosen = LocalDP(epsilon_features=1000.0, epsilon_label=8.0, seed=0)
    assert direct.train(task, rounds=10, privacy=chosen).accuracy > 0.8


def test_local_privacy_goes_with_uploads_alone():
    chosen = LocalDP(epsilon_features=1.0, epsilon_label=1.0)
    with pytest.raises(ValueError, match="must come with Central"):
        direct.train(TASK, method=TwoServers(), privacy=chosen)


def test_a_collector_with_a_share_counts_against_the_threshold():
    protected = aggregation.ThresholdPaillier(threshold=3)
    assert protected.withstood(aggregation.Group("a", ("b", "c", "d"), 0)) == 1


@pytest.mark.parametrize(
    ("contributors", "withstood"), [(4, 1), (100, 5)], ids=["complete graph", "by the theorem"]
)
def test_a_sparse_graph_withstands_the_fraction_it_was_drawn_for(contributors, withstood):
    group = aggregation.Group("server", tuple(f"{i:03}" for i in range(contributors)), 0)
    protected = aggregation.SecAggPlus()
    assert protected.plan(contributors).complete == (contributors == 4)
    assert protected.withstood(group) == withstood


@pytest.mark.parametrize(
    ("protected", "withstood"),
    [
        (aggregation.Lattice(), 0),  # whoever contributes has the key
        (aggregation.Paillier(), 0),
        (aggregation.ThresholdPaillier(threshold=3), 2),
        (aggregation.ThresholdLattice(), 3),
        (aggregation.SecAggPlus(corrupt=0.25, neighbours=2, threshold=2), 1),
        (aggregation.SecretSharing(threshold=3), 2),
        (aggregation.SecretSharing(), 3),
        (aggregation.SecureAggregation(threshold=4), 3),
        (aggregation.SecureAggregation(threshold=4, adversary="active"), 2),
        (aggregation.SecureAggregation(threshold=4, colluders=1), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_more_colluders_than_the_aggregation_withstands(protected, withstood):
    """One more could see a single contribution, which has only its part of the noise."""
    group = aggregation.Group("server", TASK.participants, 0)
    assert protected.withstood(group) == withstood
    chosen = DistributedGaussian(clipping_norm=0.2, colluders=withstood + 1)
    with pytest.raises(ValueError, match=f"colluders must be at most {withstood}, all that"):
        indirect.train(TASK, privacy=chosen, aggregation=protected)
