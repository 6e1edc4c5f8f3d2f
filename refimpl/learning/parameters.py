"""All parameters of a model as one flat vector, and back.

What participants exchange, clip, mask, encrypt and average is one vector. A model reads its
weights and biases out of that vector as views, so nothing is copied and nothing is named twice.
Works for numpy arrays and torch tensors alike. Says nothing about privacy: no adversary here.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch

Array = TypeVar("Array", np.ndarray, torch.Tensor)
Shapes = tuple[tuple[int, ...], ...]


def size(shapes: Shapes) -> int:
    """How many numbers arrays of these shapes hold together."""
    return sum(math.prod(shape) for shape in shapes)


def flatten(arrays: Sequence[Array]) -> Array:
    """Lay arrays end to end, each in row order: one vector of shape ``(size,)``, a copy."""
    first = arrays[0]
    if isinstance(first, torch.Tensor):
        return torch.cat([array.reshape(-1) for array in arrays])
    return np.concatenate([array.reshape(-1) for array in arrays])


def unflatten(parameters: Array, shapes: Shapes) -> list[Array]:
    """Cut vectors of shape ``(..., size)`` into views of shapes ``(..., *shape)``.

    The leading axes stay, so a stack of the vectors of many participants becomes stacks of
    weights. Writing to a view writes to ``parameters``.

    Raises:
        ValueError: the last axis does not hold exactly the numbers that ``shapes`` ask for.
    """
    if parameters.shape[-1] != size(shapes):
        raise ValueError(
            f"parameters must have size(shapes)={size(shapes)} values along the last axis, "
            f"got shape {tuple(parameters.shape)}"
        )
    views, start = [], 0
    for shape in shapes:
        end = start + math.prod(shape)
        views.append(parameters[..., start:end].reshape(*parameters.shape[:-1], *shape))
        start = end
    return views
