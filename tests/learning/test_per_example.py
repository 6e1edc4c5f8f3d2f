"""Clipped sums by book-keeping against single gradients by autograd, clipped one by one."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from refimpl import learning
from refimpl.learning import clipped_cnn, clipped_models, per_example

CLASSES = 3


def losses(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")


def one_by_one(module, x, targets, losses, clipping_norm):
    """The oracle: a backward pass for each example, its gradient clipped, then added."""
    parameters = per_example.trainable(module)
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=x.dtype)
    norms = []
    for example, target in zip(x, targets, strict=True):
        loss = losses(module(example[None]), target[None]).sum()
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
        norms.append(gradient.norm().item())
        total += gradient * min(1.0, clipping_norm / norms[-1] if norms[-1] else 1.0)
    return total, norms


class Positions(nn.Module):
    """Linear layers on sequences: each example passes them at several places."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x))).mean(1)


class Residual(nn.Module):
    """Two errors that autograd hands back as one tensor."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, CLASSES)
        self.third = nn.Linear(6, CLASSES)

    def forward(self, x):
        h = self.first(x)
        return self.second(h) + self.third(h)


class Twice(nn.Module):
    """A layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.last(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def frozen():
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Linear(4, CLASSES))
    module[0].requires_grad_(False)
    module[2].bias.requires_grad_(False)
    module[3].weight.requires_grad_(False)
    return module


def head(channels, side):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * side[0] * side[1], CLASSES))


# name: (module, shape of an example, whether books can be kept)
MODULES = {
    "mlp": (nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES)), (6,), True),
    "no bias": (nn.Sequential(nn.Linear(6, CLASSES, bias=False)), (6,), True),
    "frozen": (frozen(), (6,), True),
    "positions": (Positions(), (7, 4), True),
    "residual": (Residual(), (6,), True),
    "conv": (nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), head(3, (4, 3))), (2, 6, 5), True),
    "conv, odd": (
        nn.Sequential(
            nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
            nn.Tanh(),
            head(3, (3, 7)),
        ),
        (2, 6, 5),
        True,
    ),
    "conv, no bias": (
        nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), head(2, (3, 3))),
        (1, 4, 4),
        True,
    ),
    "conv, groups": (
        nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), head(2, (2, 2))),
        (2, 4, 4),
        False,
    ),
    "conv, circular": (
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), head(2, (4, 4))),
        (1, 4, 4),
        False,
    ),
    "conv, same": (
        nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"), head(2, (4, 4))),
        (1, 4, 4),
        0,
    ),
    "norm": (nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, CLASSES)), (6,), False),
    "group norm": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), head(4, (2, 2))),
        (1, 4, 4),
        False,
    ),
    "twice": (Twice(), (6,), False),
    "tied": (Tied(), (6,), False),
    # In-place steps destroy what the books hold: seen, and not trusted.
    "relu in place": (
        nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, CLASSES)),
        (6,),
        False,
    ),
}


def built(name, dtype=torch.float64):
    """The module with weights of this name, whatever ran before."""
    module, shape, _ = MODULES[name]
    generator = torch.Generator().manual_seed(len(name))
    module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return module, shape


def drawn(shape, n=9, classes=CLASSES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    x *= torch.logspace(-1.5, 1, n, dtype=torch.float64).view(-1, *[1] * len(shape))
    return x, torch.randint(classes, (n,), generator=generator)


@pytest.mark.parametrize("tile", [1, 100, 2**18])
@pytest.mark.parametrize("name", MODULES)
def test_the_sum_is_that_of_gradients_clipped_one_by_one(name, tile, monkeypatch):
    monkeypatch.setattr(per_example, "TILE", tile)
    monkeypatch.setattr(per_example, "LIMIT", tile)
    (module, shape), books = built(name), MODULES[name][2]
    x, y = drawn(shape)
    _, norms = one_by_one(module, x, y, losses, 1.0)
    clipping_norm = float(np.median(norms))  # some are clipped, some are not
    assert min(norms) < 0.99 * clipping_norm < 0.98 * max(norms)
    expected, _ = one_by_one(module, x, y, losses, clipping_norm)
    kept = per_example._by_books(module, x, y, losses, clipping_norm)
    assert (kept is not None) == bool(books)
    found = per_example.clipped_sum(module, x, y, losses, clipping_norm=clipping_norm)
    assert [part.shape for part in found] == [p.shape for p in per_example.trainable(module)]
    found = torch.cat([part.flatten() for part in found])
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, (_, _, books) in MODULES.items() if books])
def test_books_equal_vmap_in_single_precision(name):
    module, shape = built(name, torch.float32)
    x, y = drawn(shape, n=64)
    x = x.float()
    found = per_example.clipped_sum(module, x, y, losses, clipping_norm=0.7)
    expected = per_example.by_vmap(module, x, y, losses, clipping_norm=0.7)
    scale = torch.cat([part.flatten() for part in expected]).norm()
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-6 * scale


@pytest.mark.parametrize("objective", ["cross-entropy", "squared error"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_the_mlp_by_hand_is_its_twin_of_torch_nn(hidden, activation, objective):
    outputs = 1 if objective == "squared error" else CLASSES
    model = learning.mlp(6, hidden, outputs, activation=activation, objective=objective)
    check_model(model)


@pytest.mark.parametrize("limit", [2**24, 400, 1])
@pytest.mark.parametrize(
    ("image", "channels", "activation", "objective"),
    [
        ((2, 5, 7), (3, 4), "tanh", "cross-entropy"),  # odd sides
        ((1, 8, 8), (8, 16), "relu", "cross-entropy"),  # gradients at first, then pairs of places
        ((3, 4, 4), (), "relu", "cross-entropy"),  # no convolution
        ((1, 1, 6), (2, 3, 5), "sigmoid", "squared error"),
    ],
)
def test_the_cnn_by_hand_is_its_twin_of_torch_nn(
    image, channels, activation, objective, limit, monkeypatch
):
    monkeypatch.setattr(per_example, "LIMIT", limit)
    outputs = 1 if objective == "squared error" else CLASSES
    check_model(learning.cnn(image, channels, outputs, activation=activation, objective=objective))


def test_both_forms_of_the_norm_agree_and_the_cheaper_one_is_taken(monkeypatch):
    """‖EᵀA‖² + ‖Σ E‖² by hand, for many places and for few."""
    generator = torch.Generator().manual_seed(1)
    products = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: products.append(a.shape) or bmm(a, b))
    for places, shape in ((2, (5, 2, 9)), (30, (5, 8, 30))):
        entered = torch.randn(5, places, 9, generator=generator, dtype=torch.float64)
        error = torch.randn(5, places, 8, generator=generator, dtype=torch.float64)
        found = clipped_cnn._squared_norms(entered, error)
        gradients = torch.einsum("npo,npi->noi", error, entered)
        expected = gradients.square().sum((1, 2)) + error.sum(1).square().sum(1)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        assert products[-1] == shape


def test_the_cnn_by_hand_equals_vmap_in_single_precision():
    task = learning.digits(1, seed=0, model="cnn")
    (data,) = task.data.values()
    weights, x = torch.from_numpy(task.initial_parameters()), torch.from_numpy(data.x[:64].copy())
    targets = task.model.targets(data.y[:64])
    found = clipped_models.clipped_gradients(task.model, weights, clipping_norm=1.0)(x, targets)
    module = clipped_models.as_module(task.model, weights)
    expected = per_example.by_vmap(module, x, targets, task.model.losses, clipping_norm=1.0)
    expected = torch.cat([part.flatten() for part in expected])
    assert (found - expected).abs().max() <= 1e-6 * expected.norm()


def test_an_infinite_gradient_of_the_cnn_is_an_error():
    model = learning.cnn((1, 4, 4), (2,), CLASSES)
    x = torch.zeros(3, 16)
    x[1, 2] = math.inf
    clipped = clipped_models.clipped_gradients(model, torch.ones(model.size), clipping_norm=1.0)
    with pytest.raises(FloatingPointError, match="must be finite"):
        clipped(x, model.targets(np.zeros(3, int)))


class Doubled(learning.MLP):
    """A model of another kind: an MLP whose outputs are doubled."""

    def _forward(self, parameters, x):
        return 2 * super()._forward(parameters, x)

    def add_gradients(self, *arguments):
        """By autograd."""
        return learning.Model.add_gradients(self, *arguments)


def test_a_model_of_another_kind_goes_through_vmap():
    check_model(Doubled(widths=(6, 4, CLASSES)))


def check_model(model):
    rng = np.random.default_rng(2)
    parameters = rng.normal(size=model.size)
    x, y = rng.normal(size=(11, model.inputs)), rng.integers(model.outputs, size=11)
    if model.objective == "squared error":
        y = rng.normal(size=11)
    single = [learning.gradient(model, parameters, x[k : k + 1], y[k : k + 1]) for k in range(11)]
    norms = np.linalg.norm(single, axis=1)
    bound = float(np.median(norms))
    expected = sum(g * min(1.0, bound / norm) for g, norm in zip(single, norms, strict=True))
    flat = torch.from_numpy(parameters)
    clipped = clipped_models.clipped_gradients(model, flat, clipping_norm=bound)
    targets = model.targets(y, torch.float64)
    found = clipped(torch.from_numpy(x), targets)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)
    module = clipped_models.as_module(model, flat)
    outputs = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(outputs, model.predict(parameters, x), rtol=1e-12, atol=1e-13)
    flat.mul_(2)  # what training writes is seen
    again = clipped(torch.from_numpy(x), targets)
    assert not np.allclose(again.numpy(), expected)
    assert clipped(torch.from_numpy(x[:0]), targets[:0]).tolist() == [0] * model.size


def test_no_example_adds_nothing():
    module, shape = built("mlp")
    found = per_example.clipped_sum(module, *drawn(shape, n=0), losses, clipping_norm=1.0)
    assert all(not part.any() for part in found)


def test_a_gradient_of_zero_stays_zero():
    assert per_example.factors(torch.tensor([0.0, 4.0, 0.25]), 1.0).tolist() == [1, 0.5, 1]


def test_an_infinite_bound_clips_nothing():
    module, shape = built("mlp")
    x, y = drawn(shape)
    found = per_example.clipped_sum(module, x, y, losses, clipping_norm=math.inf)
    expected = torch.autograd.grad(losses(module(x), y).sum(), list(module.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "layer",
    [nn.BatchNorm1d(6), nn.SyncBatchNorm(6), nn.InstanceNorm1d(6, track_running_stats=True)],
)
def test_layers_that_mix_examples_are_refused_with_the_reason(layer):
    module = nn.Sequential(nn.Linear(6, 6), layer, nn.Linear(6, CLASSES))
    with pytest.raises(ValueError, match=r"mix examples.*GroupNorm"):
        per_example.clipped_sum(module, torch.zeros(2, 6), torch.zeros(2), losses, clipping_norm=1)


def test_bad_input_is_an_error():
    module, shape = built("mlp")
    x, y = drawn(shape)
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="clipping_norm must be above 0"):
            per_example.clipped_sum(module, x, y, losses, clipping_norm=bad)
    with pytest.raises(ValueError, match=r"losses must have shape \(n=9,\)"):
        per_example.clipped_sum(module, x, y, F.cross_entropy, clipping_norm=1)
    with pytest.raises(ValueError, match="parameters that require a gradient"):
        per_example.clipped_sum(nn.ReLU(), x, y, losses, clipping_norm=1)
    x[3, 2] = math.inf
    with pytest.raises(FloatingPointError, match="must be finite"):
        per_example.clipped_sum(module, x, y, losses, clipping_norm=1)
    norm, _ = built("norm")
    with pytest.raises(FloatingPointError, match="must be finite"):
        per_example.clipped_sum(norm, x, y, losses, clipping_norm=1)


def test_hooks_do_not_stay():
    module, shape = built("mlp")
    with pytest.raises(ZeroDivisionError):
        per_example.clipped_sum(module, *drawn(shape), lambda o, t: 1 / 0, clipping_norm=1)
    assert not any(layer._forward_hooks for layer in module.modules())
