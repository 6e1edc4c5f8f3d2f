"""Many participants in one stack: each gets what it would get alone."""

import numpy as np
import pytest
import torch

from refimpl import learning
from refimpl.arithmetic import randomness
from refimpl.learning import DPSGD, Examples, private_training
from refimpl.learning.clipped_models import clipped_gradients, clipped_stack
from refimpl.learning.private_training import PrivateGradient, PrivateTraining
from refimpl.network.link import compute

MODELS = {
    "mlp": learning.mlp(6, 5, 3),
    "deep": learning.mlp(6, (5, 4), 3),
    "linear": learning.mlp(6, (), 3),
    "tanh": learning.mlp(6, 5, 3, activation="tanh"),
    "regression": learning.mlp(6, 5, 1, objective="squared error"),
    "cnn": learning.cnn((1, 2, 3), (2,), 3),
}


def draw(model, n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    if model.objective == "squared error":
        return Examples(x, rng.normal(size=n).astype(np.float32))
    return Examples(x, rng.integers(0, model.outputs, n))


def start(model, seed=0):
    return model.initial_parameters(np.random.default_rng(seed))


def jobs(model, kind=PrivateTraining, **changes):
    """Of unequal sizes, rates and steps, the longest in the middle."""
    made = []
    for k, (n, rate, steps) in enumerate([(30, 0.2, 4), (9, 0.5, 9), (50, 0.1, 6), (4, 1.0, 1)]):
        given = {"sample_rate": rate, "steps": steps, "expected_size": n * rate, **changes}
        settings = DPSGD(learning_rate=0.4, clipping_norm=0.6, noise_multiplier=0.8, **given)
        rng = randomness.seeded(3, str(k))
        made.append(kind(model, start(model, k), draw(model, n, k), settings, rng))
    return made


@pytest.mark.parametrize("name", MODELS)
def test_together_is_as_alone(name):
    model = MODELS[name]
    together = PrivateTraining.run_together(jobs(model))
    for job, found in zip(jobs(model), together, strict=True):
        alone = job.settings.train(model, job.parameters, job.examples, rng=job.rng)
        np.testing.assert_allclose(found, alone, atol=3e-6)
        assert np.abs(found - job.parameters).max() > 1e-2


def test_mlps_do_go_through_one_stack(monkeypatch):
    called = []
    original = private_training._train_stack

    def spy(model, jobs):
        called.append(len(jobs))
        return original(model, jobs)

    monkeypatch.setattr(private_training, "_train_stack", spy)
    PrivateTraining.run_together(jobs(MODELS["mlp"]))
    PrivateTraining.run_together(jobs(MODELS["cnn"]))
    assert called == [4]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "cnn"])
def test_a_stack_of_sums_is_the_sum_of_each_without_those_that_fill_up(name):
    model = MODELS[name]
    parts = [draw(model, 7, seed) for seed in range(3)]
    weights = torch.stack([torch.from_numpy(start(model, seed)) for seed in range(3)])
    x = torch.stack([torch.from_numpy(part.x.copy()) for part in parts])
    targets = torch.stack([model.targets(part.y) for part in parts])
    present = torch.tensor([[1.0] * 7, [1.0] * 4 + [0.0] * 3, [0.0] * 7])
    found = clipped_stack(model, weights, x, targets, present, clipping_norm=0.5)
    for k, count in enumerate((7, 4, 0)):
        alone = clipped_gradients(model, weights[k], clipping_norm=0.5)
        torch.testing.assert_close(
            found[k], alone(x[k, :count], targets[k, :count]), atol=2e-6, rtol=0
        )
    assert found[2].abs().max() == 0


def test_when_nobody_is_drawn_each_adds_its_noise():
    idle = jobs(MODELS["mlp"], sample_rate=1e-9, steps=2, expected_size=1.0)
    moved = [
        found - job.parameters
        for found, job in zip(PrivateTraining.run_together(idle), idle, strict=True)
    ]
    for k, own in enumerate(moved):
        assert 0.5 < own.std() / (0.4 * 0.6 * 0.8 * 2**0.5) < 1.6  # 53 values, 6 deviations
        assert all(np.abs(own - other).max() > 0.1 for other in moved[:k])


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_gradient_is_what_one_step_takes(name):
    model = MODELS[name]
    gradients = PrivateGradient.run_together(jobs(model, PrivateGradient, steps=1))
    steps = PrivateTraining.run_together(jobs(model, steps=1))
    for job, gradient, trained in zip(jobs(model), gradients, steps, strict=True):
        np.testing.assert_allclose(job.parameters - 0.4 * gradient, trained, atol=3e-6)
        assert gradient.dtype == np.float32


def test_one_that_diverges_does_not_stop_the_others():
    model, made = MODELS["mlp"], jobs(MODELS["mlp"])
    spoilt = made[1].examples.x.copy()
    spoilt[:] = np.inf
    job = made[1]
    made[1] = PrivateTraining(
        model, job.parameters, Examples(spoilt, job.examples.y), job.settings, job.rng
    )
    first, second, *others = compute(made)
    assert isinstance(second, FloatingPointError)
    assert all(np.isfinite(found).all() for found in (first, *others))


def test_jobs_that_differ_in_what_a_stack_shares_are_kept_apart():
    mlp = MODELS["mlp"]
    rng, data = randomness.seeded(0), draw(mlp, 5, 0)

    def key(model=mlp, parameters=None, **changes):
        parameters = start(model) if parameters is None else parameters
        settings = DPSGD(**{"sample_rate": 0.5, "steps": 3, **changes})
        return PrivateTraining(model, parameters, data, settings, rng).batch_key

    assert key() == key(sample_rate=0.1, steps=9, expected_size=3.0)
    different = [
        key(),
        key(learning_rate=0.1),
        key(clipping_norm=2.0),
        key(noise_multiplier=2.0),
        key(parameters=start(mlp).astype(np.float64)),
        key(MODELS["deep"]),
    ]
    assert len({*different}) == len(different)


def test_bad_jobs_are_an_error():
    made = jobs(MODELS["mlp"])
    empty = made[0].examples.take(np.arange(0))
    job = made[1]
    bad = PrivateTraining(job.model, job.parameters, empty, job.settings, job.rng)
    with pytest.raises(ValueError, match="at least one, got none"):
        PrivateTraining.run_together([made[0], bad])
