import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import learning
from refimpl.learning import Examples, Gradient, LocalTraining, batches, compute, sgd

MODELS = {
    "mlp": learning.mlp(9, (6, 5), 4, activation="tanh"),
    "cnn": learning.cnn((1, 3, 3), (4,), 4),
    "regression": learning.mlp(9, 6, 1, objective="squared error"),
}


def some_examples(model, n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, model.inputs))
    return x, rng.normal(size=n) if model.outputs == 1 else rng.integers(4, size=n)


def job(model, n, seed, learning_rate=0.1, epochs=2, batch_size=8, dtype=np.float64):
    x, y = some_examples(model, n, seed)
    start = np.random.default_rng(100 + seed).normal(size=model.size) * 0.3
    rng = np.random.default_rng(200 + seed)
    return LocalTraining(model, start.astype(dtype), x, y, learning_rate, epochs, batch_size, rng)


def plain_loop(work):
    """One participant, autograd on the model's own forward pass, one batch after the other."""
    flat = torch.from_numpy(work.parameters.copy())
    rng = np.random.default_rng()
    rng.bit_generator.state = work.rng.bit_generator.state
    for rows in batches(len(work.x), work.batch_size, work.epochs, rng):
        leaf = flat.clone().requires_grad_()
        outputs = work.model.forward(leaf, torch.from_numpy(work.x[rows]).to(flat.dtype))
        y = torch.from_numpy(work.y[rows])
        if work.model.outputs == 1:
            loss = torch.nn.functional.mse_loss(outputs[:, 0], y.to(flat.dtype))
        else:
            loss = torch.nn.functional.cross_entropy(outputs, y)
        (gradient,) = torch.autograd.grad(loss, leaf)
        flat -= work.learning_rate * gradient
    return flat.numpy()


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 60), st.integers(1, 4), st.integers(0, 2**32))
def test_batches_visit_each_row_once_an_epoch(n, batch_size, epochs, seed):
    found = batches(n, batch_size, epochs, np.random.default_rng(seed))
    steps = -(-n // batch_size)
    assert len(found) == epochs * steps
    for epoch in range(epochs):
        visited = found[epoch * steps : (epoch + 1) * steps]
        assert sorted(np.concatenate(visited)) == list(range(n))
        assert [len(rows) for rows in visited[:-1]] == [batch_size] * (steps - 1)


def test_every_epoch_has_its_own_order():
    first, second = batches(100, None, 2, np.random.default_rng(0))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.arange(100))


@pytest.mark.parametrize("name", ["n", "batch_size", "epochs"])
@pytest.mark.parametrize("value", [0, -1])
def test_batches_refuses_what_cannot_be(name, value):
    arguments = {"n": 5, "batch_size": 2, "epochs": 1, name: value}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
        batches(**arguments, rng=np.random.default_rng(0))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_many_together_equal_one_after_the_other(model):
    """Unequal numbers of examples, epochs and batch sizes; last batches of 1, 3 and 5 rows."""
    jobs = [
        job(model, 17, seed=0),
        job(model, 43, seed=1),
        job(model, 5, seed=2, epochs=4),
        job(model, 24, seed=3, batch_size=7),
        job(model, 10, seed=4, batch_size=None),
    ]
    expected = [plain_loop(work) for work in jobs]
    together = LocalTraining.run_together(jobs)
    for found, wanted, work in zip(together, expected, jobs, strict=True):
        assert np.abs(wanted - work.parameters).max() > 1e-3  # training moved them
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_many_together_equal_one_after_the_other_in_single_precision():
    task = learning.digits(4, seed=1)
    start = task.initial_parameters()
    jobs = [
        LocalTraining(
            task.model, start, part.x, part.y, 0.1, 2, 16, task.generator("batches", name)
        )
        for name, part in task.data.items()
    ]
    expected = [plain_loop(work) for work in jobs]
    for found, wanted in zip(LocalTraining.run_together(jobs), expected, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_sgd_is_a_job_alone_to_the_bit(model):
    x, y = some_examples(model, 21, seed=5)
    examples = Examples(x, y)
    start = model.initial_parameters(np.random.default_rng(0))
    found = sgd(
        model,
        start,
        examples,
        learning_rate=0.1,
        epochs=3,
        batch_size=8,
        rng=np.random.default_rng(7),
    )
    alone = LocalTraining(model, start, examples.x, examples.y, 0.1, 3, 8, np.random.default_rng(7))
    assert found.tobytes() == LocalTraining.run_together([alone])[0].tobytes()


def test_training_gives_the_same_bits_whatever_the_number_of_threads():
    model, found = MODELS["mlp"], []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(LocalTraining.run_together([job(model, 30, seed=0)])[0].tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_small_passes_use_one_thread_and_large_ones_the_user_s():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with compute.threads_for(compute.SMALL - 1):
            assert torch.get_num_threads() == 1
        with compute.threads_for(compute.SMALL):
            assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), compute.threads_for(1):
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["training", "gradient"])
def test_inputs_stay_as_they_were_and_results_are_separate(kind):
    model = MODELS["mlp"]
    jobs = [job(model, 9, seed) for seed in range(2)]
    if kind == "gradient":
        jobs = [Gradient(work.model, work.parameters, work.x, work.y) for work in jobs]
    for work in jobs:
        for array in (work.parameters, work.x, work.y):
            array.flags.writeable = False
    before = [work.parameters.copy() for work in jobs]
    first, second = type(jobs[0]).run_together(jobs)
    for work, parameters in zip(jobs, before, strict=True):
        assert np.array_equal(work.parameters, parameters)
    assert first.flags.owndata  # keeping one result keeps no other's memory
    kept = second.copy()
    first += 1
    assert np.array_equal(second, kept)


def test_a_step_over_all_rows_is_the_gradient():
    work = job(MODELS["cnn"], 12, seed=3, learning_rate=0.5, epochs=1, batch_size=None)
    (gradient,) = Gradient.run_together([Gradient(work.model, work.parameters, work.x, work.y)])
    (trained,) = LocalTraining.run_together([work])
    np.testing.assert_allclose(trained, work.parameters - 0.5 * gradient, rtol=1e-12, atol=1e-13)


def test_divergence_is_an_error_that_names_the_job_and_spoils_no_other():
    """The infinite rows of job 1 must not reach job 0, which shares steps and padding with it."""
    jobs = [job(MODELS["mlp"], 17, seed=0), job(MODELS["mlp"], 43, seed=1)]
    jobs[1].x[...] = np.inf
    sound, diverged = LocalTraining.run_together(jobs)
    again = LocalTraining.run_together([job(MODELS["mlp"], 17, seed=0)])[0]
    np.testing.assert_allclose(sound, again, rtol=1e-9)
    assert isinstance(diverged, FloatingPointError)
    assert "lower the learning rate" in str(diverged)
    spoiled = Examples(jobs[1].x, jobs[1].y)
    with pytest.raises(FloatingPointError, match="must be finite"):
        sgd(
            MODELS["mlp"],
            jobs[1].parameters,
            spoiled,
            learning_rate=0.1,
            epochs=1,
            batch_size=8,
            rng=np.random.default_rng(0),
        )


def test_jobs_that_cannot_share_a_computation_are_refused():
    model = MODELS["mlp"]
    one = job(model, 9, 0)
    for other in (
        job(model, 9, 0, learning_rate=0.2),
        job(model, 9, 0, dtype=np.float32),
        job(MODELS["cnn"], 9, 0),
    ):
        assert one.batch_key != other.batch_key
        with pytest.raises(ValueError, match="share one batch_key"):
            LocalTraining.run_together([one, other])
    assert one.batch_key == job(model, 5, 1, epochs=7, batch_size=3).batch_key
    assert one.batch_key != Gradient(model, one.parameters, one.x, one.y).batch_key
    with pytest.raises(ValueError, match="at least one"):
        Gradient.run_together([])


@pytest.mark.parametrize("value", [0.0, -0.1, np.inf, np.nan])
def test_a_learning_rate_must_be_positive_and_finite(value):
    with pytest.raises(ValueError, match="learning_rate must be above 0"):
        job(MODELS["mlp"], 5, 0, learning_rate=value)


def test_linear_regression_finds_the_exact_solution():
    """Full-batch descent on a convex problem ends at the least-squares solution."""
    model = learning.mlp(3, (), 1, objective="squared error")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = x @ [1.0, -2.0, 0.5] + 3.0 + 0.1 * rng.normal(size=40)
    start = np.zeros(4)
    work = LocalTraining(model, start, x, y, 0.2, 400, None, np.random.default_rng(1))
    exact = np.linalg.lstsq(np.column_stack([x, np.ones(40)]), y, rcond=None)[0]
    np.testing.assert_allclose(LocalTraining.run_together([work])[0], exact, atol=1e-10)


def test_training_loads_neither_dynamo_nor_an_optimiser():
    """Their first import costs more than a second."""
    code = """
import sys, torch
before = set(sys.modules)
from refimpl import learning
for kind in ("mlp", "cnn"):
    task = learning.digits(2, model=kind, examples_per_participant=10)
    jobs = [learning.LocalTraining(task.model, task.initial_parameters(), e.x, e.y, 0.1, 1, 4,
            task.generator("batches", n)) for n, e in task.data.items()]
    parameters = learning.LocalTraining.run_together(jobs)[0]
    task.accuracy(parameters)
    learning.gradient(task.model, parameters, task.test.x, task.test.y)
slow = ("torch._dynamo", "torch.optim", "torch._inductor", "torch.func")
print([name for name in set(sys.modules) - before if name.startswith(slow)])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
