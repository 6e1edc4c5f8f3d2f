"""The sum of per-example gradients, each clipped, without holding them: book-keeping.

    g = Σ_i c_i ∇loss_i,   c_i = min(1, clipping_norm / ‖∇loss_i‖_2)

The norm runs over all trainable parameters together. A linear layer's gradient of example i is
E_iᵀ A_i, with A_i what enters the layer and E_i = ∂loss_i/∂(what leaves it). One forward and one
backward pass to the activations give A and E. Then the norm follows from them, and the sum is one
product, (c E)ᵀ A. A convolution is the same layer on its patches.
Sources: Goodfellow 2015, "Efficient per-example gradient computations", for the norms; Bu, Wang,
Zha and Karypis 2023, "Differentially private optimization on large model at small cost", for the
book-keeping.

``clipped_sum`` keeps books if every trainable parameter belongs to an ``nn.Linear`` or an
``nn.Conv2d`` (one group, zero padding) that is called once, and takes ``torch.func.vmap(grad)``
over chunks of bounded size otherwise. A parameter must not be used outside of its own layer's
call. Per-example gradients of one layer, or of one chunk, are held at a time, at most ``LIMIT``
numbers.

Nothing here protects anybody: clipping bounds what an example can do, and ``dp_sgd`` adds noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

LIMIT = 2**24  # numbers: 64 MiB in single precision
TILE = 2**18  # numbers that stay in a processor's cache

Losses = Callable[[Tensor, Tensor], Tensor]


def clipped_sum(
    module: nn.Module, x: Tensor, targets: Tensor, losses: Losses, *, clipping_norm: float
) -> list[Tensor]:
    """Σ_i c_i ∇loss_i, a tensor like each trainable parameter of ``module``, in their order.

    ``x`` and ``targets`` have one row an example, n ≥ 0 of them. ``losses(outputs, targets)`` is
    the loss of each, shape (n,). ``clipping_norm`` = inf clips nothing.

    Raises:
        ValueError: a layer that mixes examples (see ``check``), a clipping norm not above 0, or
            losses of another shape.
        FloatingPointError: a gradient is not finite.
    """
    check(module)
    if not clipping_norm > 0:
        raise ValueError(f"clipping_norm must be above 0, got {clipping_norm}")
    if not len(x):
        return [torch.zeros_like(parameter) for parameter in trainable(module)]
    found = _by_books(module, x, targets, losses, clipping_norm)
    if found is None:
        found = by_vmap(module, x, targets, losses, clipping_norm=clipping_norm)
    return found


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that training changes."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def check(module: nn.Module) -> None:
    """Raise ValueError if a layer mixes examples, or if there is nothing to train."""
    for name, layer in module.named_modules():
        keeps = isinstance(layer, nn.modules.instancenorm._InstanceNorm)
        statistics = keeps and layer.track_running_stats
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) or statistics:
            raise ValueError(
                f"no layer may mix examples, got {type(layer).__name__} at {name!r}: its "
                "statistics come from the whole batch, so an example changes the gradients of "
                "others and clipping each bounds nothing; use nn.GroupNorm or nn.LayerNorm"
            )
    if not trainable(module):
        raise ValueError("module must have parameters that require a gradient, got none")


def factors(squared_norms: Tensor, clipping_norm: float) -> Tensor:
    """c_i = min(1, clipping_norm / norm_i); 1 for a gradient of zero.

    Raises FloatingPointError for a norm that is not finite: 0 times infinity clips nothing.
    """
    if not math.isfinite(float(squared_norms.sum())):
        raise FloatingPointError(
            "gradients must be finite, got inf or nan: check the examples and parameters, or "
            "lower the learning rate"
        )
    return (clipping_norm / squared_norms.sqrt()).clamp(max=1)


def by_vmap(
    module: nn.Module, x: Tensor, targets: Tensor, losses: Losses, *, clipping_norm: float
) -> list[Tensor]:
    """The same sum for any layers, from the gradients of one chunk of examples at a time."""
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}

    def loss(parameters: dict[str, Tensor], example: Tensor, target: Tensor) -> Tensor:
        outputs = torch.func.functional_call(module, parameters, (example[None],))
        return losses(outputs, target[None]).sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0), randomness="different")
    held = {name: p.detach() for name, p in parameters.items()}
    sums = [torch.zeros_like(p) for p in held.values()]
    size = max(1, LIMIT // sum(p.numel() for p in sums))
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        gradients = list(each(held, x[rows], targets[rows]).values())
        norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
        c = factors(norms, clipping_norm)
        for total, g in zip(sums, gradients, strict=True):
            total += torch.tensordot(c, g, 1)
    return sums


@dataclass
class _Entry:
    """What entered and left a layer; ``versions`` tell whether somebody wrote over it since.

    ``patches``: those of a convolution, (n, places, inputs), kept if they are few.
    """

    layer: nn.Linear | nn.Conv2d
    entered: Tensor
    left: Tensor
    versions: tuple[int, int]
    patches: Tensor | None = None

    def intact(self) -> bool:
        return self.versions == (self.entered._version, self.left._version)


def _by_books(
    module: nn.Module, x: Tensor, targets: Tensor, losses: Losses, clipping_norm: float
) -> list[Tensor] | None:
    """The clipped sum, or None if books cannot be kept on this module."""
    layers = _layers(module)
    if layers is None:
        return None
    books: list[_Entry] = []

    def note(layer: nn.Module, entered: tuple[Tensor, ...], left: Tensor) -> None:
        versions = entered[0]._version, left._version
        books.append(_Entry(layer, entered[0].detach(), left, versions))  # type: ignore[arg-type]

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.enable_grad():
            each = losses(module(x), targets)
    finally:
        for hook in hooks:
            hook.remove()
    if each.shape != (len(x),):
        raise ValueError(f"losses must have shape (n={len(x)},), got {tuple(each.shape)}")
    once = {id(entry.layer) for entry in books} == {id(layer) for layer in layers}
    fit = all(entry.intact() and len(entry.left) == len(x) for entry in books)
    if not (once and len(books) == len(layers) and fit):
        return None
    errors = torch.autograd.grad(each.sum(), [entry.left for entry in books])
    with torch.no_grad():
        norms = sum(_squared_norms(e, error) for e, error in zip(books, errors, strict=True))
        c = factors(norms, clipping_norm)  # type: ignore[arg-type]
        sums: dict[int, Tensor] = {}
        for entry, error in zip(books, errors, strict=True):
            sums |= _weighted(entry, error, c)
    return [sums[id(parameter)] for parameter in trainable(module)]


def _layers(module: nn.Module) -> list[nn.Module] | None:
    """The layers that own trainable parameters, or None if one has no book-keeping."""
    owners = [
        layer
        for layer in module.modules()
        if any(p.requires_grad for p in layer.parameters(recurse=False))
    ]
    owned = [p for layer in owners for p in layer.parameters(recurse=False)]
    shared = len({id(p) for p in owned}) < len(owned)
    return None if shared or not all(map(_known, owners)) else owners


def _known(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv2d:
        plain = layer.groups == 1 and layer.padding_mode == "zeros"
        return plain and not isinstance(layer.padding, str)
    return type(layer) is nn.Linear


def _squared_norms(entry: _Entry, error: Tensor) -> Tensor:
    """‖∇loss_i‖² over this layer's trainable parameters, shape (n,)."""
    layer = entry.layer
    total = error.new_zeros(len(error))
    if layer.bias is not None and layer.bias.requires_grad:
        at_output = error.flatten(2).sum(2) if isinstance(layer, nn.Conv2d) else _sum_rows(error)
        total += square(at_output)
    if not layer.weight.requires_grad:
        return total
    if isinstance(layer, nn.Linear) and error.ndim == 2:  # ‖e aᵀ‖ = ‖e‖ ‖a‖
        return total.addcmul_(square(error), square(entry.entered))
    places = error[0].numel() // layer.weight.shape[0]
    size = max(1, TILE // (places * layer.weight[0].numel()))
    for start in range(0, len(error), size):
        rows = slice(start, start + size)
        values, errors = _columns(layer, entry.entered[rows], error[rows])
        if isinstance(layer, nn.Conv2d) and size >= len(error):
            entry.patches = values
        gradients = torch.bmm(errors, values).flatten(1)
        total[rows] += square(gradients)
    return total


def _columns(layer: nn.Module, entered: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """A as (n, places, inputs) and E as (n, outputs, places); a patch of an image is a place."""
    if isinstance(layer, nn.Conv2d):
        return _patches(layer, entered, *error.shape[2:]).flatten(1, 2), error.flatten(2)
    values = entered.reshape(len(entered), -1, entered.shape[-1])
    return values, error.reshape(len(error), -1, error.shape[-1]).transpose(1, 2)


def _patches(layer: nn.Conv2d, images: Tensor, height: int, width: int) -> Tensor:
    """What each place of the output is computed from, (n, height, width, numbers of a patch).

    Channels come last in a patch, so that runs of numbers are copied, not single ones.
    """
    down, across = (int(side) for side in layer.padding)  # no names: see _known
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, across, across, down, down)).contiguous()
    n, row, column, one = padded.stride()
    strides = [layer.stride[0] * row, layer.stride[1] * column]
    strides += [layer.dilation[0] * row, layer.dilation[1] * column, one]
    shape = (len(images), height, width, *layer.kernel_size, layer.in_channels)
    return padded.as_strided(shape, (n, *strides)).flatten(3)


def _weighted(entry: _Entry, error: Tensor, c: Tensor) -> dict[int, Tensor]:
    """Σ_i c_i ∇loss_i for this layer's trainable parameters, by the parameter's id."""
    layer, found = entry.layer, {}
    error = error * c.view(-1, *[1] * (error.ndim - 1))
    if isinstance(layer, nn.Conv2d):
        found = {id(layer.weight): _filters(entry, layer, error)}
        found[id(layer.bias)] = error.sum((0, 2, 3))
    else:
        errors, values = error.flatten(0, -2), entry.entered.flatten(0, -2)
        found = {id(layer.weight): errors.T @ values, id(layer.bias): errors.sum(0)}
    return found


def _filters(entry: _Entry, layer: nn.Conv2d, error: Tensor) -> Tensor:
    """The gradient of a convolution's weight, summed over the examples."""
    if entry.patches is None:
        shape, settings = layer.weight.shape, (layer.stride, layer.padding, layer.dilation)
        return conv2d_weight(entry.entered, shape, error, *settings)
    errors = error.flatten(2).transpose(0, 1).flatten(1)
    product = errors @ entry.patches.flatten(0, 1)  # of a patch, channels are last
    return product.view(len(errors), *layer.kernel_size, -1).permute(0, 3, 1, 2)


def square(rows: Tensor) -> Tensor:
    """‖row‖² of each row."""
    return torch.linalg.vector_norm(rows, dim=1).square()


def _sum_rows(error: Tensor) -> Tensor:
    """Over all places between the first axis and the last."""
    return error.reshape(len(error), -1, error.shape[-1]).sum(1)
