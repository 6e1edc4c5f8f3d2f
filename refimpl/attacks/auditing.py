"""Audits of DP-SGD: does the program leak more than its account says?

A canary is an example that the auditor makes to be noticed. A white-box adversary (Nasr et al.,
USENIX Security 2023) knows all other examples, sees the noisy gradient of every step, and picks
the canary's gradient in every step. All examples are in every batch (``sample_rate`` 1), so that
an attack that knows all this is as good as the account: any excess is a fault.

- ``canary_audit``: many short runs, with the canary and without, one bound on mu (``Guesses``)
- ``one_run_audit``: one run, many canaries, each in or out by a coin (``OneRun``)
- ``training_audit``: many runs of ``DPSGD.train`` itself, of which only the last parameters
  are seen; the canary is a real example with an extreme label

The gradients of all steps are chosen so that faults show:

    others:   -s_t 3 C v each        canary:   s_t 100 C v        s_t = +1, -1, +1, -1, ...

The canary is far too long, so it tests clipping; it opposes the others, so a divisor that depends
on it shows; it changes its sign, so noise that is used twice cancels. In the one-run audit each
canary has a direction of its own, and there are no others.

``FAULTS`` are wrong programs to try audits on, and ``table`` says which audit catches which.
They protect nobody. Bounds and what they need to hold: see ``refimpl.dp.auditing``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.dp.auditing import Guesses, OneRun, guess, guess_one_run
from refimpl.learning.dp_sgd import DPSGD
from refimpl.learning.models import mlp
from refimpl.learning.per_example import clipped_sum
from refimpl.learning.task import Examples

# (settings, gradients (steps, n, d), runs, rng) -> what each run's steps release, (runs, steps, d)
Steps = Callable[[DPSGD, Tensor, int, CryptoGenerator], Tensor]

OTHERS = 20  # known examples besides the canary
LONG = 100.0  # the canary's norm, in clipping norms


def dp_sgd(settings: DPSGD, gradients: Tensor, runs: int, rng: CryptoGenerator) -> Tensor:
    """The noisy mean gradients of DP-SGD, by the functions that ``DPSGD.train`` calls.

    ``gradients`` are those of each example in each step, before clipping; all runs have the same.
    """
    sums = [clip_and_add(step, settings.clipping_norm) for step in gradients]
    return _noisy(settings, sums, runs, rng) / _size(settings)


def clip_and_add(gradients: Tensor, clipping_norm: float) -> Tensor:
    """The clipped sum for a model whose gradients are given: the loss of example i is g_i · w."""
    module = nn.Linear(gradients.shape[1], 1, bias=False, device="meta")
    module.weight = nn.Parameter(torch.zeros(1, gradients.shape[1], dtype=gradients.dtype))
    (total,) = clipped_sum(
        module, gradients, gradients, lambda out, _: out[:, 0], clipping_norm=clipping_norm
    )
    return total[0]


def _noisy(settings: DPSGD, sums: list[Tensor], runs: int, rng: CryptoGenerator) -> Tensor:
    """Each run has a ``GaussianNoise`` of its own, as each training has."""
    released = []
    for _ in range(runs):
        noise = settings.noise(len(sums[0]), rng)
        released.append(torch.stack([noise.add(total) for total in sums]))
    return torch.stack(released)


def no_noise(settings: DPSGD, gradients: Tensor, runs: int, rng: CryptoGenerator) -> Tensor:
    """Noise of standard deviation 0."""
    return dp_sgd(replace(settings, noise_multiplier=0.0), gradients, runs, rng)


def half_noise(settings: DPSGD, gradients: Tensor, runs: int, rng: CryptoGenerator) -> Tensor:
    """Noise of half the standard deviation: a factor 2 lost in a formula."""
    halved = replace(settings, noise_multiplier=settings.noise_multiplier / 2)
    return dp_sgd(halved, gradients, runs, rng)


def clipped_after_averaging(
    settings: DPSGD, gradients: Tensor, runs: int, rng: CryptoGenerator
) -> Tensor:
    """The mean is clipped, not each gradient; the noise is that for clipped gradients."""
    size, bound = _size(settings), settings.clipping_norm
    sums = [clip_and_add(step.mean(0, keepdim=True), bound) * size for step in gradients]
    return _noisy(settings, sums, runs, rng) / size


def divided_by_batch_size(
    settings: DPSGD, gradients: Tensor, runs: int, rng: CryptoGenerator
) -> Tensor:
    """The sum is divided by the number of examples at hand, which counts the canary too."""
    at_hand = replace(settings, expected_size=float(max(1, gradients.shape[1])))
    return dp_sgd(at_hand, gradients, runs, rng)


def reused_noise(settings: DPSGD, gradients: Tensor, runs: int, rng: CryptoGenerator) -> Tensor:
    """The noise of the first step in all steps of a run: a generator that is seeded again."""
    sums = [clip_and_add(step, settings.clipping_norm) for step in gradients]
    noise = _noisy(settings, [torch.zeros_like(sums[0])], runs, rng)
    return (torch.stack(sums) + noise) / _size(settings)


FAULTS: dict[str, Steps] = {
    "none": dp_sgd,
    "no noise": no_noise,
    "half the noise": half_noise,
    "clipping after averaging": clipped_after_averaging,
    "division by the batch size": divided_by_batch_size,
    "reused noise": reused_noise,
}

MANY_RUNS = DPSGD(sample_rate=1.0, steps=4, noise_multiplier=1.0, expected_size=OTHERS)
ONE_RUN = DPSGD(sample_rate=1.0, steps=4, noise_multiplier=16.0, expected_size=500)


def claimed_mu(settings: DPSGD) -> float:
    """What the account says: sqrt(steps) / noise_multiplier-Gaussian DP, without sampling."""
    _check(settings)
    return math.sqrt(settings.steps) / settings.noise_multiplier


def canary_audit(
    steps: Steps = dp_sgd,
    *,
    settings: DPSGD = MANY_RUNS,
    runs: int = 1000,
    rng: CryptoGenerator | None = None,
) -> Guesses:
    """The guesses of ``runs`` runs with the canary and as many without it.

    The score of a run is the sum of its releases along s_t v, in sums of gradients. The canary
    moves it by steps · C, and its noise is sqrt(steps) noise_multiplier C: mu is
    ``claimed_mu(settings)`` if ``steps`` is right. ``rng``: the noise's.
    """
    _check(settings)
    whole("runs", runs, 1)
    generator, signs = resolve(rng), _signs(settings.steps)
    c = settings.clipping_norm
    others = (-3 * c * signs)[:, None, None] * torch.tensor([1.0, 0.0]).expand(OTHERS, 2)
    canary = (LONG * c * signs)[:, None, None] * torch.tensor([[1.0, 0.0]])

    def scores(gradients: Tensor) -> np.ndarray:
        released = steps(settings, gradients, runs, generator)[:, :, 0] * _size(settings)
        return (released * signs).sum(1).numpy()

    return guess(
        scores(torch.cat([others, canary], dim=1)),
        scores(others),
        threshold=settings.steps * c * (0.5 - OTHERS),
    )


def one_run_audit(
    steps: Steps = dp_sgd,
    *,
    settings: DPSGD = ONE_RUN,
    canaries: int = 1000,
    guesses: int = 200,
    rng: CryptoGenerator | None = None,
) -> OneRun:
    """The guesses of one run: ``canaries`` at stake, each with its own coordinate.

    The score of a canary is the sum of the releases along s_t times its coordinate. ``rng``: of
    the coins and the noise.
    """
    _check(settings)
    generator, signs = resolve(rng), _signs(settings.steps)
    included = generator.bits(1, whole("canaries", canaries, 1)).astype(bool)
    present = LONG * settings.clipping_norm * torch.eye(canaries)[torch.from_numpy(included)]
    (released,) = steps(settings, signs[:, None, None] * present, 1, generator)
    return guess_one_run((released * signs[:, None]).sum(0), included, guesses=guesses)


def training_audit(
    settings: DPSGD = MANY_RUNS, *, runs: int = 1000, rng: CryptoGenerator | None = None
) -> Guesses:
    """The guesses from the last parameters of ``settings.train``, ``runs`` with and without.

    Linear regression on x = 1: the gradient of an example is (prediction - y) (1, 1), up to a
    factor. Labels far off keep all gradients long, and their signs fixed, the canary's against the
    others'. Who sees no steps cannot make noise cancel, so reused noise is not caught here.
    """
    _check(settings)
    whole("runs", runs, 1)
    generator, model = resolve(rng), mlp(1, (), 1, objective="squared error")
    far = 1000.0 + 10 * settings.steps * settings.learning_rate * settings.clipping_norm
    everyone = Examples(np.ones((OTHERS + 1, 1)), np.array(OTHERS * [far] + [-LONG * far]))
    start, others = np.zeros(2), everyone.take(np.arange(OTHERS))

    def score(examples: Examples) -> float:
        moved = start - settings.train(model, start, examples, rng=generator)
        return float(moved.sum()) / math.sqrt(2) / settings.learning_rate * _size(settings)

    return guess(
        [score(everyone) for _ in range(runs)],
        [score(others) for _ in range(runs)],
        threshold=settings.steps * settings.clipping_norm * (0.5 - OTHERS),
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """What both audits measured of one program, and what its account claims."""

    fault: str
    guesses: Guesses  # of canary_audit
    mu: float
    claimed_mu: float
    run: OneRun  # of one_run_audit
    epsilon: float
    claimed_epsilon: float

    @property
    def caught_by_many_runs(self) -> bool:
        """Whether the bound on mu exceeds the claim."""
        return self.mu > self.claimed_mu

    @property
    def caught_by_one_run(self) -> bool:
        """Whether the one-run bound on epsilon exceeds the claim."""
        return self.epsilon > self.claimed_epsilon


def table(
    *, delta: float = 1e-12, alpha: float = 1e-8, rng: CryptoGenerator | None = None
) -> list[Row]:
    """A row for each of ``FAULTS``: ``canary_audit`` and ``one_run_audit`` with their defaults.

    ``alpha`` is the chance that one bound exceeds the truth; ``delta`` is the one-run audit's, and
    must be well below alpha / canaries, or the bound is 0.
    """
    generator, claimed, rows = resolve(rng), ONE_RUN.epsilon(delta), []
    for fault, steps in FAULTS.items():
        guesses = canary_audit(steps, rng=generator)
        run = one_run_audit(steps, rng=generator)
        row = Row(
            fault=fault,
            guesses=guesses,
            mu=guesses.mu(alpha=alpha),
            claimed_mu=claimed_mu(MANY_RUNS),
            run=run,
            epsilon=run.epsilon(delta=delta, alpha=alpha),
            claimed_epsilon=claimed,
        )
        rows.append(row)
    return rows


def _check(settings: DPSGD) -> None:
    """The attacks know which examples are in each batch, and by what is divided."""
    if settings.sample_rate != 1:
        raise ValueError(f"sample_rate must be 1 in an audit, got {settings.sample_rate}")
    if settings.expected_size is None:
        raise ValueError("expected_size must be given in an audit, a public number, got None")
    if not settings.noise_multiplier:
        raise ValueError("noise_multiplier must be above 0, or there is no claim to audit, got 0")


def _size(settings: DPSGD) -> float:
    assert settings.expected_size is not None  # for the type checker; see _check
    return settings.expected_size


def _signs(steps: int) -> Tensor:
    return 1.0 - 2.0 * (torch.arange(steps) % 2)
