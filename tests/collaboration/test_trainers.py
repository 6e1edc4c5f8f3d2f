"""Privacy kept where a party trains: its noise, its price, and that nobody is forgotten.

Statistical tests say which fault they catch. Chance failures are below 1e-6 each.
"""

import math

import numpy as np
import pytest
from scipy import stats

from refimpl import learning
from refimpl.aggregation import SecureAggregation
from refimpl.collaboration import (
    AsynchronousSGD,
    BrainTorrent,
    Central,
    FedAvg,
    FedSGD,
    Gossip,
    RingAllReduce,
    SelectiveSGD,
    TwoServers,
    WeightTransmission,
    direct,
    indirect,
    peer_to_peer,
    trainers,
)
from refimpl.dp import accounting, clipping
from refimpl.learning import (
    CentralGaussian,
    DistributedGaussian,
    LocalDP,
    LocalGaussian,
    RecordDP,
)
from refimpl.network import Fault
from tests.collaboration.oracles import toy, train_locally

TASK = learning.digits(4, seed=0, examples_per_participant=25)
FULL = {"learning_rate": 1.0, "batch_size": None}  # of one step over all examples
STEP = {**FULL, "epochs": 1}


def clipped_mean(examples, bound):
    """Of the gradients of each example by itself, each longer than ``bound``."""
    start, total = TASK.initial_parameters(), 0
    for k in range(len(examples)):
        own = learning.gradient(TASK.model, start, examples.x[[k]], examples.y[[k]])
        assert np.linalg.norm(own) > bound
        total = total + own * (bound / np.linalg.norm(own))
    return total / len(examples)


def sent_by(run, name):
    """The parameters, or the gradient, that left ``name`` in each round."""
    found = {}
    for message in run.transcript.select(sender=name, topic="contribution"):
        vector = message.payload.astype(float)
        if run.approach == "peer-to-peer":  # on a ring of four, each weight is a third
            found[message.round] = vector * 3
        else:
            found[message.round] = vector[:-1] / vector[-1]
    return [found[round] for round in sorted(found)]


def check_normal(values, sigma):
    """Mean, variance and shape of independent N(0, sigma²)."""
    squares = np.square(values / sigma).sum()
    assert 1e-7 < stats.chi2.cdf(squares, len(values)) < 1 - 1e-7
    assert abs(values.mean()) * math.sqrt(len(values)) / sigma < stats.norm.isf(1e-7)
    assert stats.kstest(values / sigma, "norm").pvalue > 2e-7


@pytest.mark.parametrize(
    ("train", "method"),
    [
        (indirect.train, FedSGD(**FULL)),
        (indirect.train, FedAvg(**STEP)),
        (peer_to_peer.train, Gossip(**STEP)),
    ],
    ids=["FedSGD", "FedAvg", "gossip"],
)
def test_what_leaves_each_participant_is_the_clipped_mean_and_its_own_noise(train, method):
    """For each participant by itself: catches noise forgotten at one, a deviation wrong by 8 in
    100, a clip forgotten or after the mean, and noise shared by two (2410 values each)."""
    privacy = RecordDP(clipping_norm=0.2, noise_multiplier=3.0)
    run = train(TASK, rounds=1, method=method, privacy=privacy)
    noises = []
    for name in TASK.participants:
        (sent,) = sent_by(run, name)
        gradient = sent if isinstance(method, FedSGD) else TASK.initial_parameters() - sent
        noises.append((gradient - clipped_mean(TASK.data[name], 0.2)) * 25 / (0.2 * 3.0))
        check_normal(noises[-1], sigma=1.0)
    correlations = np.corrcoef(noises)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.11  # 5.4 deviations; noise in common gives 1


def test_the_mean_of_the_clipped_gradients_is_in_it():
    """With next to no noise: the noise tests alone would not see a mean left out."""
    quiet = RecordDP(clipping_norm=0.2, noise_multiplier=1e-6, seed=0)
    expected = np.mean([clipped_mean(own, 0.2) for own in TASK.data.values()], axis=0)
    for train, method in (
        (indirect.train, FedSGD(**FULL)),
        (indirect.train, FedAvg(**STEP)),
        (peer_to_peer.train, Gossip(**STEP)),
        (direct.train, Central(**STEP)),
    ):
        run = train(TASK, rounds=1, method=method, privacy=quiet)
        moved = TASK.initial_parameters() - run.parameters
        np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_the_server_of_the_direct_approach_adds_the_noise():
    run = direct.train(
        TASK,
        rounds=1,
        method=Central(**STEP),
        privacy=RecordDP(clipping_norm=0.2, noise_multiplier=3.0),
    )
    mean = np.mean([clipped_mean(own, 0.2) for own in TASK.data.values()], axis=0)
    noise = TASK.initial_parameters() - run.parameters - mean
    check_normal(noise, sigma=0.2 * 3.0 / 100)


@pytest.mark.parametrize("privacy", [RecordDP, LocalGaussian])
def test_noise_is_fresh_in_each_round(privacy):
    """Catches noise used twice: a correlation of 1 where 0.11 is 5.4 deviations."""
    chosen = privacy(clipping_norm=1e-4, noise_multiplier=1e4, seed=0)
    run = indirect.train(TASK, rounds=3, method=FedSGD(**FULL), privacy=chosen)
    start = [m.payload for m in run.transcript.select(topic="model", receiver="hospital 0")]
    moves = np.diff(np.array(start, float), axis=0)
    assert len(moves) == 3
    correlations = np.corrcoef(moves)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.11


def test_a_seed_repeats_a_run_and_none_does_not():
    for train in (direct.train, indirect.train, peer_to_peer.train):
        seeded = [train(TASK, rounds=2, privacy=RecordDP(seed=3)).parameters for _ in range(2)]
        np.testing.assert_array_equal(*seeded)
        secure = [train(TASK, rounds=2, privacy=RecordDP()).parameters for _ in range(2)]
        assert not np.array_equal(*secure)


def test_a_protected_sum_changes_nothing_but_who_sees_what():
    privacy = RecordDP(noise_multiplier=1.0, seed=0)
    plain = indirect.train(TASK, rounds=2, privacy=privacy)
    masked = indirect.train(
        TASK, rounds=2, privacy=privacy, aggregation=SecureAggregation(bound=16.0, bits=24)
    )
    np.testing.assert_allclose(masked.parameters, plain.parameters, atol=1e-4)
    assert masked.epsilon(1e-5) == plain.epsilon(1e-5)


UNEVEN = toy((40, 100, 20, 60))


def account(sizes, batch, epochs, rounds, multiplier=1.2):
    """The largest over parties of these sizes, by the accountant alone."""
    return max(
        accounting.epsilon(
            noise_multiplier=multiplier,
            sample_rate=min(1, batch / n),
            steps=rounds * epochs * math.ceil(n / batch),
            delta=1e-4,
        )
        for n in sizes
    )


@pytest.mark.parametrize(
    ("train", "method", "sizes"),
    [
        (direct.train, Central(epochs=2, batch_size=8), [220]),
        (indirect.train, FedAvg(epochs=2, batch_size=8), [40, 100, 20, 60]),
        (peer_to_peer.train, Gossip(epochs=2, batch_size=8), [40, 100, 20, 60]),
    ],
)
def test_epsilon_is_the_largest_over_participants_of_all_their_steps(train, method, sizes):
    """One round less, or the smallest of the participants, would be at least 4 in 100 lower."""
    run = train(UNEVEN, rounds=5, method=method, privacy=RecordDP(noise_multiplier=1.2))
    assert run.epsilon(1e-4) == account(sizes, 8, 2, 5)
    assert run.epsilon(1e-4) > 1.04 * account(sizes, 8, 2, 4)
    if len(sizes) > 1:
        assert run.epsilon(1e-4) == account([20], 8, 2, 5) > 1.04 * account([40, 60, 100], 8, 2, 5)


def test_one_step_a_round_for_a_gradient():
    run = indirect.train(
        UNEVEN, rounds=5, method=FedSGD(batch_size=8), privacy=RecordDP(noise_multiplier=1.2)
    )
    one = {"noise_multiplier": 1.2, "steps": 5, "delta": 1e-4}
    assert run.epsilon(1e-4) == accounting.epsilon(sample_rate=8 / 20, **one)


def test_what_was_accounted_is_what_is_run(monkeypatch):
    """By each job's settings: the rate of another participant, or a step more, would show."""
    seen = {}

    def spy(kind):
        def make(model, parameters, examples, settings, rng):
            seen.setdefault(len(examples), []).append(settings)
            return kind(model, parameters, examples, settings, rng)

        return make

    for kind in ("PrivateTraining", "PrivateGradient"):
        monkeypatch.setattr(trainers, kind, spy(getattr(trainers, kind)))
    for train, method in (
        (indirect.train, FedAvg(epochs=2, batch_size=8)),
        (peer_to_peer.train, Gossip(epochs=2, batch_size=8)),
    ):
        seen.clear()
        train(UNEVEN, rounds=3, method=method, privacy=RecordDP())
        assert sorted(seen) == [20, 40, 60, 100]
        for n, rounds in seen.items():
            assert [(own.sample_rate, own.steps) for own in rounds] == [
                (8 / n, 2 * math.ceil(n / 8))
            ] * 3


def test_missing_uploads_do_not_raise_the_rate(monkeypatch):
    """The rate is of all examples, whoever uploads: else the account would be too low."""
    seen = []
    original = trainers.PrivateTraining

    def spy(model, parameters, examples, settings, rng):
        seen.append((len(examples), settings.sample_rate, settings.expected_size))
        return original(model, parameters, examples, settings, rng)

    monkeypatch.setattr(trainers, "PrivateTraining", spy)
    run = direct.train(
        UNEVEN,
        rounds=1,
        method=Central(batch_size=22),
        privacy=RecordDP(),
        at_least=3,
        faults=[Fault("drop", sender="b")],
    )
    assert seen == [(120, 22 / 220, 22)]
    assert run.accuracy >= 0


def test_it_learns():
    task = learning.digits(10, seed=0)
    privacy = RecordDP(noise_multiplier=1.0, seed=0)
    local = {"learning_rate": 0.5, "epochs": 1}
    for train, method in (
        (direct.train, Central(**local)),
        (indirect.train, FedAvg(**local)),
        (peer_to_peer.train, Gossip(**local)),
    ):
        run = train(task, rounds=10, method=method, privacy=privacy, record="sizes")
        assert run.accuracy > 0.7


# --- the client level without a server ----------------------------------------------------------


def test_a_peer_sends_its_clipped_update_and_its_own_noise():
    """For each peer by itself; catches a deviation wrong by 8 in 100, and a clip forgotten."""
    method = Gossip(epochs=1, batch_size=5)
    privacy = LocalGaussian(clipping_norm=0.3, noise_multiplier=2.0)
    run = peer_to_peer.train(TASK, rounds=1, method=method, privacy=privacy)
    start, noises = TASK.initial_parameters(), []
    for name in TASK.participants:
        rng = TASK.generator("local training", name, 0)
        update = train_locally(TASK, method, name, start, rng) - start
        assert np.linalg.norm(update) > 0.3
        (sent,) = sent_by(run, name)
        noises.append(sent - start - clipping.vector(update, bound=0.3))
        check_normal(noises[-1], sigma=0.6)
    correlations = np.corrcoef(noises)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.11


def test_with_next_to_no_noise_a_peer_moves_by_its_clipped_update():
    method = Gossip(epochs=1, batch_size=5)
    quiet = LocalGaussian(clipping_norm=0.3, noise_multiplier=1e-6, seed=0)
    run = peer_to_peer.train(TASK, rounds=1, method=method, privacy=quiet)
    start = TASK.initial_parameters()
    for name in TASK.participants:
        rng = TASK.generator("local training", name, 0)
        update = train_locally(TASK, method, name, start, rng) - start
        (sent,) = sent_by(run, name)
        expected = start + clipping.vector(update, bound=0.3)
        np.testing.assert_allclose(sent, expected, atol=2e-5)


def test_each_round_of_gossip_is_a_release_to_everybody():
    run = peer_to_peer.train(TASK, rounds=6, privacy=LocalGaussian(noise_multiplier=4.0))
    expected = accounting.epsilon(noise_multiplier=4.0, sample_rate=1.0, steps=6, delta=1e-5)
    assert run.epsilon(1e-5) == expected


def test_local_noise_in_a_federation_adds_up():
    """Four times the variance of one; catches a deviation wrong by 8 in 100."""
    chosen = LocalGaussian(clipping_norm=0.2, noise_multiplier=3.0)
    run = indirect.train(TASK, rounds=1, method=FedSGD(**FULL), privacy=chosen)
    start, total = TASK.initial_parameters(), 0
    for own in TASK.data.values():
        gradient = learning.gradient(TASK.model, start, own.x, own.y)
        total = total + clipping.vector(gradient, bound=0.2)
    check_normal(start - run.parameters - total / 4, sigma=0.2 * 3.0 * 2 / 4)


# --- what cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "options", "error", "message"),
    [
        (indirect.train, {"method": AsynchronousSGD()}, ValueError, "must come with FedAvg"),
        (indirect.train, {"method": SelectiveSGD()}, ValueError, "must come with FedAvg"),
        (indirect.train, {"method": WeightTransmission()}, ValueError, "must come with FedAvg"),
        (peer_to_peer.train, {"method": WeightTransmission()}, ValueError, "with Gossip"),
        (peer_to_peer.train, {"method": RingAllReduce()}, ValueError, "with Gossip"),
        (peer_to_peer.train, {"method": BrainTorrent()}, ValueError, "with Gossip"),
        (peer_to_peer.train, {"privacy": CentralGaussian()}, TypeError, "or LocalGaussian"),
        (peer_to_peer.train, {"privacy": DistributedGaussian()}, TypeError, "or LocalGaussian"),
        (direct.train, {"method": TwoServers()}, ValueError, "must come with Central"),
        (direct.train, {"privacy": LocalGaussian()}, TypeError, "LocalDP or RecordDP"),
        (
            indirect.train,
            {"privacy": LocalDP(epsilon_features=1.0, epsilon_label=1.0)},
            TypeError,
            "privacy of indirect training must be",
        ),
        (
            indirect.train,
            {"privacy": LocalGaussian(), "aggregation": SecureAggregation(bound=16.0)},
            ValueError,
            "must come with aggregation.Plain",
        ),
        (
            peer_to_peer.train,
            {"privacy": LocalGaussian(), "aggregation": SecureAggregation(bound=16.0)},
            ValueError,
            "must come with aggregation.Plain",
        ),
        (indirect.train, {"rounds": 0}, ValueError, "rounds must be a whole number"),
    ],
)
def test_what_cannot_be_is_an_error_before_anybody_trains(train, options, error, message):
    with pytest.raises(error, match=message):
        train(TASK, **{"privacy": RecordDP(), **options})
