import numpy as np
import pytest

from refimpl import network
from refimpl.collaboration import Central, direct
from refimpl.learning import sgd
from refimpl.network import Fault, MalformedMessage
from tests.collaboration.oracles import frame_bytes, toy, vector_bytes


def test_direct_is_plain_sgd_on_the_pooled_examples():
    """Bit for bit, the examples in the order of the participants' names."""
    task = toy()
    method = Central(learning_rate=0.2, epochs=2, batch_size=5)
    run = direct.train(task, rounds=3, method=method, seed=4)
    pooled, rng = task.pooled(), task.generator("batches", "server", 4)
    expected = task.initial_parameters()
    for round in range(3):
        expected = sgd(
            task.model, expected, pooled, learning_rate=0.2, epochs=2, batch_size=5, rng=rng
        )
        assert run.accuracy_by_round[round] == task.accuracy(expected)
    assert np.array_equal(run.parameters, expected)
    assert sorted(run.models) == ["a", "b", "c"]
    assert (run.approach, run.method, run.rounds) == ("direct", "Central", 3)


def test_uploads_are_pooled_in_name_order_whatever_order_they_arrive_in():
    task = toy()
    late = [Fault("delay", sender="a", topic="examples")]
    run = direct.train(task, rounds=1, faults=late)
    assert np.array_equal(run.parameters, direct.train(task, rounds=1).parameters)


def test_the_server_holds_every_example_and_a_participant_only_its_own():
    task = toy()
    run = direct.train(task, rounds=1)
    seen = {m.sender: m.payload for m in run.transcript.view("server") if m.topic == "examples"}
    for name, examples in task.data.items():
        assert np.array_equal(seen[name]["x"], examples.x)
        assert np.array_equal(seen[name]["y"], examples.y)
        assert [m.topic for m in run.transcript.view(name)] == ["examples", "model"]


def test_bytes_do_not_depend_on_the_number_of_rounds():
    task = toy()
    one, many = direct.train(task, rounds=1), direct.train(task, rounds=6)
    assert one.transcript.bytes == many.transcript.bytes
    model = frame_bytes("model", 0, 0, vector_bytes(task.model.size))
    assert one.transcript.bytes_received()["a"] == model
    more = one.transcript.bytes_sent()["c"] - one.transcript.bytes_sent()["a"]
    assert abs(more - (14 - 5) * (6 * 4 + 8)) <= 8  # the lengths themselves may be a byte longer


def test_at_least_trains_on_those_who_came():
    task = toy()
    method = Central(batch_size=None, learning_rate=0.3)
    lost = [Fault("drop", sender="b", topic="examples")]
    run = direct.train(task, rounds=2, method=method, at_least=2, faults=lost)
    without = direct.train(task.restrict("a", "c"), rounds=2, method=method)
    assert np.array_equal(run.parameters, without.parameters)
    deaf = [Fault("drop", receiver="b")]
    run = direct.train(task, rounds=2, at_least=2, faults=deaf)
    assert list(run.errors) == ["b"]
    assert list(run.models) == ["a", "c"]


def examples_but(**changed):
    examples = toy().data["b"]
    return {"x": examples.x, "y": examples.y, **changed}


NAN = np.full((9, 6), np.nan, np.float32)


@pytest.mark.parametrize(
    "upload",
    [
        None,
        [1, 2],
        {"x": toy().data["b"].x},
        examples_but(x=[[1.0] * 6] * 9),
        examples_but(x=np.ones((9, 5), np.float32)),
        examples_but(x=np.ones(9, np.float32)),
        examples_but(x=np.ones((), np.float32)),
        examples_but(x=np.ones((8, 6), np.float32)),
        examples_but(x=NAN),
        examples_but(y=np.full(9, 3)),  # classes 0, 1, 2
        examples_but(y=np.full(9, -1)),
        examples_but(y=np.ones(9, np.float32)),
        examples_but(y=np.ones((9, 1), np.int64)),
        examples_but(y="labels"),
    ],
)
def test_a_malformed_upload_names_its_sender(upload):
    """Sent by "b", whose name is not the first; the honest participants are not blamed."""
    task = toy()

    async def liar(link):
        await link.send("server", "examples", upload)

    async def honest(link, name):
        return await direct.participant(link, task.data[name], task.initial_parameters())

    def server(link):
        return direct.server(
            link,
            participants=task.participants,
            at_least=None,
            method=Central(),
            model=task.model,
            parameters=task.initial_parameters(),
            rounds=1,
            rng=task.generator("batches"),
            report=lambda round, parameters: None,
        )

    roles = {"a": lambda link: honest(link, "a"), "b": liar, "c": lambda link: honest(link, "c")}
    with pytest.raises(MalformedMessage, match="'b'") as caught:
        network.run({**roles, "server": server})
    assert caught.value.parties == ("b",)


def test_a_label_that_is_not_finite_is_refused():
    task = toy(kind="regression")
    upload = {"x": task.data["a"].x, "y": np.full(5, np.inf, np.float32)}
    with pytest.raises(MalformedMessage, match="'a' must upload"):
        direct.check_upload(upload, task.model, sender="a")


@pytest.mark.parametrize("at_least", [0, 4, 1.5])
def test_at_least_is_checked_before_anything_is_sent(at_least):
    with pytest.raises(ValueError, match=f"at_least .* between 1 and .*=3, got {at_least}"):
        direct.train(toy(), at_least=at_least)


def test_a_participant_may_not_be_called_server():
    task = toy((4, 4))
    renamed = {"a": task.data["a"], "server": task.data["b"]}
    clash = type(task)("clash", task.model, ("a", "server"), renamed, task.test, task.seed)
    with pytest.raises(ValueError, match="participants must have other names than 'server'"):
        direct.train(clash)
