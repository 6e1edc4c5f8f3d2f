"""A learning task: what each participant holds, the model, and how success is measured.

A task is simulation and measurement. The examples of all participants lie in one object here, so
a role of a protocol must be handed only its own participant's ``data[name]``, never the task.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from refimpl.learning import streams
from refimpl.learning.model import Model


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples: ``x`` float32 ``(n, inputs)``; ``y`` int64 classes or float32 ``(n,)``.

    Both arrays are read-only, because participants share one process.
    """

    x: np.ndarray
    y: np.ndarray

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1]:
            raise ValueError(
                f"x must be (n, inputs) and y (n,), got shapes {self.x.shape} and {self.y.shape}"
            )
        kind = np.float32 if self.y.dtype.kind == "f" else np.int64
        for name, dtype in (("x", np.float32), ("y", kind)):
            array = getattr(self, name).astype(dtype)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> "Examples":
        """The examples of these row numbers, in this order."""
        return Examples(self.x[rows], self.y[rows])

    @staticmethod
    def concatenate(parts: Iterable["Examples"]) -> "Examples":
        """All examples, part after part."""
        parts = list(parts)
        return Examples(
            np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
        )


@dataclass(frozen=True, eq=False)
class Task:
    """Built by ``learning.digits(...)`` and its like, or by hand.

    Attributes: ``participants`` in name order; ``data`` (the examples of each of them); ``test``
    (held back from all); ``seed``.
    """

    name: str
    model: Model
    participants: tuple[str, ...]
    data: dict[str, Examples]
    test: Examples
    seed: int

    def __post_init__(self) -> None:
        if list(self.participants) != sorted(self.data) or not self.participants:
            raise ValueError(
                f"participants must be the names in data, sorted, at least one; "
                f"got {self.participants} for data of {tuple(self.data)}"
            )

    @property
    def kind(self) -> str:
        """By the model's objective: "classification" or "regression"."""
        return "regression" if self.model.objective == "squared error" else "classification"

    @property
    def metric(self) -> str:
        """What :meth:`accuracy` returns: "accuracy" or "R²"."""
        return "accuracy" if self.kind == "classification" else "R²"

    def initial_parameters(self) -> np.ndarray:
        """The common random start, ``(model.size,)`` float32; the same for the same seed."""
        return self.model.initial_parameters(self.generator("initial parameters"))

    def accuracy(self, parameters: np.ndarray) -> float:
        """On the test examples: the share classified correctly; for regression R², at most 1.

        R² = 1 − Σ(prediction − y)² / Σ(mean − y)²: 0 is as good as always guessing the mean.
        """
        outputs = self.model.predict(parameters, self.test.x)
        y = self.test.y
        if self.kind == "classification":
            return float((outputs.argmax(axis=1) == y).mean())
        residual = np.square(outputs[:, 0] - y, dtype=np.float64).sum()
        return float(1 - residual / np.square(y - y.mean(), dtype=np.float64).sum())

    def loss(self, parameters: np.ndarray, examples: Examples) -> float:
        """The mean loss of the model on ``examples``."""
        return self.model.loss(parameters, examples.x, examples.y)

    def pooled(self) -> Examples:
        """The examples of all participants in one place, in participant order."""
        return Examples.concatenate(self.data[name] for name in self.participants)

    def generator(self, *purpose: str | int) -> np.random.Generator:
        """A stream of simulated randomness for this purpose, of this task's seed.

        ``task.generator("batches", name, round)``; see :func:`refimpl.learning.streams.generator`.
        """
        return streams.generator(self.seed, *purpose)

    def restrict(self, *names: str) -> "Task":
        """The same task with these participants only: ``task.restrict("hospital 3")`` is alone.

        Test examples, model, seed and scaling of the inputs stay.

        Raises:
            ValueError: no name, or one that does not take part.
        """
        strangers = [name for name in names if name not in self.participants]
        if strangers or not names:
            raise ValueError(
                f"names must be some of {self.participants}, an argument each, "
                f"got {strangers or 'none'}"
            )
        kept = tuple(name for name in self.participants if name in names)
        return replace(self, participants=kept, data={name: self.data[name] for name in kept})
