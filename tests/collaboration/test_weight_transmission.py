from functools import partial

import numpy as np
import pytest

from refimpl import network
from refimpl.collaboration import WeightTransmission, indirect, peer_to_peer
from refimpl.collaboration.weight_transmission import chained_trainer, relay
from refimpl.network import MalformedMessage
from tests.collaboration.oracles import sequential, toy

METHOD = WeightTransmission(learning_rate=0.2, epochs=2, batch_size=4)


@pytest.mark.parametrize("train", [indirect.train, peer_to_peer.train])
@pytest.mark.parametrize("sizes", [(3, 21), (5, 9, 14)])
def test_it_is_sequential_sgd_bit_for_bit(train, sizes):
    task = toy(sizes)
    run = train(task, rounds=3, method=METHOD, seed=6)
    expected = sequential(task, METHOD, 3, seed=6)
    for name in task.participants:
        assert run.models[name].tobytes() == expected.tobytes()
    assert run.accuracy_by_round[-1] == task.accuracy(expected)


def test_with_a_relay_and_without_it_is_the_same():
    task = toy()
    relayed = indirect.train(task, rounds=4, method=METHOD)
    chained = peer_to_peer.train(task, rounds=4, method=METHOD)
    assert relayed.parameters.tobytes() == chained.parameters.tobytes()
    assert relayed.accuracy_by_round == chained.accuracy_by_round
    n, rounds = 3, 4
    assert len(relayed.transcript) == 2 * n * rounds + n
    assert len(chained.transcript) == n * rounds - 1 + n - 1


def test_a_trainer_hears_from_the_one_before_and_at_the_end_from_the_last():
    view = peer_to_peer.train(toy(), rounds=2, method=METHOD).transcript.view("b")
    received = [(m.sender, m.round) for m in view if m.receiver == "b"]
    assert received == [("a", 0), ("a", 1), ("c", 2)]


@pytest.mark.parametrize(
    "lie", [None, np.ones(52, np.float32), np.ones(53), np.full(53, np.inf, np.float32)]
)
def test_malformed_weights_name_their_sender(lie):
    task = toy((4, 4))
    shown = {"report": lambda round, parameters: None, "parameters": task.initial_parameters()}

    async def liar(link, receiver):
        await link.send(receiver, "weights", lie)

    server = partial(relay, participants=("b",), rounds=1, **shown)
    with pytest.raises(MalformedMessage, match="'b' must send finite float32") as caught:
        network.run({"b": partial(liar, receiver="server"), "server": server}, required=["server"])
    assert caught.value.parties == ("b",)

    last = partial(
        chained_trainer,
        method=METHOD,
        order=("a", "b"),
        rounds=1,
        model=task.model,
        examples=task.data["b"],
        rng=task.generator("x"),
        **shown,
    )
    with pytest.raises(MalformedMessage, match="'a' must send finite float32") as caught:
        network.run({"a": partial(liar, receiver="b"), "b": last}, required=["b"])
    assert caught.value.parties == ("a",)
