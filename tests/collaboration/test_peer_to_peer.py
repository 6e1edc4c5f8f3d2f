import networkx
import numpy as np
import pytest

from refimpl import aggregation
from refimpl.collaboration import Gossip, peer_to_peer
from refimpl.network import Fault, MalformedMessage, topology
from tests.collaboration.oracles import (
    close,
    frame_bytes,
    generators,
    toy,
    train_locally,
    vector_bytes,
)

GRAPHS = {
    "ring 5": topology.ring(5),
    "ring 8": topology.ring(8),
    "grid 3 x 4": topology.grid(3, 4),
    "random regular": topology.random_regular(10, 3, seed=1),
    "complete": topology.complete(6),
}
# Doubly stochastic and not symmetric: node 1 gives node 0 the weight 0.3, and gets 0.2 from it.
ONE_WAY = np.array([[0.5, 0.2, 0.3], [0.3, 0.5, 0.2], [0.2, 0.3, 0.5]])


def distances(history):
    """How far the nodes are from the mean after each round."""
    away = history - history[0].mean(axis=0)
    return np.sqrt((away**2).sum(axis=(1, 2)))


def slowest(weights):
    """An eigenvector of the symmetric ``weights`` whose eigenvalue is the second in modulus.

    The largest, 1, is that of the constant vector; with it taken off, numpy finds the next.
    """
    values, vectors = np.linalg.eigh(weights - np.full_like(weights, 1 / len(weights)))
    at = np.argmax(abs(values))
    return vectors[:, [at]], abs(values[at])


# --- gossip alone -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRAPHS)
def test_gossip_keeps_the_mean_and_is_the_power_of_the_matrix(name):
    weights = topology.metropolis_weights(GRAPHS[name])
    values = np.random.default_rng(0).normal(size=(len(weights), 3))
    history, _ = peer_to_peer.average(values, weights, rounds=12)
    assert history.shape == (13, len(weights), 3)
    for t, held in enumerate(history):
        np.testing.assert_allclose(held.mean(axis=0), values.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(held, np.linalg.matrix_power(weights, t) @ values, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "complete"])
def test_gossip_converges_at_the_rate_of_the_second_eigenvalue(name):
    """No round is slower than |λ₂|, and from its eigenvector every round is just as slow."""
    weights = topology.metropolis_weights(GRAPHS[name])
    start, modulus = slowest(weights)
    assert modulus == pytest.approx(topology.second_eigenvalue_modulus(weights), abs=1e-12)
    assert 0.3 < modulus < 0.95

    values = np.random.default_rng(1).normal(size=(len(weights), 4))
    history, _ = peer_to_peer.average(values, weights, rounds=30)
    error = distances(history)
    for t in range(31):
        assert error[t] <= modulus**t * error[0] * (1 + 1e-9)
    assert error[30] > 0.02 * modulus**30 * error[0]  # a random start holds some of it

    history, _ = peer_to_peer.average(start, weights, rounds=20)
    np.testing.assert_allclose(distances(history), modulus ** np.arange(21), rtol=1e-9)


def test_the_complete_graph_averages_in_one_round():
    weights = topology.metropolis_weights(GRAPHS["complete"])
    values = np.random.default_rng(0).normal(size=(6, 3))
    history, transcript = peer_to_peer.average(values, weights, rounds=1)
    np.testing.assert_allclose(history[1], np.tile(values.mean(axis=0), (6, 1)), atol=1e-12)
    assert len(transcript) == 30


def test_an_even_ring_without_self_weight_never_converges_and_an_odd_one_does():
    for nodes, modulus in ((6, 1.0), (7, np.cos(np.pi / 7))):
        weights = topology.neighbour_weights(topology.ring(nodes))
        start, found = slowest(weights)
        assert found == pytest.approx(modulus, abs=1e-12)
        history, _ = peer_to_peer.average(start, weights, rounds=60)
        np.testing.assert_allclose(distances(history), modulus ** np.arange(61), rtol=1e-9)
    even = np.array([[1.0], [0.0]] * 3)  # the two halves swap their values for ever
    history, _ = peer_to_peer.average(even, topology.neighbour_weights(topology.ring(6)), rounds=61)
    assert np.array_equal(history[60], even)
    assert np.array_equal(history[61], 1 - even)


def test_the_sender_scales_by_the_weight_that_the_receiver_gives_it():
    values = np.array([[1.0], [10.0], [100.0]])
    history, transcript = peer_to_peer.average(values, ONE_WAY, rounds=1)
    assert history[1].ravel().tolist() == pytest.approx([32.5, 25.3, 53.2])
    sent = transcript.select(sender="node 0", receiver="node 1").messages[0].payload
    assert sent.tolist() == pytest.approx([0.3])


def test_who_gets_no_weight_sends_nothing():
    cycle = np.array([[0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.5, 0.5], [0.5, 0, 0, 0.5]])
    values = np.arange(4.0).reshape(4, 1)
    history, transcript = peer_to_peer.average(values, cycle, rounds=1)
    assert history[1].ravel().tolist() == [0.5, 1.5, 2.5, 1.5]
    pairs = {(m.sender, m.receiver) for m in transcript}
    assert pairs == {(f"node {(k + 1) % 4}", f"node {k}") for k in range(4)}


def test_a_node_sees_its_neighbours_messages_only():
    graph = topology.grid(3, 4)
    weights = topology.metropolis_weights(graph)
    values = np.random.default_rng(0).normal(size=(12, 2))
    _, transcript = peer_to_peer.average(values, weights, rounds=3)
    for node in range(12):
        near = {f"node {other:02}" for other in graph[node]}
        view = transcript.view(f"node {node:02}")
        assert {m.sender for m in view if m.receiver == f"node {node:02}"} == near
        assert all(f"node {node:02}" in (m.sender, m.receiver) for m in view)
        assert len(view) == 3 * 2 * len(near)


class Credentials(aggregation.Plain):
    """Plain, whose parties must each present their own."""

    def setup(self, parties, rng=None):
        return {name: f"key of {name}" for name in parties}

    async def contribute(self, link, vector, group, credentials=None):
        assert credentials == f"key of {link.name}"
        await super().contribute(link, vector, group)

    async def collect(self, link, group, credentials=None):
        assert credentials == f"key of {link.name}"
        return await super().collect(link, group)


def test_neighbourhoods_go_through_the_aggregation():
    weights = topology.metropolis_weights(topology.ring(4))
    values = np.eye(4)
    history, _ = peer_to_peer.average(values, weights, rounds=2, aggregation=Credentials())
    assert np.array_equal(history, peer_to_peer.average(values, weights, rounds=2)[0])
    task = toy()
    run = peer_to_peer.train(task, rounds=2, aggregation=Credentials())
    assert np.array_equal(run.parameters, peer_to_peer.train(task, rounds=2).parameters)


# --- training ---------------------------------------------------------------------------------


def one_way(graph):
    return ONE_WAY


@pytest.mark.parametrize(
    ("sizes", "graph", "weights"),
    [
        ((5, 9, 14), topology.ring, topology.metropolis_weights),
        ((5, 9, 14), topology.complete, one_way),
        ((5, 9, 14, 4), topology.grid(2, 2), topology.neighbour_weights),
        ((4, 5, 6, 7, 8), networkx.path_graph, topology.metropolis_weights),
    ],
)
def test_training_is_local_sgd_then_mixing(sizes, graph, weights):
    task = toy(sizes)
    method = Gossip(learning_rate=0.2, epochs=2, batch_size=4, graph=graph, weights=weights)
    run = peer_to_peer.train(task, rounds=4, method=method, seed=3)
    mixing = weights(graph(len(sizes)) if callable(graph) else graph)
    streams = generators(task, 3)
    held = dict.fromkeys(task.participants, task.initial_parameters())
    for _ in range(4):
        trained = np.array(
            [
                train_locally(task, method, name, held[name], streams[name])
                for name in task.participants
            ],
            np.float64,
        )
        mixed = (mixing @ trained).astype(np.float32)
        held = dict(zip(task.participants, mixed, strict=True))
    for name in task.participants:
        close(run.models[name], held[name])
    close(run.parameters, np.mean(list(held.values()), axis=0))
    score = np.mean([task.accuracy(model) for model in held.values()])
    assert run.accuracy == pytest.approx(score)


def test_bytes_of_gossip_are_the_formula():
    """rounds · degree vectors each way, by each participant."""
    task = toy((5, 6, 7, 8))
    run = peer_to_peer.train(task, rounds=3)
    vector = vector_bytes(task.model.size)
    each = 2 * sum(frame_bytes("contribution", r, r, vector) for r in range(3))
    for name in task.participants:
        assert run.transcript.bytes_sent()[name] == each
        assert run.transcript.bytes_received()[name] == each
    assert len(run.transcript) == 4 * 2 * 3


# --- bad input --------------------------------------------------------------------------------


class Lying(aggregation.Plain):
    """Every contribution is ``vector``."""

    def __init__(self, vector):
        object.__setattr__(self, "vector", vector)

    async def contribute(self, link, vector, group, credentials=None):
        await link.in_round(group.round).send(group.collector, "contribution", self.vector)


@pytest.mark.parametrize("vector", [None, np.ones(1), np.ones((1, 3)), np.full(3, np.nan)])
def test_a_malformed_contribution_names_its_sender(vector):
    values, weights = np.ones((2, 3)), np.full((2, 2), 0.5)
    with pytest.raises(MalformedMessage, match="'node 1'") as caught:
        peer_to_peer.average(values, weights, rounds=1, aggregation=Lying(vector))
    assert caught.value.parties == ("node 1",)


def test_contributions_too_large_for_the_values_name_their_senders():
    """0.5 · 3e38 of its own and 3e38 from its neighbour are over what a float32 holds."""
    values, weights = np.full((2, 3), 3e38, np.float32), np.full((2, 2), 0.5)
    with pytest.raises(MalformedMessage, match=r"'node 1' .* not finite") as caught:
        peer_to_peer.average(values, weights, rounds=1, aggregation=Lying(values[0]))
    assert caught.value.parties == ("node 1",)


def test_a_lost_contribution_names_its_sender():
    weights = topology.metropolis_weights(topology.ring(4))
    lost = [Fault("drop", sender="node 2", receiver="node 3", round=1)]
    with pytest.raises(RuntimeError, match="'node 2'") as caught:
        peer_to_peer.average(np.ones((4, 1)), weights, rounds=3, faults=lost)
    assert caught.value.parties == ("node 2",)


THIRD = np.full((3, 3), 1 / 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: peer_to_peer.average(np.ones((3, 1)), THIRD, 0), "rounds must be .* got 0"),
        (lambda: peer_to_peer.average(np.ones(3), THIRD, 1), r"shape \(nodes=3, length\)"),
        (lambda: peer_to_peer.average(np.ones((2, 1)), THIRD, 1), r"shape \(nodes=3, length\)"),
        (lambda: peer_to_peer.average(np.ones((3, 1), int), THIRD, 1), "floats .* got int64"),
        (
            lambda: peer_to_peer.average(np.ones((3, 1)), 2 * THIRD, 1),
            "each row of a mixing matrix must sum to 1",
        ),
        (
            lambda: peer_to_peer.average(np.full((3, 1), np.nan), THIRD, 1),
            "the vector of 'node .' must be finite, got nan at index 0",
        ),
        (lambda: peer_to_peer.train(toy((5,)), rounds=1), "peers must be at least 2, got 1"),
        (lambda: peer_to_peer.train(toy(), rounds=0), "rounds must be .* at least 1, got 0"),
        (
            lambda: peer_to_peer.train(toy(), method=Gossip(graph=topology.ring(4))),
            "a node for each of the 3 participants, got 4",
        ),
        (
            lambda: peer_to_peer.train(toy(), method=Gossip(weights=lambda _: np.eye(2))),
            "a row for each of the 3 participants, got 2",
        ),
        (
            lambda: peer_to_peer.train(toy(), method=Gossip(weights=lambda _: 2 * THIRD)),
            "each row of a mixing matrix must sum to 1",
        ),
        (lambda: peer_to_peer.train(toy((4, 4)), rounds=1), "nodes of a ring .* got 2"),
        (lambda: Gossip(epochs=-1), "epochs must be a whole number of at least 1, got -1"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
