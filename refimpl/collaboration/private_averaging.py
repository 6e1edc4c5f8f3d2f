"""Federated averaging under client-level differential privacy: who clips, who adds noise.

The roles of ``indirect`` with a ``refimpl.learning.privacy`` between training and aggregation. A
participant hands in ``privacy.contribute(what it learned - origin)``; the server divides
``privacy.release(sum)`` by the number of participants, which is public, whoever dropped out.
All participants weigh the same: a weight by examples would tell how many there are.

Adversary: see the privacy and the aggregation that are chosen. Whoever joins in sees each round's
model, which the account counts as released.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from refimpl.aggregation import Aggregation, Group
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.collaboration.run import SERVER, Report, Setting, cast_like, receive_like
from refimpl.learning import Examples, Model, Task
from refimpl.learning.privacy import Privacy, Terms
from refimpl.network import Link, MalformedMessage
from refimpl.network.runner import Role


def terms_of(task: Task, aggregation: Aggregation, group: Group, rounds: int) -> Terms:
    """The public terms of a run in which ``group`` sums in each round."""
    encoding_of = getattr(aggregation, "encoding", None)  # Plain has none
    return Terms(
        clients=len(group.contributors),
        least=group.needed,
        size=task.model.size,
        rounds=whole("rounds", rounds, 1),
        encoding=encoding_of(group) if encoding_of else None,
    )


def roles(method: Any, setting: Setting, privacy: Privacy) -> dict[str, Role]:
    """The roles of a synchronous method: each is handed what its party knows, and no more."""
    task, aggregation = setting.task, setting.aggregation
    groups = [
        Group(SERVER, task.participants, round, setting.at_least) for round in range(setting.rounds)
    ]
    for group in groups:
        aggregation.check(group)
    common = {
        "method": method,
        "parameters": task.initial_parameters(),
        "groups": groups,
        "aggregation": aggregation,
        "privacy": privacy,
        "terms": terms_of(task, aggregation, groups[0], setting.rounds),
    }
    found: dict[str, Role] = {
        name: partial(
            participant,
            **common,
            model=task.model,
            examples=examples,
            credentials=setting.credentials[name],
            rng=setting.generator("local training", name),
            noise=privacy.generator(name),
        )
        for name, examples in task.data.items()
    }
    found[SERVER] = partial(
        server,
        **common,
        credentials=setting.credentials[SERVER],
        noise=privacy.generator(SERVER),
        report=setting.report,
    )
    return found


async def participant(
    link: Link,
    method: Any,
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    groups: Sequence[Group],
    aggregation: Aggregation,
    credentials: Any,
    privacy: Privacy,
    terms: Terms,
    rng: np.random.Generator,
    noise: CryptoGenerator,
) -> np.ndarray:
    """Each round: fetch the model, compute locally, contribute the update made private."""
    for group in groups:
        here = link.in_round(group.round)
        parameters = await receive_like(here, SERVER, "model", parameters)
        local = await link.compute(method.local(model, parameters, examples, rng))
        update = local - method.origin(parameters)
        vector = privacy.contribute(update, terms, noise)
        await aggregation.contribute(link, vector, group, credentials)
    return await receive_like(link.in_round(len(groups)), SERVER, "model", parameters)


async def server(
    link: Link,
    method: Any,
    parameters: np.ndarray,
    groups: Sequence[Group],
    aggregation: Aggregation,
    credentials: Any,
    privacy: Privacy,
    terms: Terms,
    noise: CryptoGenerator,
    report: Report,
) -> None:
    """Each round: send the model out, collect the sum, release it, divide, update."""
    for group in groups:
        await link.in_round(group.round).broadcast(group.contributors, "model", parameters)
        total, who = await aggregation.collect(link, group, credentials)
        if total.shape != parameters.shape:
            raise MalformedMessage(
                f"the contributions of {list(who)} must be {len(parameters)} values, their sum is "
                f"of shape {total.shape}",
                who,
            )
        mean = privacy.release(total, terms, noise) / terms.clients  # not by who answered
        updated = method.update(parameters, method.origin(parameters) + mean)
        parameters = cast_like(updated, parameters, sender=who)
        report(group.round, parameters)
    await link.in_round(len(groups)).broadcast(groups[-1].contributors, "model", parameters)
