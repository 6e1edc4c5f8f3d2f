from functools import partial

import numpy as np
import pytest

from refimpl import network
from refimpl.collaboration import AsynchronousSGD, indirect
from refimpl.collaboration.asynchronous import asynchronous_server, turn_order
from refimpl.network import MalformedMessage
from tests.collaboration.oracles import close, generators, mlp_gradient, toy


def batches_of(examples, size, rng):
    """Endless batches of ``size``: a fresh order when fewer are left."""
    order = []
    while True:
        if len(order) < size:
            order = list(rng.permutation(len(examples)))
        yield order[:size]
        order = order[size:]


def delayed_sgd(task, method, rounds, seed=0):
    """SGD whose gradient is is ``staleness`` updates old, from a list of all weights."""
    names = sorted(task.participants)
    streams = generators(task, seed)
    sources = {
        name: batches_of(
            task.data[name],
            min(method.batch_size or len(task.data[name]), len(task.data[name])),
            streams[name],
        )
        for name in names
    }
    weights = [task.initial_parameters()]
    for turn in range(rounds * len(names)):
        examples = task.data[names[turn % len(names)]]
        rows = next(sources[names[turn % len(names)]])
        old = weights[max(0, turn - method.staleness)]
        gradient = mlp_gradient(old, (6, 5, 3), examples.x[rows], examples.y[rows])
        weights.append(weights[-1] - np.float32(method.learning_rate) * gradient)
    return weights[:: len(names)][1:]


@pytest.mark.parametrize("batch_size", [None, 3, 6])
@pytest.mark.parametrize("staleness", [0, 1, 2, 3, 7, 40])
def test_it_is_sgd_with_gradients_of_weights_that_old(staleness, batch_size):
    """Staleness 0 is SGD over the participants' batches in a row."""
    task, rounds = toy(), 6
    method = AsynchronousSGD(learning_rate=0.2, batch_size=batch_size, staleness=staleness)
    run = indirect.train(task, rounds=rounds, method=method, seed=1)
    expected = delayed_sgd(task, method, rounds, seed=1)
    close(run.parameters, expected[-1])
    assert all(np.array_equal(model, run.parameters) for model in run.models.values())
    assert run.accuracy_by_round == tuple(map(task.accuracy, expected))


def test_the_staler_the_more_it_differs_from_sgd():
    task = toy()
    found = [
        indirect.train(task, rounds=6, method=AsynchronousSGD(learning_rate=0.2, staleness=tau))
        for tau in (0, 1, 3, 8)
    ]
    distances = [np.linalg.norm(run.parameters - found[0].parameters) for run in found]
    assert 0.01 < distances[1] < distances[2] < distances[3]


def test_a_turn_costs_one_message_each_way():
    run = indirect.train(toy(), rounds=4, method=AsynchronousSGD(staleness=5))
    assert len(run.transcript.select(topic="gradient")) == 3 * 4
    assert len(run.transcript.select(topic="model")) == 3 * 4 + 3


def test_turns_go_round_in_name_order():
    assert turn_order(("a", "b", "c"), 2) == ["a", "b", "c", "a", "b", "c"]


@pytest.mark.parametrize(
    "lie",
    [None, 1.0, np.ones(1, np.float32), np.ones(53), np.full(53, np.nan, np.float32)],
)
def test_a_malformed_gradient_names_its_sender(lie):
    async def liar(link):
        await link.send("server", "gradient", lie)

    server = partial(
        asynchronous_server,
        turns=["a"],
        participants=["a"],
        method=AsynchronousSGD(),
        parameters=toy().initial_parameters(),
        report=lambda round, parameters: None,
    )
    with pytest.raises(MalformedMessage, match="'a' must send finite float32") as caught:
        network.run({"a": liar, "server": server})
    assert caught.value.parties == ("a",)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_gradient_that_overflows_the_weights_names_its_sender():
    async def liar(link):
        await link.send("server", "gradient", np.full(53, -3e38, np.float32))

    server = partial(
        asynchronous_server,
        turns=["a"],
        participants=["a"],
        method=AsynchronousSGD(learning_rate=1.0),
        parameters=np.full(53, 3e38, np.float32),
        report=lambda round, parameters: None,
    )
    with pytest.raises(MalformedMessage, match=r"'a' .* not finite") as caught:
        network.run({"a": liar, "server": server})
    assert caught.value.parties == ("a",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"staleness": -1}, "staleness must be a whole number of at least 0, got -1"),
        ({"staleness": 0.5}, "staleness must be a whole number of at least 0, got 0.5"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"learning_rate": float("inf")}, "learning_rate must be positive and finite, got inf"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AsynchronousSGD(**options)
