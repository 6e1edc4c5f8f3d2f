from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import network
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.collaboration import FedAvg, RingAllReduce, indirect, peer_to_peer
from refimpl.collaboration.all_reduce import all_reduce
from refimpl.network import Fault, MalformedMessage, topology
from tests.collaboration.oracles import close, federated_averaging, toy


def reduced(vectors, **options):
    """What each party holds after the all-reduce of ``vectors``, and the transcript."""
    names = [f"p{k}" for k in range(len(vectors))]
    roles = {
        name: partial(all_reduce, vector=vector, order=names)
        for name, vector in zip(names, vectors, strict=True)
    }
    outcome = network.run(roles, **options)
    return [outcome.results[name] for name in names], outcome.transcript


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("length", [1, 2, 5, 7, 20, 23])
def test_in_fixed_point_every_party_holds_the_exact_sum(n, length):
    """Bit for bit, and equal to averaging on the complete graph to half a unit a party."""
    rng = np.random.default_rng(n * length)
    values = rng.uniform(-1, 1, (n, length))
    encoding = FixedPoint(bound=1.0, bits=24, summands=n)
    encoded = encoding.encode(values)
    exact = [sum(int(row[i]) for row in encoded) for i in range(length)]  # Python's integers
    held, _ = reduced(list(encoded))
    for vector in held:
        assert vector.dtype == np.uint64
        assert vector.tolist() == exact
    mixing = topology.metropolis_weights(topology.complete(n))
    averaged, _ = peer_to_peer.average(values, mixing, rounds=1)
    mean = encoding.decode(held[0], summands=n) / n
    np.testing.assert_allclose(
        averaged[1], np.tile(mean, (n, 1)), rtol=0, atol=encoding.unit / 2 + 1e-12
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.integers(1, 20), st.integers(0, 2**32))
def test_integers_wrap_around_at_two_to_the_64(n, length, seed):
    vectors = np.random.default_rng(seed).integers(0, 2**64, (n, length), np.uint64)
    exact = [sum(map(int, column)) % 2**64 for column in vectors.T]
    held, _ = reduced(list(vectors))
    assert all(vector.tolist() == exact for vector in held)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 7), st.integers(1, 20), st.integers(0, 2**32))
def test_floats_are_the_sum_and_the_same_bits_everywhere(n, length, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, length)).astype(np.float32)
    held, _ = reduced(list(vectors))
    np.testing.assert_allclose(held[0], vectors.astype(np.float64).sum(0), rtol=0, atol=1e-5)
    assert all(vector.tobytes() == held[0].tobytes() for vector in held)
    assert held[0].dtype == np.float32


@pytest.mark.parametrize(("n", "length"), [(2, 5), (3, 10), (5, 20), (7, 3)])
def test_each_party_sends_2_n_minus_1_messages_to_its_right_neighbour(n, length):
    _, transcript = reduced([np.ones(length) * k for k in range(n)])
    assert len(transcript) == n * 2 * (n - 1)
    for k in range(n):
        sent = transcript.select(sender=f"p{k}")
        assert {message.receiver for message in sent} == {f"p{(k + 1) % n}"}
        assert len(sent) == 2 * (n - 1)
        assert max(len(message.payload) for message in sent) == -(-length // n)
        values = sum(len(message.payload) for message in sent)
        assert abs(values - 2 * (n - 1) / n * length) <= 2 * (n - 1) / n


def test_the_first_partial_sum_is_a_part_of_the_senders_own_vector():
    """What the module says it leaks."""
    vectors = np.random.default_rng(0).normal(size=(3, 6))
    _, transcript = reduced(list(vectors))
    first = transcript.select(sender="p1", topic="partial sum 0").messages[0]
    assert np.array_equal(first.payload, vectors[1, 2:4])


@pytest.mark.parametrize("sizes", [(3, 21), (5, 9, 14, 6)])
def test_training_is_federated_averaging(sizes):
    task, options = toy(sizes), {"learning_rate": 0.2, "epochs": 2, "batch_size": 4}
    ring = peer_to_peer.train(task, rounds=4, method=RingAllReduce(**options), seed=2)
    fedavg = indirect.train(task, rounds=4, method=FedAvg(**options), seed=2)
    close(ring.parameters, fedavg.parameters)
    close(ring.parameters, federated_averaging(task, FedAvg(**options), 4, seed=2))
    bits = {model.tobytes() for model in ring.models.values()}
    assert len(bits) == 1
    n = len(sizes)
    assert len(ring.transcript) == 4 * n * 2 * (n - 1)


@pytest.mark.parametrize(
    "lie",
    [None, np.ones(3), np.ones(2, np.float32), np.array([1.0, np.nan]), np.ones((1, 2))],
)
@pytest.mark.parametrize("topic", ["partial sum 0", "sum 0"])
def test_a_malformed_part_names_its_sender(topic, lie):
    async def liar(link, order):
        """ "p1", between "p0" and "p2": its parts are honest but for one."""
        for name in ("partial sum 0", "partial sum 1", "sum 0", "sum 1"):
            await link.send("p2", name, lie if name == topic else np.ones(2))

    order = ["p0", "p1", "p2"]
    roles = {name: partial(all_reduce, vector=np.ones(6), order=order) for name in order}
    with pytest.raises(MalformedMessage, match="'p1' must send finite float64") as caught:
        network.run({**roles, "p1": partial(liar, order=order)}, required=["p2"])
    assert caught.value.parties == ("p1",)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_part_whose_sum_overflows_is_not_passed_on():
    with pytest.raises(MalformedMessage, match=r"must send finite float64 .* not finite") as caught:
        reduced([np.array([1.7e308])] * 2)
    assert caught.value.parties == ("p0",)  # "p1" passed no inf on, so nobody blames it


@pytest.mark.parametrize("kind", ["drop", "tamper", "truncate"])
def test_a_lost_part_names_its_sender(kind):
    with pytest.raises(RuntimeError, match="'p1'") as caught:
        reduced([np.ones(6)] * 3, faults=[Fault(kind, sender="p1", topic="sum 1")])
    assert caught.value.parties == ("p1",)
