"""Local training: gradients and plain mini-batch SGD, for one participant or many at once.

w ← w − learning_rate · ∇ mean loss of a batch. No momentum, no weight decay, no ``torch.optim``.

:class:`LocalTraining` and :class:`Gradient` are jobs: pending jobs of several participants go
through one batched computation (``run_together``), with the same result as one after the other
to float tolerance. :func:`sgd` and :func:`gradient` are a job on its own, through the same code:
the same bits.

Nothing here protects anybody: a gradient or a trained vector carries traces of its examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from refimpl.learning.compute import threads_for
from refimpl.learning.model import Model
from refimpl.learning.task import Examples


def batches(
    n: int, batch_size: int | None, epochs: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """The row numbers of each batch that SGD visits: every epoch shuffles all n rows anew.

    The last batch of an epoch holds the remainder. ``batch_size=None`` (or above n): all rows.

    Raises:
        ValueError: n, batch_size or epochs below 1.
    """
    step = n if batch_size is None else batch_size
    for name, value in (("n", n), ("batch_size", step), ("epochs", epochs)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    shuffled = [rng.permutation(n) for _ in range(epochs)]
    return [order[start : start + step] for order in shuffled for start in range(0, n, step)]


def gradient(model: Model, parameters: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of the mean loss, ``(model.size,)``, in the type of ``parameters``.

    Raises:
        ValueError: shapes that do not fit the model, no example, or a class it does not know.
        FloatingPointError: the gradient is not finite.
    """
    return _alone(Gradient(model, parameters, x, y))


def sgd(
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Parameters after ``epochs`` passes of mini-batch SGD, in the type of ``parameters``.

    The batches are those of ``batches(len(examples), batch_size, epochs, rng)``.

    Raises:
        ValueError: as for :func:`gradient` and :func:`batches`, or a learning rate not above 0.
        FloatingPointError: training diverged.
    """
    job = LocalTraining(
        model, parameters, examples.x, examples.y, learning_rate, epochs, batch_size, rng
    )
    return _alone(job)


Result = np.ndarray | FloatingPointError


@dataclass(frozen=True, eq=False)
class Gradient:
    """A job: :func:`gradient` of one participant."""

    model: Model
    parameters: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def __post_init__(self) -> None:
        _check(self)

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """Jobs with equal keys may run together."""
        return ("gradient", self.model, self.parameters.dtype.str)

    @classmethod
    def run_together(cls, jobs: Sequence["Gradient"]) -> list[Result]:
        """One gradient per job, in the order of the jobs, or the error of a job that diverged."""
        _check_keys(jobs)
        visits = [[np.arange(len(job.x))] for job in jobs]
        return _run(jobs, visits, scale=1.0, descend=False)


@dataclass(frozen=True, eq=False)
class LocalTraining:
    """A job: :func:`sgd` of one participant. Draws its batches from ``rng`` when it runs."""

    model: Model
    parameters: np.ndarray
    x: np.ndarray
    y: np.ndarray
    learning_rate: float
    epochs: int
    batch_size: int | None
    rng: np.random.Generator

    def __post_init__(self) -> None:
        _check(self)
        if not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """Jobs with equal keys may run together; sizes, epochs and batch sizes may differ."""
        return ("local training", self.model, self.parameters.dtype.str, self.learning_rate)

    @classmethod
    def run_together(cls, jobs: Sequence["LocalTraining"]) -> list[Result]:
        """The trained parameters of each job, in order, or the error of a job that diverged."""
        _check_keys(jobs)
        visits = [batches(len(job.x), job.batch_size, job.epochs, job.rng) for job in jobs]
        return _run(jobs, visits, scale=-jobs[0].learning_rate, descend=True)


Job = Gradient | LocalTraining


def _run(
    jobs: Sequence[Job], visits: list[list[np.ndarray]], scale: float, descend: bool
) -> list[Result]:
    """Add scale × gradient of each visited batch, to the parameters themselves or to zeros."""
    # Longest first, so that those still training at any step are the first rows of the stack.
    order = sorted(range(len(jobs)), key=lambda k: -len(visits[k]))
    model = jobs[0].model
    parameters, x, targets, starts = _stack([jobs[k] for k in order])
    into = parameters if descend else torch.zeros_like(parameters)
    counts, rows, weights = _schedule([visits[k] for k in order], starts)
    chosen, weighing = torch.from_numpy(rows).to(x.device), torch.from_numpy(weights).to(x)
    with torch.no_grad(), threads_for(model.size * int(counts.sum(axis=1).max())):
        for step, sizes in enumerate(counts):
            active, width = np.count_nonzero(sizes), sizes.max()
            now = chosen[step, :active, :width]
            current = parameters[:active]
            model.add_gradients(
                current if descend else into[:active],
                scale,
                current,
                x[now],
                targets[now],
                weighing[step, :active, :width],
            )
    found = into.cpu().numpy()
    return [_finite(found[order.index(k)]) for k in range(len(jobs))]


def _stack(jobs: Sequence[Job]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, np.ndarray]:
    """Parameters one below the other; examples end to end, and where each job's begin."""
    model = jobs[0].model
    parameters = torch.from_numpy(np.stack([job.parameters for job in jobs])).to(model.device)
    x = np.concatenate([job.x for job in jobs])
    targets = model.targets(np.concatenate([job.y for job in jobs]), parameters.dtype)
    starts = np.cumsum([0, *(len(job.x) for job in jobs)])
    return parameters, torch.from_numpy(x).to(parameters), targets, starts


def _schedule(
    visits: list[list[np.ndarray]], starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who visits which rows at which step, for jobs in order of falling length.

    Returns ``counts`` (steps, jobs), 0 where a job has finished; ``rows`` and ``weights``
    (steps, jobs, widest batch). A batch of m rows weighs 1/m each. Shorter batches are filled up
    at weight 0 with a row of the same job: another's could be infinite, and 0 · inf is not 0.
    """
    shape = (len(visits[0]), len(visits))
    counts = np.zeros(shape, dtype=np.int64)
    for k, steps in enumerate(visits):
        counts[: len(steps), k] = [len(batch) for batch in steps]
    rows = np.tile(starts[: len(visits), None], (*shape[:1], 1, counts.max()))
    used = np.arange(counts.max()) < counts[:, :, None]
    for k, steps in enumerate(visits):
        rows[:, k][used[:, k]] += np.concatenate(steps)
    return counts, rows, used / np.maximum(counts, 1)[:, :, None]


def _check(job: Job) -> None:
    job.model.check_parameters(job.parameters)
    job.model.check_inputs(job.x)
    job.model.check_labels(job.y)
    if len(job.x) != len(job.y) or not len(job.x):
        raise ValueError(
            f"x and y must be equally long, with at least one example, "
            f"got {len(job.x)} and {len(job.y)}"
        )


def _check_keys(jobs: Sequence[Job]) -> None:
    keys = {job.batch_key for job in jobs}
    if len(keys) != 1:
        raise ValueError(f"jobs must be at least one and share one batch_key, got {keys or 'none'}")


def _finite(found: np.ndarray) -> Result:
    """A copy of one job's result, or the error that it is: one job's does not spoil another's."""
    if np.isfinite(found).all():
        return found.copy()
    return FloatingPointError(
        "gradients and trained parameters must be finite, got inf or nan: check the examples and "
        "parameters, or lower the learning rate"
    )


def _alone(job: Job) -> np.ndarray:
    """The result of one job; its error is raised."""
    result = type(job).run_together([job])[0]  # type: ignore[list-item]
    if isinstance(result, FloatingPointError):
        raise result
    return result
