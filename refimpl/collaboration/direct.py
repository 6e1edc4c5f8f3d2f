"""The direct approach: participants hand their examples to a server, which trains on all of them.

Adversary: none withstood. The server sees every example (direct leakage), unless ``privacy`` makes
them noisy before they leave their owner. Training itself is ordinary central training: minibatch
SGD, w ← w − α ∇L(w; batch), on the pooled examples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np

from refimpl.collaboration.run import (
    SERVER,
    LocalSGD,
    Report,
    Run,
    Setting,
    execute,
    receive_like,
)
from refimpl.collaboration.trainers import Trainer, record_cost, trainer
from refimpl.learning import Examples, Model, Task
from refimpl.learning.local_privacy import LocalDP
from refimpl.learning.record_privacy import RecordDP
from refimpl.network import Fault, Link, MalformedMessage
from refimpl.network.runner import Role


class Method(Protocol):
    """A way to learn from uploaded examples."""

    def direct_roles(self, setting: Setting) -> dict[str, Role]:
        """The role of every participant and of the server."""
        ...


@dataclass(frozen=True, kw_only=True)
class Central(LocalSGD):
    """Minibatch SGD at the server; a round is ``epochs`` passes (1 unless given) over all examples.

    ``batch_size=None`` takes all examples as one batch: full-batch gradient descent.
    """

    epochs: int = 1
    batch_size: int | None = 32

    def direct_roles(self, setting: Setting) -> dict[str, Role]:
        """The roles: each participant knows its examples, the server how to train on all."""
        task = setting.task
        parameters, total = task.initial_parameters(), len(task.pooled())
        roles: dict[str, Role] = {
            name: partial(participant, examples=examples, parameters=parameters)
            for name, examples in made_private(setting).items()
        }
        roles[SERVER] = partial(
            server,
            participants=task.participants,
            at_least=setting.at_least,
            **trainer(self, setting, SERVER, examples=total, purpose="batches"),
            model=task.model,
            parameters=parameters,
            rounds=setting.rounds,
            report=setting.report,
        )
        return roles


async def participant(link: Link, examples: Examples, parameters: np.ndarray) -> np.ndarray:
    """Upload the examples, wait for the model, which is like the common ``parameters``."""
    await link.send(SERVER, "examples", {"x": examples.x, "y": examples.y})
    return await receive_like(link, SERVER, "model", parameters)


async def server(
    link: Link,
    participants: Sequence[str],
    at_least: int | None,
    method: Trainer,
    model: Model,
    parameters: np.ndarray,
    rounds: int,
    rng: Any,
    report: Report,
) -> None:
    """Pool the uploads in name order, train, hand the model to every participant."""
    uploads = await link.gather(participants, "examples", at_least=at_least)
    for name, upload in uploads.items():
        check_upload(upload, model, sender=name)
    examples = Examples.concatenate(Examples(sent["x"], sent["y"]) for sent in uploads.values())
    for round in range(rounds):
        parameters = await link.compute(method.local(model, parameters, examples, rng))
        report(round, parameters)
    await link.broadcast(participants, "model", parameters)


def made_private(setting: Setting) -> dict[str, Examples]:
    """What each participant uploads: its examples, or what its ``privacy`` makes of them."""
    task, privacy = setting.task, setting.privacy
    if not isinstance(privacy, LocalDP):
        return task.data
    return {
        name: privacy.randomise(examples, task.model, privacy.generator(name))
        for name, examples in task.data.items()
    }


def check_upload(upload: object, model: Model, *, sender: str) -> None:
    """Raise ``MalformedMessage``, naming the sender, unless ``model`` can learn from ``upload``.

    That is a table ``x`` of finite numbers with a label ``y`` that the model knows for each row.
    """
    match upload:
        case {"x": np.ndarray() as x, "y": np.ndarray() as y} if x.ndim and y.shape == x.shape[:1]:
            try:
                model.check_inputs(x)
                model.check_labels(y)
            except ValueError as error:
                raise MalformedMessage(f"{sender!r} uploaded: {error}", [sender]) from error
            if np.isfinite(x).all() and np.isfinite(y).all():
                return
    raise MalformedMessage(
        f"{sender!r} must upload x and y, arrays of finite numbers with a y for each row of x",
        [sender],
    )


def train(
    task: Task,
    *,
    rounds: int = 20,
    method: Method | None = None,
    privacy: LocalDP | RecordDP | None = None,
    seed: int = 0,
    at_least: int | None = None,
    faults: Sequence[Fault] = (),
    record: Literal["payloads", "sizes"] = "payloads",
) -> Run:
    """Train ``task`` at a server that holds everybody's examples.

    ``at_least`` (all, if not given) is how many uploads suffice to begin. ``seed`` sets the
    order of the batches. The run ends when every participant holds the model. ``privacy``, for
    ``Central``: with ``LocalDP`` each participant makes its examples noisy before it uploads them;
    with ``RecordDP`` the server, which is trusted, trains by DP-SGD. ``Run.epsilon`` says the
    price.
    """
    method = Central() if method is None else method
    spent = getattr(method, "spent", None)
    if privacy is not None:
        if not isinstance(method, Central):
            raise ValueError(f"privacy must come with Central(), got {method!r}")
        spent = price(task, method, privacy, rounds)
    return execute(
        "direct",
        task,
        method,
        rounds=rounds,
        seed=seed,
        at_least=at_least,
        faults=faults,
        record=record,
        privacy=privacy,
        spent=spent,
    )


def price(
    task: Task, method: Central, privacy: LocalDP | RecordDP, rounds: int
) -> Callable[[float], float]:
    """From delta to the epsilon of the run."""
    match privacy:
        case LocalDP():
            return privacy.epsilon
        case RecordDP():
            return record_cost(method, privacy, [len(task.pooled())], rounds)
    raise TypeError(f"privacy of direct training must be LocalDP or RecordDP, got {privacy!r}")
