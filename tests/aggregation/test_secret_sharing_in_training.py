"""Training whose sums are secret-shared comes to what it comes to in clear."""

import networkx
import numpy as np
import pytest

from refimpl import learning
from refimpl.aggregation import Group, Plain, SecretSharing
from refimpl.collaboration import FedAvg, FedSGD, Gossip, indirect, peer_to_peer
from refimpl.learning import LocalTraining
from refimpl.network import Fault, MissingMessage, topology
from tests.collaboration.oracles import close, federated_averaging, toy

METHOD = FedAvg(epochs=2, batch_size=4)
SIZES = (5, 9, 14, 7)
both = pytest.mark.parametrize("aggregation", [SecretSharing(), SecretSharing(3)], ids=str)


class Recording:
    """An aggregation that notes, by round and collector, what goes in and what comes out."""

    def __init__(self, aggregation):
        self.aggregation, self.given, self.sums = aggregation, {}, {}
        self.setup, self.check = aggregation.setup, aggregation.check

    async def contribute(self, link, vector, group, credentials):
        place = self.given.setdefault((group.round, group.collector), {})
        place[link.name] = vector.astype(np.float64)
        await self.aggregation.contribute(link, vector, group, credentials)

    async def collect(self, link, group, credentials):
        total, who = await self.aggregation.collect(link, group, credentials)
        self.sums[group.round, group.collector] = total, who
        return total, who


def check_sums(recording, rounds, collectors):
    """Each sum is that of what went in, within the rounding error of the encoding."""
    assert len(recording.sums) == rounds * collectors
    for place, (total, who) in recording.sums.items():
        inputs = recording.given[place]
        assert who == tuple(sorted(inputs))
        code = recording.aggregation.encoding(Group("-", who, 0))
        error = code.rounding_error(len(who))
        assert 0 < np.abs(total - sum(inputs.values())).max() <= error * (1 + 1e-6)


@both
def test_federated_averaging(aggregation):
    """The first mean is off by at most that of the sum over the weights' sum, and the sum of the
    weights' error: (K u / 2) (1 + |w|) / W; and each later sum by no more than K u / 2."""
    recording = Recording(aggregation)
    shared = indirect.train(toy(SIZES), rounds=3, method=METHOD, aggregation=recording)
    check_sums(recording, 3, 1)
    plain = indirect.train(toy(SIZES), rounds=3, method=METHOD)
    np.testing.assert_allclose(shared.parameters, plain.parameters, rtol=0, atol=1e-3)
    once = [
        indirect.train(toy(SIZES), rounds=1, method=METHOD, aggregation=how).parameters
        for how in (aggregation, Plain())
    ]
    unit, weights = 16 / (2**23 - 1), sum(SIZES) / max(SIZES)
    size = np.abs(once[1]).max()
    bound = len(SIZES) * unit / 2 * (1 + size) / weights * (1 + 1e-6) + size * 2**-22
    assert np.abs(once[0] - once[1]).max() <= bound


@both
def test_federated_sgd(aggregation):
    shared = indirect.train(toy(SIZES), rounds=3, method=FedSGD(), aggregation=aggregation)
    plain = indirect.train(toy(SIZES), rounds=3, method=FedSGD())
    np.testing.assert_allclose(shared.parameters, plain.parameters, rtol=0, atol=1e-4)


@both
def test_gossip(aggregation):
    method = Gossip(epochs=1, batch_size=4, graph=networkx.complete_graph)
    recording = Recording(aggregation)
    shared = peer_to_peer.train(toy(SIZES), rounds=3, method=method, aggregation=recording)
    check_sums(recording, 3, 4)
    plain = peer_to_peer.train(toy(SIZES), rounds=3, method=method)
    for name, model in plain.models.items():
        np.testing.assert_allclose(shared.models[name], model, rtol=0, atol=1e-3)


@both
def test_gossip_alone(aggregation):
    graph = networkx.random_regular_graph(4, 10, seed=1)
    weights = topology.metropolis_weights(graph)
    values = np.random.default_rng(0).normal(size=(10, 6))
    shared, transcript = peer_to_peer.average(values, weights, 3, aggregation=aggregation)
    plain, _ = peer_to_peer.average(values, weights, 3)
    unit = 16 / (2**23 - 1)
    for round in range(1, 4):  # W keeps errors from growing: each round adds at most 4 u / 2
        assert np.abs(shared[round] - plain[round]).max() <= round * 4 * unit / 2 * (1 + 1e-6)
    assert not any(message.topic == "contribution" for message in transcript)


@pytest.mark.parametrize("kind", ["drop", "tamper", "delay"])
def test_the_mean_is_that_of_the_survivors(kind):
    """Weighted by their examples; with 40 bits rounding is far below single precision."""
    task = toy(SIZES)
    run = indirect.train(
        task,
        rounds=3,
        method=METHOD,
        aggregation=SecretSharing(3, bits=40),
        at_least=3,
        faults=[Fault(kind, sender="b", topic="share for server", round=1)],
    )
    expected = federated_averaging(
        task, METHOD, 3, survivors=lambda round: ["a", "c", "d"] if round == 1 else None
    )
    close(run.parameters, expected)
    assert not run.errors


def test_digits_by_default():
    """The default bound holds the parameters of a real run."""
    task = learning.digits(participants=5)
    shared = indirect.train(task, rounds=2, aggregation=SecretSharing(3), record="sizes")
    plain = indirect.train(task, rounds=2, record="sizes")
    assert abs(shared.accuracy - plain.accuracy) < 0.02


def test_a_value_over_the_bound_stops_the_run():
    with pytest.raises(ValueError, match=r"must lie in \[-0.01, 0.01\], got .* larger bound"):
        indirect.train(toy(SIZES), rounds=1, aggregation=SecretSharing(bound=0.01))


def test_too_few_survivors_stop_the_run():
    faults = [Fault("drop", sender=name, topic="share for server", round=1) for name in "ab"]
    with pytest.raises(MissingMessage, match=r"3 are needed|needs 3"):
        indirect.train(
            toy(SIZES), rounds=3, aggregation=SecretSharing(2), at_least=3, faults=faults
        )


# --- refused before anybody trains -------------------------------------------------------------


@pytest.fixture
def trained(monkeypatch):
    """The jobs of those who trained."""
    notes = []
    note = staticmethod(lambda jobs: notes.extend(jobs) or jobs)
    monkeypatch.setattr(LocalTraining, "run_together", note)
    return notes


@pytest.mark.parametrize(
    ("sizes", "aggregation", "at_least", "message"),
    [
        ((5, 9), SecretSharing(), None, "must be at least 3, got 2"),
        (SIZES, SecretSharing(5), None, "at most contributors=4"),
        (SIZES, SecretSharing(), 3, "at_least must be None without a threshold"),
        (SIZES, SecretSharing(3), 2, "at_least must be between 3"),
    ],
)
def test_an_unfit_group_is_refused_before_anybody_trains(
    sizes, aggregation, at_least, message, trained
):
    with pytest.raises(ValueError, match=message):
        indirect.train(toy(sizes), aggregation=aggregation, at_least=at_least)
    assert not trained


def test_a_neighbourhood_of_two_is_refused_before_anybody_trains(trained, monkeypatch):
    with pytest.raises(ValueError, match=r"must be at least 3, got 2 .*'a'.* denser graph"):
        peer_to_peer.train(toy(SIZES), aggregation=SecretSharing())
    assert not trained
    weights = topology.metropolis_weights(topology.ring(6))
    monkeypatch.setattr(SecretSharing, "setup", lambda *_: pytest.fail("it was set up"))
    with pytest.raises(ValueError, match="must be at least 3, got 2"):
        peer_to_peer.average(np.ones((6, 1)), weights, 1, aggregation=SecretSharing())
