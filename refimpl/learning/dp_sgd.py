"""DP-SGD: training whose result tells almost the same with and without any one example.

Each step draws a Poisson batch (each example with chance ``sample_rate``, on its own), clips the
gradient of each example, adds noise to the sum, and divides by a public number:

    w ← w − learning_rate · (Σ_i min(1, C / ‖g_i‖) g_i + N(0, (noise_multiplier · C)² I)) / B

with C = ``clipping_norm`` and B = ``expected_size``. Source: Abadi et al., CCS 2016, algorithm 1,
with the fixed divisor of McMahan et al., ICLR 2018, eq. (f̃_f). An empty batch adds its noise too,
and the divisor is not the size of the batch: both would tell who is in it.

Adversary: sees all intermediate parameters (or only the last), knows all examples but one, has any
computing power. Neighbours: one example added or removed. What is learned of it is bounded by
``DPSGD.epsilon``. Not covered: choosing hyperparameters on the same data, an error message (an
infinite gradient stops the run), the time that a step takes.

Noise and batches come from a cryptographic generator by default. The noise is drawn on a grid
(``refimpl.dp.mechanisms.gaussian``). A ``torch.Generator`` may be passed for simulation: it is
fast and PROTECTS NOBODY. Gradients are computed in floating point: sensitivity is raised by
``SLACK`` for the rounding of norms and sums, an estimate and no proof.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.dp import accounting, mechanisms
from refimpl.learning import per_example
from refimpl.learning.clipped_models import clipped_gradients
from refimpl.learning.compute import threads_for
from refimpl.learning.model import Model
from refimpl.learning.task import Examples

Noise = CryptoGenerator | torch.Generator | None
SLACK = 2.0**-12


@dataclass(frozen=True, kw_only=True)
class DPSGD:
    """Private training, and what it costs. The formula is above.

    ``expected_size``: B, public; None takes sample_rate times the number of examples, which is
    then not protected. ``noise_multiplier`` 0 adds no noise, for comparisons. Raises ValueError
    for numbers out of range.
    """

    learning_rate: float = 0.5
    clipping_norm: float = 1.0
    noise_multiplier: float = 1.0
    sample_rate: float = 0.1
    steps: int = 100
    expected_size: float | None = None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clipping_norm"):
            _positive(name, getattr(self, name))
        if self.expected_size is not None:
            _positive("expected_size", self.expected_size)
        if not 0 <= self.noise_multiplier < math.inf:
            raise ValueError(
                f"noise_multiplier must be finite and at least 0, got {self.noise_multiplier}"
            )
        _check_rate(self.sample_rate)
        whole("steps", self.steps, 1)

    def epsilon(self, delta: float, *, accountant: accounting.Accountant = "pld") -> float:
        """The epsilon of all steps at this delta, one example added or removed."""
        if not self.noise_multiplier:
            return math.inf
        return accounting.epsilon(
            noise_multiplier=self.noise_multiplier,
            sample_rate=self.sample_rate,
            steps=self.steps,
            delta=delta,
            accountant=accountant,
        )

    def train(
        self, model: Model, parameters: np.ndarray, examples: Examples, *, rng: Noise = None
    ) -> np.ndarray:
        """The parameters after all steps, ``(model.size,)``, in the type of ``parameters``.

        ``rng``: where batches and noise come from, see above. A ``seeded`` generator gives the
        same result on one machine.

        Raises ValueError for shapes that do not fit the model and for no examples, and
        FloatingPointError if training diverges.
        """
        model.check_parameters(parameters)
        model.check_inputs(examples.x)
        if not len(examples):
            raise ValueError("examples must be at least one, got none")
        weights = torch.from_numpy(parameters.copy()).to(model.device)
        x = torch.from_numpy(examples.x.copy()).to(weights)
        targets = model.targets(examples.y, weights.dtype)
        clipped = clipped_gradients(model, weights, clipping_norm=self.clipping_norm)
        size = self.expected_size or self.sample_rate * len(examples)
        generator = resolve(rng) if not isinstance(rng, torch.Generator) else rng
        with threads_for(model.size * math.ceil(self.sample_rate * len(examples))):
            for rows in poisson_batches(len(examples), self.sample_rate, self.steps, rng=generator):
                chosen = torch.from_numpy(rows).to(weights.device)
                gradient = self.noisy(clipped(x[chosen], targets[chosen]), generator) / size
                weights.sub_(gradient, alpha=self.learning_rate)
        trained = weights.cpu().numpy()
        if not np.isfinite(trained).all():
            raise FloatingPointError("training diverged: lower the learning rate")
        return trained

    def noisy(self, total: Tensor, rng: Noise = None) -> Tensor:
        """``total``, a sum of clipped gradients, plus noise; of any shape."""
        return add_noise(total, self.clipping_norm, self.noise_multiplier, rng)


def private_gradient(
    module: nn.Module,
    x: Tensor,
    targets: Tensor,
    losses: per_example.Losses,
    *,
    clipping_norm: float,
    noise_multiplier: float,
    expected_size: float,
    rng: Noise = None,
) -> list[Tensor]:
    """The noisy mean gradient of one batch for any ``nn.Module``, one tensor a parameter.

    (Σ_i clipped gradient + noise) / expected_size, for the examples ``x`` of a Poisson batch; see
    ``per_example.clipped_sum`` for the arguments and errors. An empty batch yields noise.
    """
    _positive("expected_size", expected_size)
    sums = per_example.clipped_sum(module, x, targets, losses, clipping_norm=clipping_norm)
    flat = torch.cat([part.reshape(-1) for part in sums])
    noisy = add_noise(flat, clipping_norm, noise_multiplier, rng) / expected_size
    parts = noisy.split([part.numel() for part in sums])
    return [part.view_as(like) for part, like in zip(parts, sums, strict=True)]


def add_noise(
    total: Tensor, clipping_norm: float, noise_multiplier: float, rng: Noise = None
) -> Tensor:
    """``total`` plus N(0, (noise_multiplier · clipping_norm)²) in each coordinate.

    All coordinates are one answer of L2 sensitivity ``clipping_norm``.
    """
    sensitivity = clipping_norm * (1 + SLACK)
    if not noise_multiplier:
        return total
    if isinstance(rng, torch.Generator):
        noise = torch.randn(total.shape, generator=rng, dtype=total.dtype, device=total.device)
        return total + noise_multiplier * sensitivity * noise
    released = mechanisms.gaussian(
        total.cpu().numpy(), sensitivity=sensitivity, sigma=noise_multiplier * sensitivity, rng=rng
    )
    return torch.from_numpy(released).to(total)


def poisson_batches(
    n: int, sample_rate: float, steps: int, *, rng: Noise = None
) -> Iterator[np.ndarray]:
    """The rows of each step's batch: each of n rows is in it with chance sample_rate.

    Independently of the others and of other steps; a batch may be empty. Who is in a batch must
    stay secret, since the account relies on it. Chances are rounded down to a multiple of 2^-53.
    """
    whole("n", n, 1)
    _check_rate(sample_rate)
    limit = int(sample_rate * 2**53)
    draw: Callable[[], np.ndarray]
    if isinstance(rng, torch.Generator):
        draw = lambda: torch.rand(n, generator=rng, dtype=torch.float64).numpy() < sample_rate  # noqa: E731
    else:
        secret = resolve(rng)
        draw = lambda: secret.bits(53, n) < np.uint64(limit)  # noqa: E731
    for _ in range(whole("steps", steps, 1)):
        yield np.flatnonzero(draw())


def _check_rate(sample_rate: float) -> None:
    if not 0 < sample_rate <= 1:
        raise ValueError(f"sample_rate must be above 0 and at most 1, got {sample_rate}")


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")
