"""Private training as jobs: DP-SGD of one participant, or of many in one stack.

The counterpart of ``LocalTraining`` and ``Gradient`` in ``training``, with ``dp_sgd`` in place of
SGD. Several participants with the same MLP go through one batched computation, with the same result
as one after the other to float tolerance: each draws its batches and noise from its own generator.
For the adversary and the price see ``dp_sgd``.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.learning.clipped_models import clipped_stack
from refimpl.learning.compute import threads_for
from refimpl.learning.dp_sgd import DPSGD, check, finite, poisson_batches
from refimpl.learning.model import Model
from refimpl.learning.models import MLP
from refimpl.learning.task import Examples


@dataclass(frozen=True, eq=False)
class PrivateGradient:
    """A job: ``settings.gradient`` of one participant."""

    model: Model
    parameters: np.ndarray
    examples: Examples
    settings: DPSGD
    rng: CryptoGenerator

    @property
    def batch_key(self) -> str:
        """All are equal: one runs after the other."""
        return "private gradient"

    @classmethod
    def run_together(cls, jobs: Sequence["PrivateGradient"]) -> list[np.ndarray]:
        """The result of each job, in order."""
        return [
            job.settings.gradient(job.model, job.parameters, job.examples, rng=job.rng)
            for job in jobs
        ]


@dataclass(frozen=True, eq=False)
class PrivateTraining:
    """A job: ``settings.train`` of one participant."""

    model: Model
    parameters: np.ndarray
    examples: Examples
    settings: DPSGD
    rng: CryptoGenerator

    @property
    def batch_key(self) -> tuple[object, ...]:
        """Jobs with equal keys may run together; sizes, rates and steps may differ."""
        own = self.settings
        shared = own.learning_rate, own.clipping_norm, own.noise_multiplier
        return ("private training", self.model, self.parameters.dtype.str, *shared)

    def batches(self) -> Iterator[np.ndarray]:
        """The rows of each step, drawn one step at a time."""
        own = self.settings
        return poisson_batches(len(self.examples), own.sample_rate, own.steps, rng=self.rng)

    @classmethod
    def run_together(cls, jobs: Sequence["PrivateTraining"]) -> list[np.ndarray]:
        """The trained parameters of each job, in order."""
        if len(jobs) > 1 and isinstance(jobs[0].model, MLP):
            return _train_stack(jobs[0].model, jobs)
        return [
            job.settings.train(job.model, job.parameters, job.examples, rng=job.rng) for job in jobs
        ]


def _train_stack(model: MLP, jobs: Sequence[PrivateTraining]) -> list[np.ndarray]:
    """As ``DPSGD.train`` of each job, one step of all at a time."""
    # Longest first, so that those still training at any step are the first rows of the stack.
    order = sorted(range(len(jobs)), key=lambda k: -jobs[k].settings.steps)
    jobs = [jobs[k] for k in order]
    weights, x, targets, starts = _stack(model, jobs)
    sizes = [job.settings.divisor(len(job.examples)) for job in jobs]
    divisors = torch.tensor(sizes).to(weights)[:, None]
    noises = [job.settings.noise(model.size, job.rng) for job in jobs]
    draws = [job.batches() for job in jobs]
    longest = jobs[0].settings
    with threads_for(model.size * math.ceil(sum(sizes))):
        for step in range(longest.steps):
            active = sum(job.settings.steps > step for job in jobs)
            rows, present = _pad([next(draw) for draw in draws[:active]], starts)
            current, now = weights[:active], torch.from_numpy(rows).to(x.device)
            there = torch.from_numpy(present).to(x)
            sums = clipped_stack(
                model, current, x[now], targets[now], there, clipping_norm=longest.clipping_norm
            )
            noisy = [noise.add(total) for noise, total in zip(noises, sums, strict=False)]
            current.sub_(torch.stack(noisy) / divisors[:active], alpha=longest.learning_rate)
    found = weights.cpu().numpy()
    return [finite(found[order.index(k)].copy()) for k in range(len(jobs))]


def _stack(
    model: MLP, jobs: Sequence[PrivateTraining]
) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
    """Parameters one below the other; examples end to end, and where each job's begin."""
    for job in jobs:
        check(model, job.parameters, job.examples)
    weights = torch.from_numpy(np.stack([job.parameters for job in jobs])).to(model.device)
    x = torch.from_numpy(np.concatenate([job.examples.x for job in jobs])).to(weights)
    labels = np.concatenate([job.examples.y for job in jobs])
    starts = np.cumsum([0, *(len(job.examples) for job in jobs)])
    return weights, x, model.targets(labels, weights.dtype), starts


def _pad(batches: Sequence[np.ndarray], starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of all batches (jobs, widest batch), and which of them are there.

    Shorter batches are filled up with a row of the same job: another's could be infinite.
    """
    sizes = np.array([len(batch) for batch in batches])
    present = np.arange(sizes.max()) < sizes[:, None]
    rows = np.tile(starts[: len(batches), None], (1, sizes.max()))
    rows[present] += np.concatenate(batches)
    return rows, present
