"""Ring all-reduce: everybody learns the sum, and sends no more than twice its own vector.

Adversary: none withstood. A participant sees partial sums; the first one that its neighbour
sends is a part of that neighbour's own vector in clear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from refimpl.collaboration.run import LocalSGD, Report, Setting, check_like, receive_like
from refimpl.learning import Examples, Model
from refimpl.network import Link
from refimpl.network.runner import Role


async def all_reduce(link: Link, vector: np.ndarray, order: Sequence[str]) -> np.ndarray:
    """The sum of everybody's ``vector``, the same bits at each party.

    ``vector``: shape (length,), of one type at all parties; integers wrap around modulo 2^b as
    numpy's do. ``order`` lists all parties around the ring. Each sends 2(n-1) messages of about
    length/n values: first the parts are summed up along the ring (reduce-scatter), then the
    finished sums go round (all-gather).
    Source: Patarasuk and Yuan 2009, section 3.
    """
    n, me = len(order), list(order).index(link.name)
    left, right = order[me - 1], order[(me + 1) % n]
    parts = np.array_split(vector, n)
    for step in range(n - 1):
        incoming = (me - step - 1) % n
        await link.send(right, f"partial sum {step}", parts[(me - step) % n])
        part = await receive_like(link, left, f"partial sum {step}", parts[incoming])
        parts[incoming] = check_like(parts[incoming] + part, part, sender=left)
    for step in range(n - 1):
        incoming = (me - step) % n
        await link.send(right, f"sum {step}", parts[(me + 1 - step) % n])
        parts[incoming] = await receive_like(link, left, f"sum {step}", parts[incoming])
    return np.concatenate(parts)


@dataclass(frozen=True, kw_only=True)
class RingAllReduce(LocalSGD):
    """Federated averaging without a server: train, then all-reduce [w·n_k/n_max, n_k/n_max].

    Everybody ends each round with the same parameters, Σ (n_k/n) w_k. ``epochs`` is 5 unless
    given.
    """

    def peer_roles(self, setting: Setting) -> dict[str, Role]:
        """The roles: each participant knows its examples, and its place in the ring."""
        setting.require_plain(self)
        task = setting.task
        return {
            name: partial(
                reducer,
                method=self,
                model=task.model,
                parameters=task.initial_parameters(),
                examples=examples,
                weight=len(examples) / setting.largest,
                rounds=setting.rounds,
                order=task.participants,
                rng=setting.generator("local training", name),
                report=setting.report,
            )
            for name, examples in task.data.items()
        }


async def reducer(
    link: Link,
    method: RingAllReduce,
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    weight: float,
    rounds: int,
    order: Sequence[str],
    rng: np.random.Generator,
    report: Report,
) -> np.ndarray:
    """Each round: train locally, all-reduce the weighted parameters, divide by the weights."""
    for round in range(rounds):
        local = await link.compute(method.local(model, parameters, examples, rng))
        vector = np.append(local * weight, weight)
        total = await all_reduce(link.in_round(round), vector.astype(local.dtype), order)
        parameters = total[:-1] / total[-1]
        report(round, parameters)
    return parameters
