"""Asynchronous SGD: the server applies each gradient on arrival, however old it is.

Adversary: none withstood. The server sees the gradient of every batch in clear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

import numpy as np

from refimpl.collaboration.run import (
    SERVER,
    Report,
    Setting,
    check_count,
    check_like,
    check_positive,
    make_floats,
    receive_like,
)
from refimpl.learning import Examples, Gradient, Model
from refimpl.network import Link
from refimpl.network.runner import Role


@dataclass(frozen=True, kw_only=True)
class AsynchronousSGD:
    """The server applies each gradient on arrival, however old: w_{t+1} ← w_t − α ∇L_k(w_{t−τ}).

    ``staleness`` τ is how many updates happened since the participant fetched the weights; it is
    fixed, so that its price can be measured (in practice it varies with the participants'
    speed). The participants take turns; a round is one turn of each. ``batch_size=None`` takes
    the gradient over all local examples. With τ = 0 this is SGD over the participants' batches.
    Source: Dean et al. 2012, section 4.1 (Downpour SGD), with one step between exchanges.
    """

    learning_rate: float = 0.1
    batch_size: int | None = None
    staleness: int = 0

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        make_floats(self, "learning_rate")
        if self.batch_size is not None:
            check_count(batch_size=self.batch_size)
        check_count(0, staleness=self.staleness)

    def server_roles(self, setting: Setting) -> dict[str, Role]:
        """A participant's turn is one fetch and one gradient."""
        setting.require_plain(self)
        task = setting.task
        parameters = task.initial_parameters()
        turns = turn_order(task.participants, setting.rounds)
        roles: dict[str, Role] = {
            name: partial(
                asynchronous_participant,
                turns=[turn for turn, whose in enumerate(turns) if whose == name],
                last=len(turns),
                batch_size=self.batch_size,
                model=task.model,
                parameters=parameters,
                examples=examples,
                rng=setting.generator("local training", name),
            )
            for name, examples in task.data.items()
        }
        roles[SERVER] = partial(
            asynchronous_server,
            turns=turns,
            participants=task.participants,
            method=self,
            parameters=parameters,
            report=setting.report,
        )
        return roles


def turn_order(participants: Sequence[str], rounds: int) -> list[str]:
    """Whose turn it is: everybody once a round, in name order."""
    return list(islice(cycle(participants), rounds * len(participants)))


async def asynchronous_participant(
    link: Link,
    turns: Sequence[int],
    last: int,
    batch_size: int | None,
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    rng: np.random.Generator,
) -> np.ndarray:
    """At each of its turns: fetch the weights, send the gradient of one batch."""
    size = len(examples) if batch_size is None else min(batch_size, len(examples))
    order: np.ndarray = np.empty(0, np.int64)
    for turn in turns:
        if len(order) < size:
            order = rng.permutation(len(examples))
        chosen, order = order[:size], order[size:]
        here = link.in_round(turn)
        parameters = await receive_like(here, SERVER, "model", parameters)
        job = Gradient(model, parameters, examples.x[chosen], examples.y[chosen])
        await here.send(SERVER, "gradient", await here.compute(job))
    return await receive_like(link.in_round(last), SERVER, "model", parameters)


async def asynchronous_server(
    link: Link,
    turns: Sequence[str],
    participants: Sequence[str],
    method: AsynchronousSGD,
    parameters: np.ndarray,
    report: Report,
) -> None:
    """Hand weights out ``staleness`` turns ahead of the gradient that is applied."""
    for turn in range(len(turns) + method.staleness):
        if turn < len(turns):
            await link.in_round(turn).send(turns[turn], "model", parameters)
        applied = turn - method.staleness
        if applied >= 0:
            sender = turns[applied]
            here = link.in_round(applied)
            gradient = await receive_like(here, sender, "gradient", parameters)
            updated = parameters - method.learning_rate * gradient
            parameters = check_like(updated, parameters, sender=sender)
            if (applied + 1) % len(participants) == 0:
                report(applied // len(participants), parameters)
    await link.in_round(len(turns)).broadcast(participants, "model", parameters)
