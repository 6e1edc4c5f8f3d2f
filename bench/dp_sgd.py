"""One step of DP-SGD against the same step without privacy, and against Opacus.

All steps go on from a batch at hand: forward, backward, update. The private ones clip each example
and add noise. The step without privacy is what one writes in torch: autograd and a plain update.
The sums before noise are checked to agree. Needs Opacus.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.harness import Row, compare
from refimpl import learning
from refimpl.arithmetic import randomness
from refimpl.learning import per_example
from refimpl.learning.clipped_models import as_module, clipped_gradients
from refimpl.learning.dp_sgd import DPSGD, Noise

BATCH = 256
MODES = ("hooks", "functorch", "ew", "ghost")
SETTINGS = DPSGD(learning_rate=0.01, clipping_norm=1.0, noise_multiplier=1.0)


def run() -> list[list[Row]]:
    """A table for each model; the bars are 1.35 (seeded noise) and 1.55 (MLP), 1.6 (CNN)."""
    torch.set_num_threads(1)
    return [steps("mlp"), steps("cnn")]


def steps(kind: str, repeats: int = 15) -> list[Row]:
    """The models of the digits, 256 examples of 8×8 pixels."""
    task = learning.digits(1, seed=0, model=kind)
    (data,) = task.data.values()
    x, y = torch.from_numpy(data.x[:BATCH].copy()), torch.from_numpy(data.y[:BATCH].copy())
    targets = task.model.targets(data.y[:BATCH])
    check(task, x, y, targets)
    functions = {
        "without privacy": plain(module_of(task), x, y),
        "refimpl, seeded noise": private(task, x, targets, torch.Generator().manual_seed(0)),
        "refimpl, cryptographic noise": private(task, x, targets, randomness.secure()),
        **{f"Opacus {mode}": opacus(module_of(task), x, y, mode) for mode in MODES},
    }
    return compare(
        functions,
        work=f"DP-SGD: a step of the digits {kind}, batch {BATCH}",
        repeats=repeats,
        note="one thread; Opacus' noise is torch's seeded generator's, in doubles nowhere on a "
        "grid; refimpl writes both passes by hand, the step without privacy takes autograd's",
    )


def module_of(task: learning.Task) -> nn.Module:
    """The task's model in torch.nn, with parameters of its own."""
    return as_module(task.model, torch.from_numpy(task.initial_parameters()))


def losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each example."""
    return F.cross_entropy(outputs, y, reduction="none")


def check(task: learning.Task, x: Tensor, y: Tensor, targets: Tensor) -> None:
    """Raise AssertionError unless ours, vmap's and Opacus' clipped sums agree to 1e-6."""
    module = module_of(task)
    expected = per_example.by_vmap(module, x, y, losses, clipping_norm=SETTINGS.clipping_norm)
    flat = torch.cat([part.flatten() for part in expected])
    start = torch.from_numpy(task.initial_parameters())
    found = clipped_gradients(task.model, start, clipping_norm=SETTINGS.clipping_norm)(x, targets)
    assert (found - flat).abs().max() <= 1e-6 * flat.norm()
    for mode in MODES:
        module = module_of(task)
        before = nn.utils.parameters_to_vector(module.parameters()).detach().clone()
        opacus(module, x, y, mode, noise=0.0)()
        moved = before - nn.utils.parameters_to_vector(module.parameters()).detach()
        np.testing.assert_allclose(
            moved * BATCH / SETTINGS.learning_rate, flat, atol=2e-3 * float(flat.abs().max())
        )


def plain(module: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """A step without privacy."""
    weights = list(module.parameters())

    def step() -> None:
        gradients = torch.autograd.grad(F.cross_entropy(module(x), y), weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(gradient, alpha=SETTINGS.learning_rate)

    return step


def private(task: learning.Task, x: Tensor, targets: Tensor, rng: Noise) -> Callable[[], None]:
    """A step of ours."""
    weights = torch.from_numpy(task.initial_parameters())
    clipped = clipped_gradients(task.model, weights, clipping_norm=SETTINGS.clipping_norm)
    noise = SETTINGS.noise(task.model.size, rng)

    def step() -> None:
        gradient = noise.add(clipped(x, targets)) / BATCH
        weights.sub_(gradient, alpha=SETTINGS.learning_rate)

    return step


def opacus(
    module: nn.Module, x: Tensor, y: Tensor, mode: str, noise: float = SETTINGS.noise_multiplier
) -> Callable[[], None]:
    """A step of Opacus in one of its modes."""
    from opacus.grad_sample import wrap_model
    from opacus.optimizers import get_optimizer_class
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    ghost = {"max_grad_norm": SETTINGS.clipping_norm, "use_ghost_clipping": True}
    wrapped = wrap_model(module, grad_sample_mode=mode, **(ghost if mode == "ghost" else {}))
    sgd = torch.optim.SGD(module.parameters(), lr=SETTINGS.learning_rate)
    optimizer = get_optimizer_class("flat", distributed=False, grad_sample_mode=mode)(
        sgd,
        noise_multiplier=noise,
        max_grad_norm=SETTINGS.clipping_norm,
        expected_batch_size=BATCH,
        generator=torch.Generator().manual_seed(0),
    )
    criterion = nn.CrossEntropyLoss()
    if mode == "ghost":
        criterion = DPLossFastGradientClipping(wrapped, optimizer, criterion)

    def step() -> None:
        optimizer.zero_grad()
        criterion(wrapped(x), y).backward()
        optimizer.step()

    return step
