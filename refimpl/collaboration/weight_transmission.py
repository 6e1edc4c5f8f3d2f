"""Weight transmission: the weights travel from trainer to trainer, instead of gradients.

Adversary: in clear, none withstood. Whoever holds the weights before and after a participant's turn
(the relay, or both neighbours together) sees its update. ``encrypted=True`` keeps them from all who
lack the trainers' key: see ``encrypted_weights``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from refimpl.collaboration import encrypted_weights
from refimpl.collaboration.run import SERVER, LocalSGD, Report, Setting, receive_like
from refimpl.learning import Examples, Model
from refimpl.network import Link
from refimpl.network.runner import Role


@dataclass(frozen=True, kw_only=True)
class WeightTransmission(LocalSGD):
    """Hand the weights from trainer to trainer: sequential SGD over everybody's examples.

    Each participant in turn trains ``epochs`` passes (1 unless given) over its examples and
    passes the weights on; a round is one turn of each. Bit for bit it is SGD over the
    participants' batches in a row. Indirect, a server relays the weights (SNT); peer-to-peer, they
    go straight to the next participant (FNT). ``encrypted``: whether they travel, as in the
    original, under a key that the participants share and the server lacks. No bit changes.
    Source: Phong and Phuong 2019, sections 3 and 4.
    """

    epochs: int = 1
    encrypted: bool = False

    def peer_roles(self, setting: Setting) -> dict[str, Role]:
        """The roles without a server: the weights go from each trainer to the next."""
        setting.require_plain(self)
        if self.encrypted:
            return encrypted_weights.roles(self, setting, relayed=False)
        task = setting.task
        return {
            name: partial(
                chained_trainer,
                method=self,
                order=task.participants,
                rounds=setting.rounds,
                parameters=task.initial_parameters(),
                model=task.model,
                examples=examples,
                rng=setting.generator("local training", name),
                report=setting.report,
            )
            for name, examples in task.data.items()
        }

    def server_roles(self, setting: Setting) -> dict[str, Role]:
        """The roles with a server as relay."""
        setting.require_plain(self)
        if self.encrypted:
            return encrypted_weights.roles(self, setting, relayed=True)
        task = setting.task
        parameters = task.initial_parameters()
        roles: dict[str, Role] = {
            name: partial(
                relayed_trainer,
                method=self,
                rounds=setting.rounds,
                parameters=parameters,
                model=task.model,
                examples=examples,
                rng=setting.generator("local training", name),
            )
            for name, examples in task.data.items()
        }
        roles[SERVER] = partial(
            relay,
            participants=task.participants,
            rounds=setting.rounds,
            parameters=parameters,
            report=setting.report,
        )
        return roles


async def relayed_trainer(
    link: Link,
    method: WeightTransmission,
    rounds: int,
    parameters: np.ndarray,
    model: Model,
    examples: Examples,
    rng: np.random.Generator,
) -> np.ndarray:
    """Each round: take the weights from the server, train, give them back."""
    for round in range(rounds):
        here = link.in_round(round)
        parameters = await receive_like(here, SERVER, "weights", parameters)
        trained = await here.compute(method.local(model, parameters, examples, rng))
        await here.send(SERVER, "weights", trained)
    return await receive_like(link.in_round(rounds), SERVER, "weights", parameters)


async def relay(
    link: Link,
    participants: Sequence[str],
    rounds: int,
    parameters: np.ndarray,
    report: Report,
) -> None:
    """Pass the weights from trainer to trainer; at the end every participant gets them."""
    for round in range(rounds):
        here = link.in_round(round)
        for name in participants:
            await here.send(name, "weights", parameters)
            parameters = await receive_like(here, name, "weights", parameters)
        report(round, parameters)
    await link.in_round(rounds).broadcast(participants, "weights", parameters)


async def chained_trainer(
    link: Link,
    method: WeightTransmission,
    order: Sequence[str],
    rounds: int,
    parameters: np.ndarray,
    model: Model,
    examples: Examples,
    rng: np.random.Generator,
    report: Report,
) -> np.ndarray:
    """Each round: take the weights from the trainer before, train, pass them on."""
    me, last = list(order).index(link.name), order[-1]
    before, after = order[me - 1], order[(me + 1) % len(order)]
    for round in range(rounds):
        if round > 0 or me > 0:  # the very first trainer starts from the common weights
            here = link.in_round(round)
            parameters = await receive_like(here, before, "weights", parameters)
        parameters = await link.compute(method.local(model, parameters, examples, rng))
        if link.name == last:
            report(round, parameters)
        if link.name != last or round < rounds - 1:
            at = round + 1 if link.name == last else round
            await link.in_round(at).send(after, "weights", parameters)
    if link.name != last:
        return await receive_like(link.in_round(rounds), last, "weights", parameters)
    await link.in_round(rounds).broadcast(order[:-1], "weights", parameters)
    return parameters
