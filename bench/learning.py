"""Ten hospitals trained in one batched computation, against a loop of one after the other.

Run ``python bench/learning.py``. Both sides run in one process on one thread, in turn, and give
the same parameters to float tolerance, which is checked here. The loop is what one writes in
torch without an optimiser: a ``torch.nn`` model, ``backward()``, a plain update. The model is
built and loaded before the clock starts, so the loop is not charged for it; the batched side is
charged for stacking and unstacking.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from refimpl import learning
from refimpl.learning import LocalTraining, Task, batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each side")
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    table = Table(title=f"10 participants, digits, learning rate 0.1, {versions()}")
    for column in ("model", "division", "batch", "epochs", "loop ms", "together ms", "ratio"):
        table.add_column(column)
    for model, division, batch_size, epochs in [
        ("mlp", "iid", 16, 1),
        ("mlp", "iid", 16, 5),
        ("mlp", "iid", 64, 5),
        ("mlp", "uneven", 16, 5),
        ("cnn", "iid", 16, 1),
    ]:
        task = learning.digits(10, seed=0, model=model)
        loop, together = compare(task, batch_size, epochs, runs, uneven=division == "uneven")
        cells = [model, division, str(batch_size), str(epochs)]
        table.add_row(*cells, f"{loop:.1f}", f"{together:.1f}", f"{loop / together:.1f}")
    Console().print(table)


def compare(
    task: Task, batch_size: int, epochs: int, runs: int, uneven: bool
) -> tuple[float, float]:
    """Median milliseconds of the loop and of the batched computation, after one run of each."""
    start = task.initial_parameters()
    sizes = {name: len(data) for name, data in task.data.items()}
    if uneven:
        sizes = {name: 14 * (k + 1) for k, name in enumerate(task.participants)}
    module = build(task)

    def jobs() -> list[LocalTraining]:
        return [
            LocalTraining(
                task.model,
                start,
                task.data[name].x[:size],
                task.data[name].y[:size],
                0.1,
                epochs,
                batch_size,
                task.generator("batches", name),
            )
            for name, size in sizes.items()
        ]

    sides: list[Callable[[list[LocalTraining]], list[np.ndarray]]] = [
        lambda work: [one_alone(module, job) for job in work],
        LocalTraining.run_together,
    ]
    first, second = (side(jobs()) for side in sides)
    np.testing.assert_allclose(np.array(first), np.array(second), atol=2e-5)
    seconds: list[list[float]] = [[], []]
    for _ in range(runs):
        for side, taken in zip(sides, seconds, strict=True):
            work = jobs()
            before = time.perf_counter()
            side(work)
            taken.append(time.perf_counter() - before)
    loop, together = (1000 * statistics.median(taken) for taken in seconds)
    return loop, together


def build(task: Task) -> nn.Sequential:
    """The task's model from torch.nn."""
    if isinstance(task.model, learning.MLP):
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def one_alone(module: nn.Sequential, job: LocalTraining) -> np.ndarray:
    """Plain mini-batch SGD of one participant by autograd, on the batches of ``batches``."""
    weights = list(module.parameters())
    nn.utils.vector_to_parameters(torch.from_numpy(job.parameters.copy()), weights)
    x, y = torch.from_numpy(job.x.copy()), torch.from_numpy(job.y.copy())
    for rows in batches(len(x), job.batch_size, job.epochs, job.rng):
        chosen = torch.from_numpy(rows)
        loss = nn.functional.cross_entropy(module(x[chosen]), y[chosen])
        for weight in weights:
            weight.grad = None
        loss.backward()
        with torch.no_grad():
            for weight in weights:
                weight -= job.learning_rate * weight.grad
    return nn.utils.parameters_to_vector(weights).detach().numpy().copy()


def versions() -> str:
    return f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}"


if __name__ == "__main__":
    main()
