"""Weight transmission under a key that the trainers share and nobody else has.

Turn t = 0, 1, ..., rounds·n - 1 is that of trainer k = t mod n:

    w_t = what trainer k makes of w_(t-1)            w_(-1): the initial weights, which all know
    what travels: AES-256-GCM of the bytes of w_t, with t as its nonce

so the weights are those of sequential SGD, bit for bit. With a server as relay (SNT), each trainer
hands them to it and it hands them on; without (FNT), they go straight to the next trainer. A key
holder draws the key and hands it out, ``roles`` stands for it: a fresh one each run, which each
turn uses once.

Adversary: who lacks the key (the server, or whoever taps the links) reads nothing and changes
nothing: what is altered, exchanged or sent again in another turn is refused by its tag. It sees
whose turn it is and how long the weights are, and it may stop the run. A trainer sees the weights
that it is handed, which others' examples have shaped. Whoever has the key and what the relay
sees, so the relay with any one trainer, sees every update, as in ``weight_transmission`` in clear.
Both neighbours of a trainer see its update together. One is enough beside the first turn, as all
know the initial weights, and beside the last, as all receive the final ones.
Lies: a trainer may hand on any weights.
Source: Phong and Phuong 2019, sections 3 and 4.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from refimpl.arithmetic import randomness
from refimpl.collaboration.run import SERVER, LocalSGD, Report, Setting, check_like
from refimpl.learning import Examples, Model
from refimpl.network import Link, MalformedMessage, channel
from refimpl.network.runner import Role

TOPIC = "sealed weights"


def roles(method: LocalSGD, setting: Setting, *, relayed: bool) -> dict[str, Role]:
    """The role of every trainer, and of the server where it relays."""
    task = setting.task
    key = randomness.secure().bytes(channel.KEY_BYTES)
    found: dict[str, Role] = {
        name: partial(
            trainer,
            method=method,
            key=key,
            order=task.participants,
            relayed=relayed,
            turns=setting.rounds * len(task.participants),
            parameters=task.initial_parameters(),
            model=task.model,
            examples=examples,
            rng=setting.generator("local training", name),
            report=setting.report,
        )
        for name, examples in task.data.items()
    }
    if relayed:
        found[SERVER] = partial(
            relay,
            order=task.participants,
            turns=setting.rounds * len(task.participants),
            size=len(seal(key, 0, task.initial_parameters())),
        )
    return found


async def trainer(
    link: Link,
    method: LocalSGD,
    key: bytes,
    order: Sequence[str],
    relayed: bool,
    turns: int,
    parameters: np.ndarray,
    model: Model,
    examples: Examples,
    rng: np.random.Generator,
    report: Report,
) -> np.ndarray:
    """At each of its turns: open the weights, train, hand them on sealed."""
    me, count = list(order).index(link.name), len(order)
    before, after = (SERVER, SERVER) if relayed else (order[me - 1], order[(me + 1) % count])
    for turn in range(me, turns, count):
        if turn > 0:
            parameters = await receive(link, before, key, turn - 1, parameters)
        parameters = await link.compute(method.local(model, parameters, examples, rng))
        if me == count - 1:
            report(turn // count, parameters)
        receivers = order[:-1] if turn == turns - 1 and not relayed else [after]
        sealed = seal(key, turn, parameters)
        await link.in_round(turn).broadcast(receivers, TOPIC, sealed)
    if me == count - 1 and not relayed:
        return parameters
    return await receive(link, SERVER if relayed else order[-1], key, turns - 1, parameters)


async def relay(link: Link, order: Sequence[str], turns: int, size: int) -> None:
    """Pass what it cannot read from trainer to trainer, and what comes last to all of them."""
    for turn in range(turns):
        here, sender = link.in_round(turn), order[turn % len(order)]
        sealed = await here.receive(sender, TOPIC)
        if not isinstance(sealed, bytes) or len(sealed) != size:
            raise MalformedMessage(f"{sender!r} must send {size} bytes", [sender])
        last = turn == turns - 1
        receivers = order if last else [order[(turn + 1) % len(order)]]
        await here.broadcast(receivers, TOPIC, sealed)


def seal(key: bytes, turn: int, weights: np.ndarray) -> bytes:
    """What travels after ``turn``. A key seals once a turn, for the turn is the nonce."""
    return channel.seal(key, TOPIC.encode(), turn, weights.tobytes())


async def receive(link: Link, sender: str, key: bytes, turn: int, like: np.ndarray) -> np.ndarray:
    """The weights after ``turn``; MalformedMessage, naming the sender, for anything else."""
    sealed = await link.in_round(turn).receive(sender, TOPIC)
    try:
        data = channel.open_sealed(key, TOPIC.encode(), turn, sealed)
        weights = np.frombuffer(data, like.dtype)
    except (TypeError, ValueError) as error:
        raise MalformedMessage(
            f"{sender!r} must send the weights after turn {turn} as their trainer sealed them: "
            f"{error}",
            [sender],
        ) from error
    return check_like(weights, like, sender=sender)
