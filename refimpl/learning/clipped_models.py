"""Sums of clipped per-example gradients for the models of this book, as one flat vector.

An MLP's books are kept by hand, like its gradients, and so are a CNN's (``clipped_cnn``); any other
model goes through ``vmap``. See ``per_example`` for the method and its sources.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from refimpl.learning import clipped_cnn, per_example
from refimpl.learning.model import ACTIVATIONS, Model
from refimpl.learning.models import CNN, MLP
from refimpl.learning.parameters import flatten, unflatten

_LAYERS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
assert set(_LAYERS) == set(ACTIVATIONS)


def clipped_gradients(
    model: Model, parameters: Tensor, *, clipping_norm: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """A function (x, targets) -> Σ_i min(1, clipping_norm / ‖g_i‖) g_i, shape ``(model.size,)``.

    ``parameters``, shape ``(model.size,)``, is not copied: the function sees what training writes
    into it. ``x`` is ``(n, inputs)`` and ``targets`` what ``model.targets`` makes of the labels.
    Raises FloatingPointError, when called, for a gradient that is not finite.
    """
    if type(model) is MLP:
        layers = unflatten(parameters, model.shapes)
        return lambda x, targets: _mlp(model, layers, x, targets, clipping_norm)
    if type(model) is CNN:
        layers = unflatten(parameters, model.shapes)
        return lambda x, targets: clipped_cnn.clipped_sum(model, layers, x, targets, clipping_norm)
    module = as_module(model, parameters)

    def clipped(x: Tensor, targets: Tensor) -> Tensor:
        sums = per_example.clipped_sum(
            module, x, targets, model.losses, clipping_norm=clipping_norm
        )
        return flatten(sums)

    return clipped


@torch.no_grad()
def clipped_stack(
    model: MLP,
    parameters: Tensor,
    x: Tensor,
    targets: Tensor,
    present: Tensor,
    *,
    clipping_norm: float,
) -> Tensor:
    """The same sums for a stack of K participants, ``(K, model.size)``.

    ``parameters`` is ``(K, model.size)``, ``x`` ``(K, n, inputs)``, ``targets`` ``(K, n,
    outputs)``. ``present`` ``(K, n)`` is 1 for an example and 0 for one that only fills a row up.
    """
    layers = unflatten(parameters, model.shapes)
    *values, outputs = model.layer_values(layers, x)
    errors = [model.output_errors(outputs, targets)]
    derivative = ACTIVATIONS[model.activation][1]
    for weight, value in zip(layers[2::2][::-1], values[:0:-1], strict=True):
        errors.append(torch.bmm(errors[-1], weight) * derivative(value))
    errors.reverse()
    squared = torch.zeros_like(present)
    for value, error in zip(values, errors, strict=True):
        squared += error.square().sum(-1) * (value.square().sum(-1) + 1)
    c = (present * per_example.factors(squared, clipping_norm)).unsqueeze(-1)
    sums = []
    for value, error in zip(values, errors, strict=True):
        weighted = error * c
        sums += [torch.bmm(weighted.transpose(1, 2), value).flatten(1), weighted.sum(1)]
    return torch.cat(sums, 1)


def as_module(model: Model, parameters: Tensor) -> nn.Module:
    """``model`` as a module of ``torch.nn`` whose parameters are views of the flat vector."""
    activation = _LAYERS[model.activation]
    if type(model) is MLP:
        steps: list[nn.Module] = []
        for before, after in zip(model.widths, model.widths[1:], strict=False):
            steps += [nn.Linear(before, after, device="meta"), activation()]
        module = nn.Sequential(*steps[:-1])
    elif type(model) is CNN:
        module = _cnn(model, activation)
    else:
        return _Wrapped(model, parameters)
    views = unflatten(parameters, model.shapes)
    for (name, _), view in zip(list(module.named_parameters()), views, strict=True):
        owner, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(owner), attribute, nn.Parameter(view))
    return module


class _Wrapped(nn.Module):
    """Any model, with all parameters as one."""

    def __init__(self, model: Model, parameters: Tensor) -> None:
        super().__init__()
        self.model, self.parameters_vector = model, nn.Parameter(parameters)

    def forward(self, x: Tensor) -> Tensor:
        return self.model.forward(self.parameters_vector, x)


def _cnn(model: CNN, activation: type[nn.Module]) -> nn.Sequential:
    steps: list[nn.Module] = [nn.Unflatten(1, model.image)]
    depth = model.image[0]
    for after in model.channels:
        steps += [nn.Conv2d(depth, after, 3, stride=2, padding=1, device="meta"), activation()]
        depth = after
    features = model.shapes[-2][1]
    return nn.Sequential(*steps, nn.Flatten(), nn.Linear(features, model.classes, device="meta"))


@torch.no_grad()
def _mlp(model: MLP, layers: list[Tensor], x: Tensor, targets: Tensor, bound: float) -> Tensor:
    """g = Σ c E aᵀ layer by layer, ‖g_i‖² = Σ over layers of ‖E_i‖² (‖a_i‖² + 1)."""
    values, errors = _mlp_books(model, layers, x, targets)
    squared = x.new_zeros(len(x))
    for value, error in zip(values, errors, strict=True):
        entered = per_example.square(value) + 1  # the 1 is what enters the bias
        squared.addcmul_(per_example.square(error), entered)
    c = per_example.factors(squared, bound)[:, None]
    total = x.new_empty(model.size)
    parts = unflatten(total, model.shapes)
    for k, (value, error) in enumerate(zip(values, errors, strict=True)):
        weighted = (error * c).T
        torch.mm(weighted, value, out=parts[2 * k])
        torch.sum(weighted, 1, out=parts[2 * k + 1])
    return total


def _mlp_books(
    model: MLP, layers: list[Tensor], x: Tensor, targets: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """What enters each layer, and each layer's error ∂loss_i/∂z_i, from the first layer on.

    As ``MLP.add_gradients``, for one participant.
    """
    activate, derivative = ACTIVATIONS[model.activation]
    weights, biases = layers[::2], layers[1::2]
    values = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        values.append(activate(torch.addmm(bias, values[-1], weight.T)))
    outputs = torch.addmm(biases[-1], values[-1], weights[-1].T)
    errors = [model.output_errors(outputs, targets)]
    for weight, value in zip(weights[:0:-1], values[:0:-1], strict=True):
        errors.append(torch.mm(errors[-1], weight) * derivative(value))
    return values, errors[::-1]
