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
(``noise``). A ``torch.Generator`` may be passed for simulation: it is
fast and PROTECTS NOBODY. Gradients are computed in floating point: the noise is raised a little
for the rounding of norms and sums, by an estimate and no proof.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import resolve
from refimpl.dp import accounting
from refimpl.learning import per_example
from refimpl.learning.clipped_models import clipped_gradients
from refimpl.learning.compute import threads_for
from refimpl.learning.model import Model
from refimpl.learning.noise import GaussianNoise, Noise
from refimpl.learning.task import Examples


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
        weights, gradients = self._descent(model, parameters, examples, rng)
        with self._threads(model, examples):
            for gradient in gradients:
                weights.sub_(gradient, alpha=self.learning_rate)
        return finite(weights.cpu().numpy())

    def gradient(
        self, model: Model, parameters: np.ndarray, examples: Examples, *, rng: Noise = None
    ) -> np.ndarray:
        """What the first step multiplies by the learning rate, ``(model.size,)``; as ``train``."""
        weights, gradients = self._descent(model, parameters, examples, rng)
        with self._threads(model, examples):
            return finite(next(gradients).to(weights).cpu().numpy())

    def divisor(self, examples: int) -> float:
        """B, of a party that holds so many examples."""
        return self.expected_size or self.sample_rate * examples

    def _threads(self, model: Model, examples: Examples) -> AbstractContextManager[None]:
        return threads_for(model.size * math.ceil(self.sample_rate * len(examples)))

    def _descent(
        self, model: Model, parameters: np.ndarray, examples: Examples, rng: Noise
    ) -> tuple[Tensor, Iterator[Tensor]]:
        """The weights, and the noisy gradient of each step at the weights as they are then."""
        check(model, parameters, examples)
        weights = torch.from_numpy(parameters.copy()).to(model.device)
        x = torch.from_numpy(examples.x.copy()).to(weights)
        targets = model.targets(examples.y, weights.dtype)
        clipped = clipped_gradients(model, weights, clipping_norm=self.clipping_norm)
        size = self.divisor(len(examples))
        generator = resolve(rng) if not isinstance(rng, torch.Generator) else rng
        noise = self.noise(model.size, generator)

        def gradients() -> Iterator[Tensor]:
            for rows in poisson_batches(len(examples), self.sample_rate, self.steps, rng=generator):
                chosen = torch.from_numpy(rows).to(weights.device)
                yield noise.add(clipped(x[chosen], targets[chosen])) / size

        return weights, gradients()

    def noise(self, size: int, rng: Noise = None) -> GaussianNoise:
        """What adds the noise of each step to a sum of ``size`` numbers."""
        return GaussianNoise(
            size,
            clipping_norm=self.clipping_norm,
            noise_multiplier=self.noise_multiplier,
            steps=self.steps,
            rng=rng,
        )


def check(model: Model, parameters: np.ndarray, examples: Examples) -> None:
    """Raise ValueError for shapes that do not fit the model, and for no examples."""
    model.check_parameters(parameters)
    model.check_inputs(examples.x)
    if not len(examples):
        raise ValueError("examples must be at least one, got none")


def finite(trained: np.ndarray) -> np.ndarray:
    """``trained``, or FloatingPointError if training diverged."""
    if not np.isfinite(trained).all():
        raise FloatingPointError(
            "training diverged: parameters must be finite, got inf or nan; lower the learning rate"
        )
    return trained


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
    noise = GaussianNoise(
        len(flat), clipping_norm=clipping_norm, noise_multiplier=noise_multiplier, rng=rng
    )
    parts = (noise.add(flat) / expected_size).split([part.numel() for part in sums])
    return [part.view_as(like) for part, like in zip(parts, sums, strict=True)]


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
