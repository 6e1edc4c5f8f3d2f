import dataclasses

import numpy as np
import pytest

from refimpl import aggregation
from refimpl.collaboration import Central, FedAvg, FedSGD, direct, indirect
from refimpl.learning import Examples
from refimpl.network import Fault, MalformedMessage
from tests.collaboration.oracles import (
    close,
    federated_averaging,
    frame_bytes,
    mlp_gradient,
    toy,
    vector_bytes,
)

# --- FedSGD -----------------------------------------------------------------------------------


def test_fedsgd_with_full_batches_is_central_full_batch_sgd():
    """To float tolerance, though the participants are of unequal size and unlike each other."""
    task = toy()
    run = indirect.train(task, rounds=8, method=FedSGD(learning_rate=0.3))
    central = direct.train(task, rounds=8, method=Central(learning_rate=0.3, batch_size=None))
    close(run.parameters, central.parameters)

    expected, pooled = task.initial_parameters(), task.pooled()
    for _ in range(8):
        expected = expected - 0.3 * mlp_gradient(expected, (6, 5, 3), pooled.x, pooled.y)
    close(run.parameters, expected)
    assert abs(expected - task.initial_parameters()).max() > 0.05  # it has moved


def test_fedsgd_draws_batches_without_replacement_and_weighs_by_examples():
    task = toy()
    run = indirect.train(task, rounds=6, method=FedSGD(learning_rate=0.3, batch_size=7), seed=5)
    streams = {name: task.generator("local training", name, 5) for name in task.participants}
    expected, n = task.initial_parameters(), sum(map(len, task.data.values()))
    for _ in range(6):
        step = np.zeros_like(expected)
        for name, examples in task.data.items():
            rows = np.arange(len(examples))
            if len(rows) > 7:  # "a" has 5 and uses them all
                rows = streams[name].choice(len(rows), 7, replace=False)
            gradient = mlp_gradient(expected, (6, 5, 3), examples.x[rows], examples.y[rows])
            step += len(examples) / n * gradient
        expected = expected - 0.3 * step
    close(run.parameters, expected)


# --- FedAvg -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(3, 21), (5, 9, 14)])
def test_fedavg_is_the_mean_weighted_by_examples(sizes):
    task, method = toy(sizes), FedAvg(learning_rate=0.2, epochs=2, batch_size=4)
    run = indirect.train(task, rounds=5, method=method, seed=3)
    close(run.parameters, federated_averaging(task, method, 5, seed=3))
    assert set(run.models) == set(task.participants)
    assert all(np.array_equal(model, run.parameters) for model in run.models.values())


def test_scores_are_those_of_the_model_after_each_round():
    task, method = toy(), FedAvg(epochs=1)
    run = indirect.train(task, rounds=4, method=method)
    assert len(run.accuracy_by_round) == 4
    for rounds in range(1, 5):
        shorter = indirect.train(task, rounds=rounds, method=method)
        assert run.accuracy_by_round[rounds - 1] == task.accuracy(shorter.parameters)
    assert run.accuracy == run.accuracy_by_round[3]


@pytest.mark.parametrize("dead", ["a", "c"])
def test_a_dropped_contribution_leaves_the_weighted_mean_of_the_survivors(dead):
    task, method = toy(), FedAvg(learning_rate=0.2, epochs=2, batch_size=4)
    run = indirect.train(
        task,
        rounds=3,
        method=method,
        at_least=2,
        faults=[Fault("drop", sender=dead, topic="contribution", round=1)],
    )
    left = [name for name in task.participants if name != dead]
    survivors = {0: None, 1: left, 2: None}
    close(run.parameters, federated_averaging(task, method, 3, survivors=survivors.get))
    assert run.errors == {}  # it heard the next model, and took part again


def test_a_participant_that_fails_is_named_and_the_others_go_on():
    task, method = toy(), FedAvg(epochs=1)
    run = indirect.train(
        task,
        rounds=3,
        method=method,
        at_least=2,
        faults=[Fault("tamper", receiver="b", topic="model", round=1)],
    )
    assert list(run.errors) == ["b"]
    assert run.errors["b"].parties == ("server",)
    assert list(run.models) == ["a", "c"]
    survivors = {0: None, 1: ["a", "c"], 2: ["a", "c"]}
    close(run.parameters, federated_averaging(task, method, 3, survivors=survivors.get))


def test_a_participant_whose_training_diverges_takes_no_other_down():
    """Its job shares one batched computation with theirs."""
    task = toy()
    far = Examples(task.data["b"].x * np.float32(1e38), task.data["b"].y)
    task = dataclasses.replace(task, data={**task.data, "b": far})
    method = FedAvg(epochs=1)
    run = indirect.train(task, rounds=2, method=method, at_least=2)
    assert {name: type(error) for name, error in run.errors.items()} == {"b": FloatingPointError}
    close(run.parameters, federated_averaging(task.restrict("a", "c"), method, 2))


def test_a_participant_with_a_label_that_the_model_lacks_takes_no_other_down():
    task = toy()
    bad = Examples(task.data["b"].x, np.full(9, 3))  # classes 0, 1, 2
    task = dataclasses.replace(task, data={**task.data, "b": bad})
    method = FedAvg(epochs=1)
    run = indirect.train(task, rounds=2, method=method, at_least=2)
    assert list(run.errors) == ["b"]
    with pytest.raises(ValueError, match="classes must be integers from 0 to outputs-1=2"):
        raise run.errors["b"]
    close(run.parameters, federated_averaging(task.restrict("a", "c"), method, 2))


def test_too_few_survivors_is_an_error_that_names_the_missing():
    faults = [Fault("drop", sender=name, topic="contribution", round=1) for name in "ab"]
    with pytest.raises(RuntimeError, match="needs 2") as caught:
        indirect.train(toy(), rounds=3, at_least=2, faults=faults)
    assert caught.value.parties == ("a", "b")


# --- cost and what is seen --------------------------------------------------------------------


def test_bytes_of_fedavg_are_the_formula():
    """rounds · n · (model down + model and weight up) + n final models down."""
    task, rounds = toy(), 3
    run = indirect.train(task, rounds=rounds, method=FedAvg(epochs=1))
    size, n = task.model.size, len(task.participants)
    down = [frame_bytes("model", r, r, vector_bytes(size)) for r in range(rounds + 1)]
    up = [frame_bytes("contribution", r, r, vector_bytes(size + 1)) for r in range(rounds)]
    sent, received = run.transcript.bytes_sent(), run.transcript.bytes_received()
    for name in task.participants:
        assert (sent[name], received[name]) == (sum(up), sum(down))
    assert (sent["server"], received["server"]) == (n * sum(down), n * sum(up))
    assert run.transcript.bytes == n * (sum(up) + sum(down))
    assert len(run.transcript) == n * (2 * rounds + 1)
    assert down[0] - up[0] == len("model") - len("contribution") - 4  # the weight: one float32


def test_the_server_sees_every_update_and_no_example():
    task = toy()
    view = indirect.train(task, rounds=2).transcript.view("server")
    assert {message.topic for message in view} == {"model", "contribution"}
    assert len(view.select(receiver="server")) == 6
    lone = indirect.train(task, rounds=2).transcript.view("a")
    assert {(m.sender, m.receiver) for m in lone} == {("a", "server"), ("server", "a")}


class Recording(aggregation.Plain):
    """Plain, that notes what it was asked."""

    def __init__(self):
        object.__setattr__(self, "calls", [])

    def setup(self, parties, rng=None):
        return {name: f"key of {name}" for name in parties}

    async def contribute(self, link, vector, group, credentials=None):
        self.calls.append((link.name, credentials, group.round))
        await super().contribute(link, vector, group)

    async def collect(self, link, group, credentials=None):
        self.calls.append((link.name, credentials, group.round))
        return await super().collect(link, group)


def test_the_sum_goes_through_the_aggregation_with_each_partys_own_credentials():
    recording = Recording()
    run = indirect.train(toy(), rounds=2, aggregation=recording)
    parties = ["a", "b", "c", "server"]
    assert sorted(recording.calls) == [(p, f"key of {p}", r) for p in parties for r in (0, 1)]
    assert np.array_equal(run.parameters, indirect.train(toy(), rounds=2).parameters)


# --- bad input --------------------------------------------------------------------------------


class Lying(aggregation.Plain):
    """Participant "b" contributes ``vector``."""

    def __init__(self, vector, also=()):
        object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "liars", {"b", *also})

    async def contribute(self, link, vector, group, credentials=None):
        if link.name in self.liars:
            await link.in_round(group.round).send(group.collector, "contribution", self.vector)
        else:
            await super().contribute(link, vector, group)


@pytest.mark.parametrize(
    ("vector", "who"),
    [
        (None, ("b",)),
        ("nonsense", ("b",)),
        (np.full(54, np.nan, np.float32), ("b",)),
        (np.ones((2, 27), np.float32), ("b",)),
        (np.ones(54, np.int64), ("b",)),
        (np.ones(3, np.float32), ("a", "b")),
        (np.ones(54), ("a", "b")),  # of another type
        (
            np.append(np.zeros(53), -9).astype(np.float32),
            ("a", "b", "c"),
        ),  # the weights add up to less than 0
    ],
)
def test_a_malformed_contribution_names_its_sender(vector, who):
    assert toy().model.size == 53
    with pytest.raises(MalformedMessage) as caught:
        indirect.train(toy(), rounds=2, aggregation=Lying(vector))
    assert caught.value.parties == who
    assert repr(who[-1]) in str(caught.value)


@pytest.mark.parametrize("length", [1, 3, 53, 55])
def test_contributions_of_one_wrong_length_are_refused(length):
    liar = Lying(np.ones(length, np.float32), also="ac")
    with pytest.raises(MalformedMessage, match="must be 53 values and a positive weight"):
        indirect.train(toy(), rounds=2, aggregation=liar)


def test_a_sum_too_large_for_the_parameters_names_its_contributors():
    liar = Lying(np.append(np.full(53, 1e300), 1.0), also="ac")
    with pytest.raises(MalformedMessage, match="'a' and 'b' and 'c' must send") as caught:
        indirect.train(toy(), rounds=2, aggregation=liar)
    assert caught.value.parties == ("a", "b", "c")


# --- a method of one's own ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerRate(FedAvg):
    """Federated averaging that goes only a part of the way to the mean."""

    server_rate: float = 0.5

    def update(self, parameters, mean):
        return parameters + self.server_rate * (mean - parameters)


class Pull:
    """Not made of any method here: each participant trains towards the mean of all."""

    def local(self, model, parameters, examples, rng):
        return FedAvg(epochs=1, batch_size=None).local(model, parameters, examples, rng)

    def update(self, parameters, mean):
        return mean

    def server_roles(self, setting):
        return indirect.synchronous_roles(self, setting)


def test_a_method_that_extends_fedavg_is_run_as_it_says():
    task, start = toy(), toy().initial_parameters()
    mean = federated_averaging(task, FedAvg(), 1)
    run = indirect.train(task, rounds=1, method=ServerRate(server_rate=0.25))
    close(run.parameters, start + 0.25 * (mean - start))
    assert (run.method, run.parameters.dtype) == ("ServerRate", np.float32)
    whole = indirect.train(task, rounds=3, method=ServerRate(server_rate=1.0))
    close(whole.parameters, federated_averaging(task, FedAvg(), 3))


def test_a_method_needs_a_local_job_and_an_update_only():
    task, full = toy(), FedAvg(epochs=1, batch_size=None)
    run = indirect.train(task, rounds=2, method=Pull())
    assert np.array_equal(run.parameters, indirect.train(task, rounds=2, method=full).parameters)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FedAvg(learning_rate=0), "learning_rate must be positive and finite, got 0"),
        (lambda: FedAvg(learning_rate=float("nan")), "learning_rate .* got nan"),
        (lambda: FedAvg(epochs=0), "epochs must be a whole number of at least 1, got 0"),
        (lambda: FedAvg(epochs=True), "epochs must be .* got True"),
        (lambda: FedAvg(batch_size=0), "batch_size must be .* at least 1, got 0"),
        (lambda: FedSGD(batch_size=1.5), "batch_size must be .* at least 1, got 1.5"),
        (lambda: FedSGD(learning_rate=-1), "learning_rate .* got -1"),
        (lambda: indirect.train(toy(), rounds=0), "rounds must be .* at least 1, got 0"),
        (lambda: indirect.train(toy(), rounds=2.0), "rounds must be .* at least 1, got 2.0"),
        (lambda: indirect.train(toy(), at_least=0), "at_least .* between 1 and .*=3, got 0"),
        (lambda: indirect.train(toy(), at_least=4), "at_least .* between 1 and .*=3, got 4"),
        (lambda: indirect.train(toy(), record="all"), "record must be .* got 'all'"),
        (
            lambda: indirect.train(toy(), faults=[Fault("drop", sender="z")]),
            "fault's parties must be among .* got \\['z'\\]",
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
