"""Ten hospitals trained in one batched computation, against a loop of one after the other.

The loop is what one writes in torch without an optimiser: a ``torch.nn`` model, ``backward()``, a
plain update. Both give the same parameters to float tolerance, which is checked here. The model
is built before the clock starts, so the loop is not charged for it; the batched side is charged
for stacking and unstacking.
"""

import numpy as np
import torch
from torch import nn

from bench.harness import Row, compare
from refimpl import learning
from refimpl.learning import LocalTraining, Task, batches

CASES = [  # model, division, batch size, epochs
    ("mlp", "iid", 16, 1),
    ("mlp", "iid", 16, 5),
    ("mlp", "iid", 64, 5),
    ("mlp", "uneven", 16, 5),
    ("cnn", "iid", 16, 1),
]


def run() -> list[list[Row]]:
    """A table for each case; the bar is a ratio of 5 on the MLP."""
    torch.set_num_threads(1)
    return [local_training(*case) for case in CASES]


def local_training(kind: str, division: str, batch_size: int, epochs: int) -> list[Row]:
    """Ten participants, digits, learning rate 0.1."""
    task = learning.digits(10, seed=0, model=kind)
    sizes = {name: len(data) for name, data in task.data.items()}
    if division == "uneven":
        sizes = {name: 14 * (k + 1) for k, name in enumerate(task.participants)}
    module, start = build(task), task.initial_parameters()

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

    together, loop = LocalTraining.run_together(jobs()), [one_alone(module, job) for job in jobs()]
    np.testing.assert_allclose(np.array(loop), np.array(together), atol=2e-5)
    functions = {
        "all in one computation": lambda: LocalTraining.run_together(jobs()),
        "one after the other": lambda: [one_alone(module, job) for job in jobs()],
    }
    work = f"learning: 10 x {kind}, {division}, batch {batch_size}, {epochs} epochs"
    return compare(functions, work=work, note="one thread; both sides build their jobs anew")


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
