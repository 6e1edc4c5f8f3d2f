"""The direct approach: participants hand their examples to a server, which trains on all of them.

Adversary: none withstood. The server sees every example (direct leakage). Training itself is
ordinary central training: minibatch SGD, w ← w − α ∇L(w; batch), on the pooled examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from refimpl.aggregation import Plain
from refimpl.collaboration.run import (
    SERVER,
    LocalSGD,
    Report,
    Run,
    Scores,
    Setting,
    check_count,
    execute,
)
from refimpl.learning import Examples, Model, Task
from refimpl.network import Fault, Link, MalformedMessage
from refimpl.network.runner import Role


@dataclass(frozen=True, kw_only=True)
class Central(LocalSGD):
    """Minibatch SGD at the server; a round is ``epochs`` passes over the pooled examples.

    ``batch_size=None`` takes all examples as one batch: full-batch gradient descent.
    """

    epochs: int = 1
    batch_size: int | None = 32


async def participant(link: Link, examples: Examples) -> np.ndarray:
    """Upload the examples, wait for the model."""
    await link.send(SERVER, "examples", {"x": examples.x, "y": examples.y})
    return await link.receive(SERVER, "model")


async def server(
    link: Link,
    participants: Sequence[str],
    at_least: int | None,
    method: Central,
    model: Model,
    parameters: np.ndarray,
    rounds: int,
    rng: np.random.Generator,
    report: Report,
) -> None:
    """Pool the uploads in name order, train, hand the model to every participant."""
    uploads = await link.gather(participants, "examples", at_least=at_least)
    for name, upload in uploads.items():
        check_upload(upload, model, sender=name)
    examples = pool(uploads)
    for round in range(rounds):
        parameters = await link.compute(method.local(model, parameters, examples, rng))
        report(round, parameters)
    await link.broadcast(participants, "model", parameters)


def check_upload(upload: object, model: Model, *, sender: str) -> None:
    """Raise ``MalformedMessage``, naming the sender, unless ``model`` can learn from ``upload``.

    That is a table ``x`` of finite numbers with a label ``y`` that the model knows for each row.
    """
    match upload:
        case {"x": np.ndarray() as x, "y": np.ndarray() as y} if x.ndim and y.shape == x.shape[:1]:
            try:
                model.check_inputs(x)
                model.targets(y)
            except ValueError as error:
                raise MalformedMessage(f"{sender!r} uploaded: {error}", [sender]) from error
            if np.isfinite(x).all() and np.isfinite(y).all():
                return
    raise MalformedMessage(
        f"{sender!r} must upload x and y, arrays of finite numbers with a y for each row of x",
        [sender],
    )


def pool(uploads: Mapping[str, Mapping[str, np.ndarray]]) -> Examples:
    """All uploaded examples, one participant after the other."""
    return Examples(
        np.concatenate([upload["x"] for upload in uploads.values()]),
        np.concatenate([upload["y"] for upload in uploads.values()]),
    )


def train(
    task: Task,
    *,
    rounds: int = 20,
    method: Central | None = None,
    seed: int = 0,
    at_least: int | None = None,
    faults: Sequence[Fault] = (),
    record: Literal["payloads", "sizes"] = "payloads",
) -> Run:
    """Train ``task`` at a server that holds everybody's examples.

    ``at_least`` (all, if not given) is how many uploads suffice to begin. ``seed`` sets the
    order of the batches. The run ends when every participant holds the model.
    """
    check_count(rounds=rounds)
    method = method or Central()
    scores = Scores(task, rounds)
    setting = Setting(task, rounds, seed, Plain(), at_least, scores, {})
    roles: dict[str, Role] = {
        name: partial(participant, examples=examples) for name, examples in task.data.items()
    }
    roles[SERVER] = partial(
        server,
        participants=task.participants,
        at_least=at_least,
        method=method,
        model=task.model,
        parameters=task.initial_parameters(),
        rounds=rounds,
        rng=setting.generator("batches", SERVER),
        report=scores,
    )
    return execute(
        "direct",
        method,
        roles,
        setting,
        scores,
        required=None if at_least is None else [SERVER],
        faults=faults,
        record=record,
    )
