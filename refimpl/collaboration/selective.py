"""Selective SGD: a participant shares only the part of its update that matters most.

Adversary: none withstood. The server sees the uploaded part of every update in clear; which part
that is depends on the data too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from refimpl.collaboration.run import (
    SERVER,
    LocalSGD,
    Report,
    Setting,
    check_like,
    make_floats,
    receive_like,
)
from refimpl.learning import Examples, Model
from refimpl.network import Link, MalformedMessage
from refimpl.network.runner import Role


@dataclass(frozen=True, kw_only=True)
class SelectiveSGD(LocalSGD):
    """Distributed selective SGD: share only the part of the update that matters most.

    Each participant in turn downloads the fraction ``download`` (θ_d) of the parameters that were
    updated most often, trains locally (``epochs`` passes, 1 unless given), and uploads the
    fraction ``upload`` (θ_u) of the changes, each clipped to ±``clip`` (γ): the ``largest``, or a
    ``random`` choice of those over ``threshold`` (τ). The server adds them up. It protects nobody
    by itself: what is shared is shared in clear, and the choice of the largest depends on the
    data too.
    Source: Shokri and Shmatikov 2015, section 5, Figures 3 and 4.
    """

    epochs: int = 1
    upload: float = 0.1
    download: float = 1.0
    clip: float = float("inf")
    selection: Literal["largest", "random"] = "largest"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("upload", "download"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {getattr(self, name)}")
        if not self.clip > 0:
            raise ValueError(f"clip must be positive (inf: no clipping), got {self.clip}")
        if self.selection not in ("largest", "random"):
            raise ValueError(f"selection must be 'largest' or 'random', got {self.selection!r}")
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be at least 0, got {self.threshold}")
        make_floats(self, "upload", "download", "clip", "threshold")

    def select(self, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Sorted indices, as uint32, of those in ``change`` that are uploaded."""
        count = fraction_of(self.upload, len(change))
        if self.selection == "largest":
            chosen = largest(abs(change), count)
        else:
            over = np.flatnonzero(abs(change) > self.threshold)
            chosen = rng.choice(over, min(count, len(over)), replace=False)
        return np.sort(chosen).astype(np.uint32)

    def server_roles(self, setting: Setting) -> dict[str, Role]:
        """A participant's turn is one download and one upload."""
        setting.require_plain(self)
        task = setting.task
        roles: dict[str, Role] = {
            name: partial(
                selective_participant,
                method=self,
                rounds=setting.rounds,
                model=task.model,
                parameters=task.initial_parameters(),
                examples=examples,
                rng=setting.generator("local training", name),
            )
            for name, examples in task.data.items()
        }
        roles[SERVER] = partial(
            selective_server,
            participants=task.participants,
            method=self,
            rounds=setting.rounds,
            parameters=task.initial_parameters(),
            report=setting.report,
        )
        return roles


def fraction_of(fraction: float, total: int) -> int:
    """``fraction`` of ``total``, rounded up, so that something is always shared."""
    return min(total, int(np.ceil(round(fraction * total, 6))))  # 0.07 · 100 is 7, not above it


def largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the ``count`` largest ``scores``; of equal ones the first."""
    return np.argsort(-scores, kind="stable")[:count]


async def selective_participant(
    link: Link,
    method: SelectiveSGD,
    rounds: int,
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    rng: np.random.Generator,
) -> np.ndarray:
    """Each round: overwrite what was downloaded, train one pass, upload the selected changes."""
    for round in range(rounds):
        here = link.in_round(round)
        download = await here.receive(SERVER, "parameters")
        indices, values = check_part(download, parameters, sender=SERVER)
        parameters = parameters.copy()
        parameters[indices] = values
        trained = await here.compute(method.local(model, parameters, examples, rng))
        change = trained - parameters
        parameters = trained
        chosen = method.select(change, rng)
        clipped = np.clip(change[chosen], -method.clip, method.clip)
        await here.send(SERVER, "changes", (chosen, clipped))
    return await receive_like(link.in_round(rounds), SERVER, "model", parameters)


async def selective_server(
    link: Link,
    participants: Sequence[str],
    method: SelectiveSGD,
    rounds: int,
    parameters: np.ndarray,
    report: Report,
) -> None:
    """Serve the participants in turn; count how often each parameter was updated."""
    parameters = parameters.copy()
    updates = np.zeros(len(parameters), np.int64)
    count = fraction_of(method.download, len(parameters))
    for round in range(rounds):
        here = link.in_round(round)
        for name in participants:
            wanted = np.sort(largest(updates, count)).astype(np.uint32)
            await here.send(name, "parameters", (wanted, parameters[wanted]))
            upload = await here.receive(name, "changes")
            chosen, values = check_part(upload, parameters, sender=name)
            parameters[chosen] += values
            check_like(parameters, parameters, sender=name)  # it may have overflowed
            updates[chosen] += 1
        report(round, parameters.copy())
    await link.in_round(rounds).broadcast(participants, "model", parameters)


def check_part(payload: object, whole: np.ndarray, *, sender: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices into ``whole``, and a value for each; else ``MalformedMessage`` names the sender."""
    match payload:
        case (np.ndarray() as chosen, np.ndarray() as values) if (
            chosen.ndim == 1
            and chosen.shape == values.shape
            and chosen.dtype.kind == "u"
            and values.dtype == whole.dtype
            and (np.diff(chosen.astype(np.int64)) > 0).all()
            and (len(chosen) == 0 or chosen[-1] < len(whole))
            and np.isfinite(values).all()
        ):
            return chosen, values
    raise MalformedMessage(
        f"{sender!r} must send increasing indices below {len(whole)} and as many finite "
        f"{whole.dtype} values",
        [sender],
    )
