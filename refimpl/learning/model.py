"""A neural network whose parameters are one flat vector: what all architectures share.

A model is only its architecture: frozen, hashable, without state. ``forward`` takes the flat
vector and the examples. It also takes a *stack*, one vector and one batch for each of K
participants, and runs all of them in one computation. Gradients of a stack are therefore the
gradients of each participant.

Loss: cross-entropy over softmax for classes (two classes too), squared error (prediction −
target)² for numbers; always the mean over the batch.

Nothing here protects anybody: whoever sees the parameters or a gradient can attack them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from refimpl.learning.compute import check_device, threads_for
from refimpl.learning.parameters import Shapes, size, unflatten

# name: (function, its derivative as a function of its output)
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (torch.relu, lambda out: out > 0),
    "tanh": (torch.tanh, lambda out: 1 - out * out),
    "sigmoid": (torch.sigmoid, lambda out: out * (1 - out)),
}
OBJECTIVES = ("cross-entropy", "squared error")


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """Build one with ``learning.mlp`` or ``learning.cnn``.

    Attributes: ``objective``, one of ``OBJECTIVES``; ``activation``, one of ``ACTIVATIONS``;
    ``device``, where torch computes ("cpu", "cuda", "cuda:1").
    """

    objective: str = "cross-entropy"
    activation: str = "relu"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {OBJECTIVES}, got {self.objective!r}")
        if self.activation not in ACTIVATIONS:
            names = tuple(ACTIVATIONS)
            raise ValueError(f"activation must be one of {names}, got {self.activation!r}")
        if min(min(shape) for shape in self.shapes) < 1:
            raise ValueError(f"every layer must have at least one unit, got shapes {self.shapes}")
        if self.objective == "squared error" and self.outputs != 1:
            raise ValueError(f"outputs must be 1 for squared error, got {self.outputs}")
        check_device(self.device)

    @property
    @abstractmethod
    def shapes(self) -> Shapes:
        """Weight and bias of each layer, in the order in which they lie in the vector."""

    @property
    def outputs(self) -> int:
        """How many numbers come out for an example."""
        return self.shapes[-1][0]

    @property
    @abstractmethod
    def inputs(self) -> int:
        """How many numbers an example has."""

    @cached_property
    def size(self) -> int:
        """How many parameters the model has."""
        return size(self.shapes)

    @abstractmethod
    def _forward(self, parameters: Tensor, x: Tensor) -> Tensor:
        """The forward pass of a stack: ``(K, size)`` and ``(K, n, inputs)``."""

    def forward(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Outputs before softmax: ``(size,)`` and ``(n, inputs)`` give ``(n, outputs)``.

        Stacked: ``(K, size)`` and ``(K, n, inputs)`` give ``(K, n, outputs)``. Differentiable,
        twice too, in both arguments.
        """
        if parameters.ndim == 1:
            return self._forward(parameters[None], x[None])[0]
        return self._forward(parameters, x)

    def targets(self, y: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        """Labels ``(n,)`` as the outputs one would like to see, ``(n, outputs)``.

        Classes become one-hot rows; a number stays itself.

        Raises:
            ValueError: as :meth:`check_labels`.
        """
        self.check_labels(y)
        if self.objective == "squared error":
            return self._tensor(y, dtype)[:, None]
        return F.one_hot(self._tensor(y, torch.int64), self.outputs).to(dtype)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example: ``(..., outputs)`` twice gives ``(...)``."""
        if self.objective == "squared error":
            return ((outputs - targets) ** 2).sum(-1)
        return -(targets * torch.log_softmax(outputs, -1)).sum(-1)

    def output_errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The gradient of each example's loss in its outputs: ``(..., outputs)``, as both."""
        if self.objective == "squared error":
            return 2 * (outputs - targets)
        return torch.softmax(outputs, -1) - targets

    def add_gradients(
        self,
        into: Tensor,
        scale: float,
        parameters: Tensor,
        x: Tensor,
        targets: Tensor,
        weights: Tensor,
    ) -> None:
        """``into[k] += scale · ∇ Σ_i weights[k, i] · loss(parameters[k], x[k, i])``, all k at once.

        Shapes: ``into`` and ``parameters`` ``(K, size)``, and they may be the same tensor (that
        is a step of SGD); ``x`` ``(K, n, inputs)``, ``targets`` ``(K, n, outputs)``, ``weights``
        ``(K, n)``. A weight of 0 leaves an example out, so batches of unequal length share a
        stack.
        """
        leaf = parameters.detach().requires_grad_()
        with torch.enable_grad():
            # One participant's loss does not depend on another's parameters, so the gradient of
            # the sum is the stack of the gradients.
            total = (weights * self.losses(self.forward(leaf, x), targets)).sum()
        (gradients,) = torch.autograd.grad(total, leaf)
        into.add_(gradients, alpha=scale)

    def predict(self, parameters: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Outputs ``(n, outputs)`` for examples ``(n, inputs)``, numpy in and out, no gradient.

        Computed in the type of ``parameters``.

        Raises:
            ValueError: ``parameters`` is not one vector of ``size`` floats.
            FloatingPointError: they, or the outputs, are not finite.
        """
        self.check_parameters(parameters)
        self.check_inputs(x)
        flat = self._tensor(parameters)
        with torch.no_grad(), threads_for(self.size * len(x)):
            outputs = self.forward(flat, self._tensor(x, flat.dtype)).cpu().numpy()
        if not (np.isfinite(parameters).all() and np.isfinite(outputs).all()):
            raise FloatingPointError(
                "parameters and outputs must be finite, got inf or nan: did training diverge?"
            )
        return outputs

    def loss(self, parameters: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
        """The mean loss over the examples."""
        outputs = self._tensor(self.predict(parameters, x))
        return float(self.losses(outputs, self.targets(y, outputs.dtype)).mean())

    def initial_parameters(self, rng: np.random.Generator) -> np.ndarray:
        """A random start, float32: weights N(0, gain / inputs of a unit), biases 0.

        The gain is 2 for ReLU (He et al. 2015, eq. 10), else 1 (LeCun et al. 1998, eq. 16).
        """
        gain = 2.0 if self.activation == "relu" else 1.0
        vector = np.zeros(self.size)
        for view in unflatten(vector, self.shapes):
            if view.ndim > 1:  # a weight; a bias has one axis
                view[...] = rng.normal(0.0, np.sqrt(gain / view[0].size), view.shape)
        return vector.astype(np.float32)

    def check_parameters(self, parameters: np.ndarray) -> None:
        """Raise a ValueError unless this is one vector of ``size`` floats."""
        if parameters.shape != (self.size,) or parameters.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"parameters must be a float32 or float64 vector of this model's size={self.size}, "
                f"got {parameters.dtype} of shape {parameters.shape}"
            )

    def check_inputs(self, x: np.ndarray) -> None:
        """Raise a ValueError unless these are examples for this model."""
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"x must have shape (n, inputs={self.inputs}), got {x.shape}")

    def check_labels(self, y: np.ndarray) -> None:
        """Raise a ValueError unless this is a vector of classes 0..outputs−1, or of numbers."""
        if y.ndim != 1:
            raise ValueError(f"y must have shape (n,), got {y.shape}")
        if self.objective == "squared error" or not len(y):
            return
        if y.dtype.kind not in "iu" or not 0 <= y.min() <= y.max() < self.outputs:
            raise ValueError(
                f"classes must be integers from 0 to outputs-1={self.outputs - 1}, "
                f"got {y.dtype} from {y.min()} to {y.max()}"
            )

    def _tensor(self, array: np.ndarray, dtype: torch.dtype | None = None) -> Tensor:
        # A copy, because torch cannot promise to leave a read-only array alone.
        return torch.from_numpy(np.array(array)).to(self.device, dtype)
