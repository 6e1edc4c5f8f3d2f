"""The sum of clipped per-example gradients of the book's CNN, its books kept by hand.

A convolution is a linear layer on patches. For one example, row p of A is what place p of its
output is computed from, and row p of E is the error there. The gradient of the weight is EᵀA, and
its norm follows from it, or from two products between places:

    ‖EᵀA‖² + ‖Σ_p E_p‖² = Σ_pq (E Eᵀ)_pq ((A Aᵀ)_pq + 1)     (the 1 is what enters the bias)

The second costs less where places are few, the first where they are many: each layer takes the
cheaper one. Channels lie last, so that all layers are plain products.
Sources: see ``per_example``; for both forms, Bu, Mao and Xu, NeurIPS 2022, "Scalable and efficient
training of large convolutional neural networks with differential privacy".

Nothing here protects anybody: see ``per_example``.
"""

import torch
from torch import Tensor

from refimpl.learning import per_example
from refimpl.learning.model import ACTIVATIONS
from refimpl.learning.models import CNN
from refimpl.learning.parameters import unflatten

Book = tuple[Tensor, Tensor]  # A (n, places, inputs) and E (n, places, outputs) of a layer


@torch.no_grad()
def clipped_sum(
    model: CNN, layers: list[Tensor], x: Tensor, targets: Tensor, clipping_norm: float
) -> Tensor:
    """Σ_i min(1, clipping_norm / ‖g_i‖) g_i, shape ``(model.size,)``.

    ``layers`` are weight and bias of each layer, ``x`` is ``(n, inputs)``, ``targets`` what
    ``model.targets`` makes of the labels. Numbers held at a time: some ``per_example.LIMIT``.
    Raises FloatingPointError for a gradient that is not finite.
    """
    total = x.new_zeros(model.size)
    size = max(1, per_example.LIMIT // _numbers(model))
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        total += _of_chunk(model, layers, x[rows], targets[rows], clipping_norm)
    return total


def _of_chunk(
    model: CNN, layers: list[Tensor], x: Tensor, targets: Tensor, clipping_norm: float
) -> Tensor:
    books = _books(model, layers, x, targets)
    squared = x.new_zeros(len(x))
    for entered, error in books:
        squared += _squared_norms(entered, error)
    c = per_example.factors(squared, clipping_norm)[:, None, None]
    total = x.new_empty(model.size)
    parts = unflatten(total, model.shapes)
    kernels = _kernels(model, parts[::2])
    for (entered, error), kernel, bias in zip(books, kernels, parts[1::2], strict=True):
        weighted = (error * c).flatten(0, 1)
        gradient = torch.mm(weighted.T, entered.flatten(0, 1))
        kernel.copy_(gradient.view(kernel.shape))
        torch.sum(weighted, 0, out=bias)
    return total


def _books(model: CNN, layers: list[Tensor], x: Tensor, targets: Tensor) -> list[Book]:
    """One forward pass, one backward pass to the activations."""
    activate, derivative = ACTIVATIONS[model.activation]
    weights = [kernel.flatten(1) for kernel in _kernels(model, layers[::2])]
    maps = x.reshape(-1, *model.image).permute(0, 2, 3, 1)
    entered, left = [], []
    for weight, bias in zip(weights[:-1], layers[1:-1:2], strict=True):
        patches = _patches(maps)  # (n, height, width, numbers of a patch)
        outputs = activate(torch.addmm(bias, patches.flatten(0, 2), weight.T))
        maps = outputs.view(*patches.shape[:3], -1)
        entered.append(patches.flatten(1, 2))
        left.append(maps)
    entered.append(maps.reshape(len(x), 1, -1))
    outputs = torch.addmm(layers[-1], entered[-1][:, 0], weights[-1].T)
    errors = [model.output_errors(outputs, targets)[:, None]]
    back = torch.mm(errors[0][:, 0], weights[-1])
    for k in reversed(range(len(left))):
        error = back.view(left[k].shape) * derivative(left[k])
        errors.append(error.flatten(1, 2))
        if k:
            patches = torch.mm(error.flatten(0, 2), weights[k]).view(*error.shape[:3], 3, 3, -1)
            back = _spread(patches, left[k - 1].shape)
    return list(zip(entered, reversed(errors), strict=True))


def _squared_norms(entered: Tensor, error: Tensor) -> Tensor:
    """‖∇loss_i‖² over a layer's weight and bias, shape (n,)."""
    places, inputs, outputs = *entered.shape[1:], error.shape[2]
    if places * (inputs + outputs) <= inputs * outputs:
        pairs = torch.bmm(error, error.mT) * (torch.bmm(entered, entered.mT) + 1)
        return pairs.sum((1, 2))
    weight = torch.bmm(error.mT, entered)
    return per_example.square(weight.flatten(1)) + per_example.square(error.sum(1))


def _kernels(model: CNN, weights: list[Tensor]) -> list[Tensor]:
    """Views of the weights with channels last, (outputs, rows, columns, channels)."""
    *filters, last = weights
    height, width = model.image[1:]
    for _ in filters:
        height, width = (height + 1) // 2, (width + 1) // 2
    shaped = [*filters, last.view(len(last), -1, height, width)]
    return [kernel.permute(0, 2, 3, 1) for kernel in shaped]


def _patches(maps: Tensor) -> Tensor:
    """Patches of 3×3 at every other place: (n, h, w, d) to (n, ⌈h/2⌉, ⌈w/2⌉, 9 d)."""
    n, height, width, depth = maps.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    padded = maps.new_zeros(n, 2 * rows + 1, 2 * columns + 1, depth)
    padded[:, 1 : height + 1, 1 : width + 1] = maps
    one, row, column, _ = padded.stride()
    strides = (one, 2 * row, 2 * column, row, column, 1)
    return padded.as_strided((n, rows, columns, 3, 3, depth), strides).flatten(3)


def _spread(patches: Tensor, shape: torch.Size) -> Tensor:
    """The transpose of ``_patches``: what lies at each place of maps of this shape, summed up."""
    (n, rows, columns), (height, width, depth) = patches.shape[:3], shape[1:]
    padded = patches.new_zeros(n, 2 * rows + 1, 2 * columns + 1, depth)
    for i in range(3):
        for j in range(3):
            padded[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2] += patches[:, :, :, i, j]
    return padded[:, 1 : height + 1, 1 : width + 1].contiguous()


def _numbers(model: CNN) -> int:
    """The most numbers that one layer holds for an example: patches, pairs or a gradient."""
    height, width = model.image[1:]
    most = model.inputs
    for filters in model.shapes[:-2:2]:
        height, width = (height + 1) // 2, (width + 1) // 2
        outputs, inputs = filters[0], 9 * filters[1]
        places = height * width
        most = max(most, places * (inputs + outputs), min(inputs * outputs, places**2))
    return most
