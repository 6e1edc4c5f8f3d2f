from dataclasses import replace

import numpy as np
import pytest

from refimpl.collaboration.run import LocalSGD, Run, Scores, check_like
from refimpl.network import MalformedMessage, Transcript
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


def test_scores_are_means_and_nan_where_nobody_came():
    task = toy()
    scores = Scores(task, 3)
    one, other = (task.model.initial_parameters(np.random.default_rng(k)) for k in (1, 4))
    assert task.accuracy(one) != task.accuracy(other)
    assert scores(0, one) is None
    scores(2, one)
    scores(2, other)
    first, none, last = scores.means()
    assert first == task.accuracy(one)
    assert np.isnan(none)
    assert last == pytest.approx((task.accuracy(one) + task.accuracy(other)) / 2)


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
    message = rf"'a' must send finite float64 of shape \(3,\), it sent {found}"
    with pytest.raises(MalformedMessage, match=message) as caught:
        check_like(payload, np.zeros(3), sender="a")
    assert caught.value.parties == ("a",)


def test_a_jobs_settings_are_the_methods():
    task = toy()
    rng = np.random.default_rng(0)
    method = LocalSGD(learning_rate=0.3, epochs=7, batch_size=None)
    job = method.local(task.model, task.initial_parameters(), task.data["b"], rng)
    assert (job.learning_rate, job.epochs, job.batch_size, job.rng) == (0.3, 7, None, rng)
    assert job.x is task.data["b"].x
