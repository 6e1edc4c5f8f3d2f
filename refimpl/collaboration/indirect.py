"""The indirect approach: participants train locally and share updates with a server.

Synchronous methods live here: each round the server sends the model out, every participant
contributes to a weighted sum, and the server updates. The sum is an ``Aggregation``, so a
protection is exchanged without touching the roles. Methods in which the server handles one
participant at a time have modules of their own: ``asynchronous``, ``selective`` and
``weight_transmission``.

Adversary: with ``aggregation.Plain``, none withstood. The server sees every participant's update
in every round, from which training examples can be read off (indirect leakage).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np

from refimpl.aggregation import Aggregation, Group, Plain
from refimpl.collaboration.averaging import Average, averages, terms_of
from refimpl.collaboration.run import (
    SERVER,
    LocalSGD,
    Report,
    Run,
    Setting,
    cast_like,
    check_count,
    check_positive,
    execute,
    make_floats,
    receive_like,
)
from refimpl.collaboration.trainers import Trainer, record_cost, trainer
from refimpl.learning import Examples, Gradient, Model, Task
from refimpl.learning.privacy import Privacy
from refimpl.learning.record_privacy import RecordDP
from refimpl.network import Fault, Link
from refimpl.network.link import Job
from refimpl.network.runner import Role


class Method(Protocol):
    """A way to update weights over a server."""

    def server_roles(self, setting: Setting) -> dict[str, Role]:
        """The role of every participant and of the server."""
        ...


class Synchronous(Protocol):
    """A method of rounds in step: all compute, the server updates with their weighted mean."""

    def local(
        self, model: Model, parameters: np.ndarray, examples: Examples, rng: np.random.Generator
    ) -> Job:
        """What a participant computes: a job that yields a vector like ``parameters``."""
        ...

    def origin(self, parameters: np.ndarray) -> np.ndarray:
        """The vector that a participant shares if it has learned nothing."""
        ...

    def update(self, parameters: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """The server's next parameters; ``mean`` is Σ (n_k/n) v_k, in float64."""
        ...


@dataclass(frozen=True, kw_only=True)
class FedSGD:
    """Synchronous SGD: average the gradients, then update, w ← w − α Σ (n_k/n) ∇L_k(w).

    ``batch_size=None`` takes the gradient over all local examples; then one round is exactly one
    step of full-batch gradient descent on the pooled examples. Otherwise each participant draws
    ``batch_size`` of its examples without replacement.
    Source: McMahan et al. 2017, section 2, FedSGD.
    """

    learning_rate: float = 0.5
    batch_size: int | None = None

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        make_floats(self, "learning_rate")
        if self.batch_size is not None:
            check_count(batch_size=self.batch_size)

    def local(
        self, model: Model, parameters: np.ndarray, examples: Examples, rng: np.random.Generator
    ) -> Gradient:
        """What a participant computes: its mean gradient."""
        if self.batch_size is None or self.batch_size >= len(examples):
            return Gradient(model, parameters, examples.x, examples.y)
        chosen = rng.choice(len(examples), self.batch_size, replace=False)
        return Gradient(model, parameters, examples.x[chosen], examples.y[chosen])

    def origin(self, parameters: np.ndarray) -> np.ndarray:
        """A gradient of zero."""
        return np.zeros_like(parameters)

    def update(self, parameters: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """What the server does with the weighted mean of the gradients."""
        return parameters - self.learning_rate * mean

    def server_roles(self, setting: Setting) -> dict[str, Role]:
        """See ``synchronous_roles``."""
        return synchronous_roles(self, setting)


@dataclass(frozen=True, kw_only=True)
class FedAvg(LocalSGD):
    """Federated averaging: train ``epochs`` passes locally, then average, w ← Σ (n_k/n) w_k.

    ``epochs`` is 5 unless given.
    Source: McMahan et al. 2017, Algorithm 1 (E = ``epochs``, B = ``batch_size``, C = 1).
    """

    def origin(self, parameters: np.ndarray) -> np.ndarray:
        """The parameters as they came."""
        return parameters

    def update(self, parameters: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """What the server does with the weighted mean of the local parameters."""
        return mean

    def server_roles(self, setting: Setting) -> dict[str, Role]:
        """See ``synchronous_roles``."""
        return synchronous_roles(self, setting)


async def participant(
    link: Link,
    method: Trainer,
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    average: Average,
    groups: Sequence[Group],
    aggregation: Aggregation,
    credentials: Any,
    rng: Any,
) -> np.ndarray:
    """Each round: fetch the model, compute locally, contribute to the average."""
    for group in groups:
        here = link.in_round(group.round)
        parameters = await receive_like(here, SERVER, "model", parameters)
        local = await link.compute(method.local(model, parameters, examples, rng))
        vector = average.contribution(local, parameters)
        await aggregation.contribute(link, vector, group, credentials)
    return await receive_like(link.in_round(len(groups)), SERVER, "model", parameters)


async def server(
    link: Link,
    method: Synchronous,
    parameters: np.ndarray,
    average: Average,
    groups: Sequence[Group],
    aggregation: Aggregation,
    credentials: Any,
    report: Report,
) -> None:
    """Each round: send the model out, collect the sum, make the mean of it, update."""
    for group in groups:
        await link.in_round(group.round).broadcast(group.contributors, "model", parameters)
        total, who = await aggregation.collect(link, group, credentials)
        updated = method.update(parameters, average.mean(total, parameters, who))
        parameters = cast_like(updated, parameters, sender=who)
        report(group.round, parameters)
    await link.in_round(len(groups)).broadcast(groups[-1].contributors, "model", parameters)


def synchronous_roles(method: Synchronous, setting: Setting) -> dict[str, Role]:
    """The roles of a synchronous method: each is handed what its party knows, and no more."""
    task, aggregation = setting.task, setting.aggregation
    groups = [
        Group(SERVER, task.participants, round, setting.at_least) for round in range(setting.rounds)
    ]
    for group in groups:
        aggregation.check(group)
    parts = averages(method, setting, groups[0])
    common: dict[str, Any] = {
        "parameters": task.initial_parameters(),
        "groups": groups,
        "aggregation": aggregation,
    }
    roles: dict[str, Role] = {
        name: partial(
            participant,
            **common,
            **trainer(method, setting, name, examples=len(examples)),
            model=task.model,
            examples=examples,
            average=parts[name],
            credentials=setting.credentials[name],
        )
        for name, examples in task.data.items()
    }
    roles[SERVER] = partial(
        server,
        **common,
        method=method,
        average=parts[SERVER],
        credentials=setting.credentials[SERVER],
        report=setting.report,
    )
    return roles


def train(
    task: Task,
    *,
    rounds: int = 20,
    method: Method | None = None,
    aggregation: Aggregation | None = None,
    privacy: Privacy | RecordDP | None = None,
    seed: int = 0,
    at_least: int | None = None,
    faults: Sequence[Fault] = (),
    record: Literal["payloads", "sizes"] = "payloads",
) -> Run:
    """Train ``task`` over a server that sees updates and no examples.

    ``method``: ``FedAvg()`` (default), ``FedSGD()``, or
    ``AsynchronousSGD``, ``EncryptedSGD``, ``SelectiveSGD``, ``WeightTransmission``.
    ``aggregation``: how the server comes by the sum (default ``aggregation.Plain()``).
    ``privacy``, for ``FedAvg`` and ``FedSGD``; ``Run.epsilon`` says the price:
    ``RecordDP`` protects each record: participants train by DP-SGD;
    ``CentralGaussian``, ``DistributedGaussian`` or ``LocalGaussian`` protect each participant, who
    then weigh the same.
    ``at_least`` (all, if not given): how many participants a round needs; with it, participants
    may fail, and ``Run.errors`` says which did and why. ``seed`` sets the order of the batches.
    The run ends when every participant holds the final model.
    """
    method = FedAvg() if method is None else method
    spent = None if privacy is None else price(task, method, privacy, aggregation, at_least, rounds)
    return execute(
        "indirect",
        task,
        method,
        rounds=rounds,
        aggregation=aggregation,
        seed=seed,
        at_least=at_least,
        faults=faults,
        record=record,
        privacy=privacy,
        spent=spent,
    )


def price(
    task: Task,
    method: Any,
    privacy: Privacy | RecordDP,
    aggregation: Aggregation | None,
    at_least: int | None,
    rounds: int,
) -> Callable[[float], float]:
    """From delta to the epsilon of the run; ValueError if ``privacy`` can promise nothing."""
    if isinstance(method, type) or not hasattr(method, "origin"):
        raise ValueError(
            f"privacy must come with FedAvg() or FedSGD(), got {method!r}: what the others "
            "send has no bound that noise could be measured against"
        )
    if isinstance(privacy, RecordDP):
        return record_cost(method, privacy, map(len, task.data.values()), rounds)
    if not hasattr(privacy, "contribute"):
        raise TypeError(
            "privacy of indirect training must be RecordDP, CentralGaussian, DistributedGaussian "
            f"or LocalGaussian, got {privacy!r}"
        )
    group = Group(SERVER, task.participants, 0, at_least)
    terms = terms_of(task, aggregation or Plain(), group, rounds)
    privacy.check(terms)
    return partial(privacy.epsilon, terms=terms)
