"""Training whose sums are encrypted comes to what it comes to in clear."""

from functools import partialmethod

import networkx
import numpy as np
import pytest

from refimpl import learning
from refimpl.aggregation import Lattice, Paillier, Plain, ThresholdLattice, ThresholdPaillier
from refimpl.aggregation.single_key import SingleKey
from refimpl.arithmetic import randomness
from refimpl.collaboration import FedAvg, FedSGD, Gossip, indirect, peer_to_peer
from refimpl.learning import DistributedGaussian, LocalTraining
from refimpl.network import Fault, MissingMessage, topology
from tests.aggregation.test_secret_sharing_in_training import Recording, check_sums
from tests.collaboration.oracles import close, federated_averaging, toy
from tests.he.keys import SAFE_PRIMES_OF_1024_BITS as PRIMES

METHOD = FedAvg(epochs=2, batch_size=4)
SIZES = (5, 9, 14, 7)
SHARED = {
    "ThresholdPaillier": ThresholdPaillier(3, primes=PRIMES),
    "ThresholdLattice": ThresholdLattice(length=100),
}
ALL = {"Paillier": Paillier(primes=PRIMES), "Lattice": Lattice(), **SHARED}
every = pytest.mark.parametrize("aggregation", ALL.values(), ids=ALL)
shared = pytest.mark.parametrize("aggregation", SHARED.values(), ids=SHARED)


@pytest.fixture(autouse=True)
def the_same_keys(monkeypatch):
    """Keys of the same seed in each run, whose table of noise is made once: that takes longest."""
    for kind in (SingleKey, ThresholdPaillier):
        monkeypatch.setattr(kind, "setup", partialmethod(seeded, kind.setup))


def seeded(self, setup, parties, rng=None):
    return setup(self, parties, randomness.seeded(0))


@every
def test_federated_averaging(aggregation):
    """With 16 bits the mean of a round is off by (K u / 2) (1 + |w|) / W, the sum's rounding and
    the weights'; three rounds of training may grow that, not beyond 0.02 here."""
    recording = Recording(aggregation)
    run = indirect.train(toy(SIZES), rounds=3, method=METHOD, aggregation=recording)
    check_sums(recording, 3, 1)
    plain = indirect.train(toy(SIZES), rounds=3, method=METHOD)
    np.testing.assert_allclose(run.parameters, plain.parameters, rtol=0, atol=0.02)
    once = [
        indirect.train(toy(SIZES), rounds=1, method=METHOD, aggregation=how).parameters
        for how in (aggregation, Plain())
    ]
    unit, weights, size = 16 / 32767, sum(SIZES) / max(SIZES), np.abs(once[1]).max()
    bound = len(SIZES) * unit / 2 * (1 + size) / weights * (1 + 1e-6) + size * 2**-22
    assert np.abs(once[0] - once[1]).max() <= bound


@every
def test_federated_sgd(aggregation):
    run = indirect.train(toy(SIZES), rounds=2, method=FedSGD(), aggregation=aggregation)
    plain = indirect.train(toy(SIZES), rounds=2, method=FedSGD())
    np.testing.assert_allclose(run.parameters, plain.parameters, rtol=0, atol=0.01)


@shared
def test_gossip(aggregation):
    method = Gossip(epochs=1, batch_size=4, graph=networkx.complete_graph)
    recording = Recording(aggregation)
    run = peer_to_peer.train(toy(SIZES), rounds=2, method=method, aggregation=recording)
    check_sums(recording, 2, 4)
    plain = peer_to_peer.train(toy(SIZES), rounds=2, method=method)
    for name, model in plain.models.items():
        np.testing.assert_allclose(run.models[name], model, rtol=0, atol=0.01)


def test_gossip_on_a_sparse_graph_with_a_key_for_each_neighbourhood():
    graph = topology.random_regular(10, 4, seed=1)
    weights = topology.metropolis_weights(graph)
    values = np.random.default_rng(0).normal(size=(10, 6))
    how = ThresholdLattice(length=6)
    summed, transcript = peer_to_peer.average(values, weights, 2, aggregation=how)
    plain, _ = peer_to_peer.average(values, weights, 2)
    unit = 16 / 32767
    for round in (1, 2):  # W keeps errors from growing: each round adds at most 4 u / 2
        assert np.abs(summed[round] - plain[round]).max() <= round * 4 * unit / 2 * (1 + 1e-6)
    assert len(transcript.select(topic="public key share")) == 40  # once, not in each round
    assert len(transcript.select(topic="decryption")) == 80
    assert not any(message.topic == "contribution" for message in transcript)


@pytest.mark.parametrize("kind", ["drop", "tamper", "delay"])
@pytest.mark.parametrize(
    "aggregation",
    [Lattice(bits=40), ThresholdPaillier(3, bits=40, primes=PRIMES)],
    ids=["Lattice", "ThresholdPaillier"],
)
def test_the_mean_is_that_of_the_survivors(aggregation, kind):
    """Weighted by their examples; with 40 bits rounding is far below single precision."""
    task = toy(SIZES)
    run = indirect.train(
        task,
        rounds=3,
        method=METHOD,
        aggregation=aggregation,
        at_least=3,
        faults=[Fault(kind, sender="b", topic="ciphertext", round=1)],
    )
    expected = federated_averaging(
        task, METHOD, 3, survivors=lambda round: ["a", "c", "d"] if round == 1 else None
    )
    close(run.parameters, expected)
    assert not run.errors


def test_digits_by_default():
    task = learning.digits(participants=5)
    plain = indirect.train(task, rounds=2, record="sizes")
    for aggregation in (Lattice(), ThresholdLattice()):
        run = indirect.train(task, rounds=2, aggregation=aggregation, record="sizes")
        assert abs(run.accuracy - plain.accuracy) < 0.02


@every
def test_noise_in_parts_adds_up_under_encryption(aggregation):
    """HE and differential privacy: the integers that the noise makes are summed exactly."""
    noise = DistributedGaussian(noise_multiplier=1.0, clipping_norm=1.0, seed=3)
    runs = [
        indirect.train(toy(SIZES), rounds=1, method=METHOD, aggregation=how, privacy=noise)
        for how in (aggregation, Lattice())
    ]
    assert runs[0].parameters.tobytes() == runs[1].parameters.tobytes()
    assert runs[0].epsilon(1e-5) == runs[1].epsilon(1e-5) < 20


def test_a_value_over_the_bound_stops_the_run():
    with pytest.raises(ValueError, match=r"must lie in \[-0.01, 0.01\], got .* larger bound"):
        indirect.train(toy(SIZES), rounds=1, aggregation=Lattice(bound=0.01))


def test_too_few_survivors_stop_the_run():
    faults = [Fault("drop", sender=name, topic="ciphertext", round=1) for name in "ab"]
    with pytest.raises(MissingMessage, match="needs 3"):
        indirect.train(toy(SIZES), rounds=3, aggregation=Lattice(), at_least=3, faults=faults)


# --- refused before anybody trains -------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "aggregation", "at_least", "message"),
    [
        ((5, 9), Lattice(), None, "must be at least 3, got 2"),
        (SIZES, ThresholdPaillier(5, primes=PRIMES), None, "threshold must be .* 4, got 5"),
        (SIZES, ThresholdLattice(), 3, "at_least must be None, got 3"),
        (SIZES, Paillier(server="hospital"), None, "must have the server 'hospital'"),
        (SIZES, ThresholdLattice(bits=40), None, "the modulus would need"),
    ],
)
def test_an_unfit_group_is_refused_before_anybody_trains(
    sizes, aggregation, at_least, message, monkeypatch
):
    monkeypatch.setattr(LocalTraining, "run_together", lambda jobs: pytest.fail("one trained"))
    with pytest.raises(ValueError, match=message):
        indirect.train(toy(sizes), aggregation=aggregation, at_least=at_least)


@pytest.mark.parametrize("aggregation", [Paillier(), Lattice()])
def test_one_key_is_refused_among_peers(aggregation, monkeypatch):
    monkeypatch.setattr(LocalTraining, "run_together", lambda jobs: pytest.fail("one trained"))
    with pytest.raises(ValueError, match="a collector that held the private key would read each"):
        peer_to_peer.train(toy(SIZES), aggregation=aggregation)
    weights = topology.metropolis_weights(topology.complete(4))
    with pytest.raises(ValueError, match="a collector that held the private key would read each"):
        peer_to_peer.average(np.ones((4, 1)), weights, 1, aggregation=aggregation)
