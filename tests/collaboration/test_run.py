from dataclasses import replace

import numpy as np
import pytest

from refimpl.collaboration import indirect
from refimpl.collaboration.run import LocalSGD, Run, cast_like, check_like, execute, scoring
from refimpl.network import MalformedMessage, Message, Transcript
from tests.collaboration.oracles import toy

RUN = Run("indirect", "FedAvg", toy(), 2, (0.25, 0.5), {}, Transcript(), 0.1)


def test_final_parameters_are_the_mean_of_the_models():
    models = {"a": np.array([1, 2], np.float32), "b": np.array([2, 4], np.float32)}
    found = replace(RUN, models=models).parameters
    assert found.dtype == np.float32
    assert found.tolist() == [1.5, 3.0]


def test_the_mean_of_equal_models_is_that_model_bit_for_bit():
    """A mean in float32 would change the last bit of many values."""
    model = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    found = replace(RUN, models=dict.fromkeys("abcdefg", model)).parameters
    assert found.tobytes() == model.tobytes()


def test_without_a_model_the_failed_are_named():
    run = replace(RUN, errors={"b": RuntimeError("gone")})
    with pytest.raises(ValueError, match=r"no participant holds a final model, .* \['b'\]"):
        _ = run.parameters


def test_scores_are_noted_by_round():
    task = toy()
    report, by_round = scoring(task, 3)
    one, other = (task.model.initial_parameters(np.random.default_rng(k)) for k in (1, 4))
    assert task.accuracy(one) != task.accuracy(other)
    assert report(0, one) is None
    report(2, one)
    report(2, other)
    assert by_round == [[task.accuracy(one)], [], [task.accuracy(one), task.accuracy(other)]]


class Sometimes:
    """Reports what it is given: both parties in round 0, nobody in round 1, "a" in round 2."""

    def __init__(self, models):
        self.models = models

    def peer_roles(self, setting):
        async def role(link):
            setting.report(0, self.models[link.name])
            if link.name == "a":
                setting.report(2, self.models["a"])
            return self.models[link.name]

        return dict.fromkeys(("a", "b"), role)


def test_a_runs_scores_are_means_and_nan_where_nobody_came():
    task = toy((3, 4))
    models = {
        name: task.model.initial_parameters(np.random.default_rng(k))
        for name, k in (("a", 1), ("b", 4))
    }
    one, other = (task.accuracy(model) for model in models.values())
    assert one != other
    run = execute(
        "peer-to-peer", task, Sometimes(models), rounds=3, seed=0, faults=(), record="payloads"
    )
    first, none, last = run.accuracy_by_round
    assert first == pytest.approx((one + other) / 2)
    assert np.isnan(none)
    assert last == one
    assert run.sent == run.received == 0


def test_sent_and_received_are_means_over_the_participants():
    """The server's own bytes are not a participant's."""
    run = indirect.train(toy(), rounds=1)
    sent, received = run.transcript.bytes_sent(), run.transcript.bytes_received()
    assert run.sent == sum(sent[name] for name in "abc") / 3 > 0
    assert run.received == sum(received[name] for name in "abc") / 3
    assert run.received != run.sent
    only = [Message("a", "server", "x", 0, None, 10), Message("server", "b", "x", 0, None, 5)]
    run = replace(RUN, transcript=Transcript(only))
    assert (run.sent, run.received) == (10 / 3, 5 / 3)


def test_what_is_like_passes_as_it_is():
    payload, like = np.ones(3, np.uint64), np.zeros(3, np.uint64)
    assert check_like(payload, like, sender="a") is payload


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (None, "NoneType"),
        ([0.0] * 3, "list"),
        (np.zeros(3, np.float32), r"float32 of shape \(3,\)"),
        (np.zeros(4), r"float64 of shape \(4,\)"),
        (np.zeros((1, 3)), r"float64 of shape \(1, 3\)"),
        (np.array([0, 0, -np.inf]), "values that are not finite"),
    ],
)
def test_what_is_not_like_names_its_sender(payload, found):
    message = rf"'a' must send finite float64 of shape \(3,\), got {found}"
    with pytest.raises(MalformedMessage, match=message) as caught:
        check_like(payload, np.zeros(3), sender="a")
    assert caught.value.parties == ("a",)


def test_a_cast_that_overflows_names_all_whose_values_they_are():
    like = np.zeros(2, np.float32)
    assert cast_like(np.array([1.5, 2]), like, sender=("a", "b")).dtype == np.float32
    with pytest.raises(MalformedMessage, match="'a' and 'b' must send finite float32") as caught:
        cast_like(np.array([0, 1e300]), like, sender=("a", "b"))
    assert caught.value.parties == ("a", "b")


def test_a_jobs_settings_are_the_methods():
    task = toy()
    rng = np.random.default_rng(0)
    method = LocalSGD(learning_rate=0.3, epochs=7, batch_size=None)
    job = method.local(task.model, task.initial_parameters(), task.data["b"], rng)
    assert (job.learning_rate, job.epochs, job.batch_size, job.rng) == (0.3, 7, None, rng)
    assert job.x is task.data["b"].x
