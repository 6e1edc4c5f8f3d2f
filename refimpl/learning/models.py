"""The two small architectures of this book: a perceptron with hidden layers, and a CNN.

Both run a stack of K participants at once, see :mod:`refimpl.learning.model`: a layer is a
batched matrix product over K matrices, or a convolution with K groups.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from refimpl.learning.model import ACTIVATIONS, Model
from refimpl.learning.parameters import Shapes, unflatten


@dataclass(frozen=True, kw_only=True)
class MLP(Model):
    """Fully connected layers of ``widths`` (inputs, hidden..., outputs)."""

    widths: tuple[int, ...]

    @property
    def inputs(self) -> int:
        return self.widths[0]

    @cached_property
    def shapes(self) -> Shapes:
        layers = [((after, before), (after,)) for before, after in pairwise(self.widths)]
        return tuple(shape for layer in layers for shape in layer)

    def _forward(self, parameters: Tensor, x: Tensor) -> Tensor:
        return self.layer_values(unflatten(parameters, self.shapes), x)[-1]

    def layer_values(self, layers: list[Tensor], x: Tensor) -> list[Tensor]:
        """What enters the first layer, and what leaves each layer."""
        activate, _ = ACTIVATIONS[self.activation]
        values = [x]
        for weight, bias in zip(layers[::2], layers[1::2], strict=True):
            if len(values) > 1:
                values[-1] = activate(values[-1])
            # z = h Wᵀ + b
            values.append(torch.baddbmm(bias.unsqueeze(1), values[-1], weight.transpose(1, 2)))
        return values

    def add_gradients(
        self,
        into: Tensor,
        scale: float,
        parameters: Tensor,
        x: Tensor,
        targets: Tensor,
        weights: Tensor,
    ) -> None:
        """The same contract, by back-propagation written out: on layers this small, autograd's
        own bookkeeping takes longer than the arithmetic.

        Source: Rumelhart, Hinton and Williams 1986, eqs. 4–7, in matrix form.
        """
        layers = unflatten(parameters, self.shapes)
        *values, outputs = self.layer_values(layers, x)
        _, derivative = ACTIVATIONS[self.activation]
        # error = ∂loss/∂z of a layer, from the last layer down to the first
        errors = [self.output_errors(outputs, targets) * weights.unsqueeze(-1)]
        for weight, value in zip(layers[2::2][::-1], values[1:][::-1], strict=True):
            errors.append(torch.bmm(errors[-1], weight) * derivative(value))
        # All errors are known before a weight changes: `into` may be `parameters` itself.
        if into is not parameters:
            layers = unflatten(into, self.shapes)
        for weight, bias, value, error in zip(
            layers[::2], layers[1::2], values, reversed(errors), strict=True
        ):
            weight.baddbmm_(error.transpose(1, 2), value, alpha=scale)  # ∂loss/∂W = errorᵀ h
            bias.add_(error.sum(1), alpha=scale)


@dataclass(frozen=True, kw_only=True)
class CNN(Model):
    """3×3 convolutions of stride 2 (each halves the side), then one fully connected layer.

    ``image`` is (channels, height, width); examples arrive as flat rows of that many numbers.
    """

    image: tuple[int, int, int]
    channels: tuple[int, ...]
    classes: int

    @property
    def inputs(self) -> int:
        return math.prod(self.image)

    @cached_property
    def shapes(self) -> Shapes:
        depth, height, width = self.image
        found: list[tuple[int, ...]] = []
        for after in self.channels:
            found += [(after, depth, 3, 3), (after,)]
            depth, height, width = after, (height + 1) // 2, (width + 1) // 2
        return (*found, (self.classes, depth * height * width), (self.classes,))

    def _forward(self, parameters: Tensor, x: Tensor) -> Tensor:
        activate, _ = ACTIVATIONS[self.activation]
        stack, n = x.shape[:2]
        *layers, weight, bias = unflatten(parameters, self.shapes)
        # The K participants' images lie side by side as channels, and each group of channels
        # meets its own participant's filters only.
        depth, height, width = self.image
        maps = x.transpose(0, 1).reshape(n, stack * depth, height, width)
        for filters, offsets in zip(layers[::2], layers[1::2], strict=True):
            maps = F.conv2d(
                maps, filters.flatten(0, 1), offsets.flatten(), stride=2, padding=1, groups=stack
            )
            maps = activate(maps)
        features = maps.reshape(n, stack, -1).transpose(0, 1)
        return torch.baddbmm(bias.unsqueeze(1), features, weight.transpose(1, 2))


def mlp(
    inputs: int,
    hidden: int | tuple[int, ...],
    outputs: int,
    *,
    activation: str = "relu",
    objective: str = "cross-entropy",
    device: str = "cpu",
) -> MLP:
    """A multi-layer perceptron, ``mlp(64, 32, 10)`` or ``mlp(64, (32, 16), 10)``.

    ``hidden=()`` is softmax regression (or, with ``objective="squared error"``, linear
    regression).

    Raises:
        ValueError: an unknown activation or objective, a width below 1, a device that is not here.
    """
    between = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    return MLP(
        widths=(inputs, *between, outputs),
        activation=activation,
        objective=objective,
        device=device,
    )


def cnn(
    image: tuple[int, int, int],
    channels: tuple[int, ...],
    outputs: int,
    *,
    activation: str = "relu",
    objective: str = "cross-entropy",
    device: str = "cpu",
) -> CNN:
    """A convolutional network, ``cnn((1, 8, 8), (8, 16), 10)``; errors as for :func:`mlp`."""
    return CNN(
        image=image,
        channels=tuple(channels),
        classes=outputs,
        activation=activation,
        objective=objective,
        device=device,
    )
