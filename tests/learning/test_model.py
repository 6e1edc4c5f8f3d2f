"""Models against the same layers built from torch.nn, and gradients against autograd."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from refimpl import learning

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def build_mlp(hidden, activation, objective):
    outputs = 1 if objective == "squared error" else 3
    model = learning.mlp(6, hidden, outputs, activation=activation, objective=objective)
    widths = (6, *hidden, outputs)
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return model, nn.Sequential(*layers[:-1]).double()


def build_cnn(activation, objective):
    # 5×7 pixels: odd sides, so that a wrong padding or stride cannot pass
    model = learning.cnn((2, 5, 7), (3, 4), 3, activation=activation, objective=objective)
    oracle = nn.Sequential(
        nn.Unflatten(1, (2, 5, 7)),
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        ACTIVATIONS[activation](),
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        ACTIVATIONS[activation](),
        nn.Flatten(),
        nn.Linear(4 * 2 * 2, 3),
    ).double()
    return model, oracle


PAIRS = [
    build_mlp(hidden, activation, objective)
    for hidden in [(), (5,), (5, 4), (5, 4, 7)]
    for activation in ACTIVATIONS
    for objective in ["cross-entropy", "squared error"]
] + [build_cnn("relu", "cross-entropy"), build_cnn("tanh", "cross-entropy")]


def example_data(model, n, rng):
    x = rng.normal(size=(n, model.inputs))
    if model.objective == "squared error":
        return x, rng.normal(size=n)
    return x, rng.integers(model.outputs, size=n)


def oracle_gradient(oracle, model, parameters, x, y):
    nn.utils.vector_to_parameters(torch.from_numpy(parameters), oracle.parameters())
    outputs = oracle(torch.from_numpy(x))
    if model.objective == "squared error":
        loss = nn.functional.mse_loss(outputs[:, 0], torch.from_numpy(y))
    else:
        loss = nn.functional.cross_entropy(outputs, torch.from_numpy(y))
    found = torch.autograd.grad(loss, list(oracle.parameters()))
    return loss.item(), outputs.detach().numpy(), torch.cat([g.flatten() for g in found]).numpy()


@pytest.mark.parametrize(("model", "oracle"), PAIRS, ids=lambda value: type(value).__name__)
def test_outputs_loss_and_gradient_agree_with_torch_nn(model, oracle):
    rng = np.random.default_rng(1)
    parameters = rng.normal(size=model.size)
    x, y = example_data(model, 11, rng)
    loss, outputs, gradient = oracle_gradient(oracle, model, parameters, x, y)
    np.testing.assert_allclose(model.predict(parameters, x), outputs, rtol=1e-12, atol=1e-12)
    assert model.loss(parameters, x, y) == pytest.approx(loss, rel=1e-12)
    found = learning.gradient(model, parameters, x, y)
    np.testing.assert_allclose(found, gradient, rtol=1e-11, atol=1e-12)
    assert found.dtype == np.float64


@pytest.mark.parametrize(("model", "oracle"), PAIRS, ids=lambda value: type(value).__name__)
def test_a_stack_is_each_participant_alone(model, oracle):
    """Own parameters, own examples, unequal numbers of them."""
    rng = np.random.default_rng(2)
    jobs, expected = [], []
    for n in (7, 1, 12):
        parameters = rng.normal(size=model.size)
        x, y = example_data(model, n, rng)
        jobs.append(learning.Gradient(model, parameters, x, y))
        expected.append(oracle_gradient(oracle, model, parameters, x, y)[2])
    for found, wanted in zip(learning.Gradient.run_together(jobs), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)


def test_softmax_regression_by_hand():
    # zero parameters: both classes have probability 1/2, so ∂loss/∂z = (-1/2, 1/2) for class 0
    model = learning.mlp(2, (), 2)
    found = learning.gradient(model, np.zeros(6), np.array([[1.0, 2.0]]), np.array([0]))
    assert found.tolist() == [-0.5, -1.0, 0.5, 1.0, -0.5, 0.5]


def test_linear_regression_by_hand():
    # prediction 0, target 2: ∂(0-2)²/∂z = -4, input 3
    model = learning.mlp(1, (), 1, objective="squared error")
    found = learning.gradient(model, np.zeros(2), np.array([[3.0]]), np.array([2.0]))
    assert found.tolist() == [-12.0, -4.0]


@pytest.mark.parametrize("model", [PAIRS[6][0], PAIRS[-1][0]], ids=["mlp", "cnn"])
def test_forward_is_differentiable_twice(model):
    rng = np.random.default_rng(3)
    flat = torch.from_numpy(rng.normal(size=model.size)).requires_grad_()
    x = torch.from_numpy(rng.normal(size=(2, model.inputs))).requires_grad_()
    (first,) = torch.autograd.grad((model.forward(flat, x) ** 2).sum(), flat, create_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), x)
    assert second.shape == x.shape
    assert second.abs().max() > 0


def test_sizes_and_shapes():
    assert learning.mlp(64, 32, 10).size == 64 * 32 + 32 + 32 * 10 + 10 == 2410
    assert learning.mlp(64, 32, 10).shapes == ((32, 64), (32,), (10, 32), (10,))
    assert learning.cnn((1, 8, 8), (8, 16), 10).shapes[-2] == (10, 16 * 2 * 2)


def test_equal_models_are_equal_keys():
    assert {learning.mlp(4, 3, 2): 1}[learning.mlp(4, (3,), 2)] == 1
    assert learning.mlp(4, 3, 2) != learning.mlp(4, 3, 2, activation="tanh")


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("tanh", 1)])
def test_initial_weights_have_the_stated_variance(activation, gain):
    # 100,000 weights: the variance is known to 0.45 %. The bound is 5.6 standard deviations
    # (chance 2e-8); a variance wrong by 5 % would be seen all but once in 1e8.
    model = learning.mlp(400, 250, 2, activation=activation)
    vector = model.initial_parameters(np.random.default_rng(0))
    weight, bias, *_ = learning.parameters.unflatten(vector, model.shapes)
    assert weight.var() == pytest.approx(gain / 400, rel=0.025)
    assert abs(weight.mean()) < 5.6 * np.sqrt(gain / 400 / weight.size)
    assert vector.dtype == np.float32
    assert (bias == 0).all()


def test_initial_convolutions_count_all_inputs_of_a_unit():
    model = learning.cnn((16, 4, 4), (64,), 2)  # 9216 weights, variance known to 1.5 %
    vector = model.initial_parameters(np.random.default_rng(0))
    filters = learning.parameters.unflatten(vector, model.shapes)[0]
    assert filters.var() == pytest.approx(2 / (16 * 9), rel=0.09)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: learning.mlp(4, 3, 2, activation="step"), "activation must be one of .*'step'"),
        (lambda: learning.mlp(4, 3, 2, objective="hinge"), "objective must be one of .*'hinge'"),
        (lambda: learning.mlp(4, 3, 2, objective="squared error"), "outputs must be 1 .* got 2"),
        (lambda: learning.mlp(4, 0, 2), "at least one unit"),
        (lambda: learning.cnn((1, 8, 8), (0,), 2), "at least one unit"),
        (lambda: learning.mlp(4, 3, 2, device="abacus"), "device must be .*'abacus'.*device='cpu'"),
    ],
)
def test_impossible_models_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_missing_gpu_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match=r"'cuda' .*; use device='cpu'"):
        learning.digits(device="cuda")


@pytest.fixture(scope="module")
def lazy():
    """torch's lazy backend, a device that every machine has, which can be started only once.

    It computes on the processor, but as on a GPU a tensor belongs to it or does not, and an
    operation on both kinds is an error.
    """
    from torch._lazy import ts_backend

    ts_backend.init()
    return "lazy"


@pytest.fixture(params=["lazy", "cuda"])
def device(request):
    """A device other than the processor."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return request.getfixturevalue("lazy") if request.param == "lazy" else "cuda"


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_another_device_gives_the_processor_s_result(kind, device):
    found = []
    for where in ("cpu", device):
        task = learning.digits(3, seed=0, model=kind, device=where)
        start = task.initial_parameters().astype(np.float64)
        jobs = [
            learning.LocalTraining(
                task.model, start, data.x, data.y, 0.1, 1, 16, task.generator("batches", name)
            )
            for name, data in task.data.items()
        ]
        found.append(learning.LocalTraining.run_together(jobs))
        found[-1].append(task.accuracy(found[-1][0]))
    *trained, accuracy = zip(*found, strict=True)
    np.testing.assert_allclose(*zip(*trained, strict=True), rtol=1e-9, atol=1e-9)
    assert accuracy[0] == accuracy[1]


def test_the_lazy_backend_is_a_device_of_its_own(lazy):
    """Without this, the test above could not tell a tensor left on the processor."""
    with pytest.raises(RuntimeError, match="not a lazy tensor"):
        torch.ones(1, device=lazy) + torch.ones(1)


def test_bad_arguments_are_refused():
    model = learning.mlp(4, 3, 2)
    good = np.zeros(model.size, np.float32)
    x, y = np.zeros((5, 4), np.float32), np.zeros(5, np.int64)
    for parameters in (good[:-1], good.astype(int), good[None]):
        with pytest.raises(ValueError, match="size=23"):
            model.predict(parameters, x)
    with pytest.raises(ValueError, match=r"inputs=4\), got \(5, 3\)"):
        learning.gradient(model, good, x[:, :3], y)
    for wrong in (y - 1, y + 2, y.astype(float)):
        with pytest.raises(ValueError, match="classes must be integers from 0 to outputs-1=1"):
            learning.gradient(model, good, x, wrong)
        with pytest.raises(ValueError, match="classes must be integers"):
            learning.Gradient(model, good, x, wrong)  # before it runs among others
    with pytest.raises(ValueError, match=r"y must have shape \(n,\), got \(5, 1\)"):
        learning.Gradient(model, good, x, y[:, None])
    with pytest.raises(ValueError, match="got 5 and 4"):
        learning.gradient(model, good, x, y[:4])
    with pytest.raises(ValueError, match="at least one example"):
        learning.gradient(model, good, x[:0], y[:0])
