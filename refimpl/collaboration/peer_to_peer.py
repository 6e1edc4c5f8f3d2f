"""The peer-to-peer approach: participants share parameters with each other, without a server.

``Gossip`` lives here: train locally, then mix with the neighbours. Each neighbourhood is a group
of an ``Aggregation``, so a protection is exchanged without touching the roles. Other methods
have modules of their own: ``all_reduce``, ``brain_torrent`` and ``weight_transmission``.

Adversary: with ``aggregation.Plain``, none withstood. Every neighbour sees a participant's
parameters in every round (indirect leakage), and there is no server to trust or to attack.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from refimpl import network
from refimpl.aggregation import Aggregation, Group, Plain
from refimpl.collaboration.run import (
    LocalSGD,
    Report,
    Run,
    Setting,
    cast_like,
    check_count,
    check_like,
    execute,
)
from refimpl.collaboration.trainers import Trainer, peer_price, peer_trainer
from refimpl.learning import Examples, Model, Task
from refimpl.learning.privacy import LocalGaussian
from refimpl.learning.record_privacy import RecordDP
from refimpl.network import Fault, Link, topology
from refimpl.network.runner import Role

if TYPE_CHECKING:
    import networkx


class Method(Protocol):
    """A way to update weights among peers."""

    def peer_roles(self, setting: Setting) -> dict[str, Role]:
        """The role of every participant."""
        ...


@dataclass(frozen=True, kw_only=True)
class Gossip(LocalSGD):
    """Decentralised SGD: train locally, then average with the neighbours, w_i ← Σ_j W_ij w_j.

    ``graph``: who is whose neighbour, a graph on nodes 0..n-1 or a function of n that makes it.
    ``weights``: from a graph to its mixing matrix W, which is public and doubly stochastic; the
    sender scales by W[receiver, sender]. Participants of any size count alike. ``epochs`` is 5
    unless given.
    Source: Lian et al. 2017, Algorithm 1, in the order train, then mix.
    """

    graph: "networkx.Graph | Callable[[int], networkx.Graph]" = topology.ring
    weights: "Callable[[networkx.Graph], np.ndarray]" = topology.metropolis_weights

    def mixing_matrix(self, nodes: int) -> np.ndarray:
        """W, shape (nodes, nodes); ``ValueError`` unless it is doubly stochastic."""
        graph = self.graph(nodes) if callable(self.graph) else self.graph
        if len(graph) != nodes:
            raise ValueError(
                f"the graph must have a node for each of the {nodes} participants, got {len(graph)}"
            )
        weights = self.weights(graph)
        topology.check_mixing(weights)
        if len(weights) != nodes:
            raise ValueError(
                f"weights must have a row for each of the {nodes} participants, got {len(weights)}"
            )
        return weights

    def peer_roles(self, setting: Setting) -> dict[str, Role]:
        """The roles: each participant is handed its own weights and its neighbours' names."""
        task = setting.task
        names = task.participants
        weights = self.mixing_matrix(len(names))
        check_neighbourhoods(setting.aggregation, names, weights)
        return {
            name: partial(
                peer,
                **peer_trainer(self, setting, name),
                model=task.model,
                parameters=task.initial_parameters(),
                examples=task.data[name],
                rounds=setting.rounds,
                neighbourhoods=neighbourhoods(names, weights, name),
                own_weight=float(weights[node, node]),
                aggregation=setting.aggregation,
                credentials=setting.credentials[name],
                report=setting.report,
            )
            for node, name in enumerate(names)
        }


@dataclass(frozen=True)
class Neighbourhood:
    """A group that a party belongs to, and the weight of that party's values in it."""

    collector: str
    contributors: tuple[str, ...]
    weight: float


def neighbourhoods(
    names: Sequence[str], weights: np.ndarray, name: str
) -> tuple[Neighbourhood, ...]:
    """The neighbourhoods that ``name`` collects or contributes to, in order of the collectors.

    Everybody serves its groups in this one order, so no two of them wait for each other.
    """
    me = names.index(name)
    found = []
    for node in sorted(range(len(names)), key=names.__getitem__):
        contributors = neighbours(names, weights, node)
        if contributors and (node == me or name in contributors):
            found.append(Neighbourhood(names[node], contributors, float(weights[node, me])))
    return tuple(found)


def neighbours(names: Sequence[str], weights: np.ndarray, node: int) -> tuple[str, ...]:
    """Those whose values ``node`` adds to its own, in the order of their names."""
    linked: list[int] = np.flatnonzero(weights[node]).tolist()
    return tuple(sorted(names[other] for other in linked if other != node))


def check_neighbourhoods(
    aggregation: Aggregation, names: Sequence[str], weights: np.ndarray
) -> None:
    """Raise ``ValueError`` unless ``aggregation`` can serve each neighbourhood."""
    for node, name in enumerate(names):
        contributors = neighbours(names, weights, node)
        if contributors:
            aggregation.check(Group(name, contributors, 0))


async def mix(
    link: Link,
    vector: np.ndarray,
    round: int,
    neighbourhoods: Sequence[Neighbourhood],
    own_weight: float,
    aggregation: Aggregation,
    credentials: Any,
) -> np.ndarray:
    """One round of gossip: Σ_j W_ij x_j, in the type of ``vector``."""
    mixed = own_weight * vector
    who: tuple[str, ...] = ()
    for area in neighbourhoods:
        group = Group(area.collector, area.contributors, round)
        if area.collector == link.name:
            total, who = await aggregation.collect(link, group, credentials)
            mixed = mixed + check_like(total, vector.astype(np.float64), sender=who)
        else:
            scaled = (area.weight * vector).astype(vector.dtype)
            await aggregation.contribute(link, scaled, group, credentials)
    return cast_like(mixed, vector, sender=who)


async def peer(
    link: Link,
    method: Trainer,
    model: Model,
    parameters: np.ndarray,
    examples: Examples,
    rounds: int,
    neighbourhoods: Sequence[Neighbourhood],
    own_weight: float,
    aggregation: Aggregation,
    credentials: Any,
    rng: Any,
    report: Report,
) -> np.ndarray:
    """Each round: train locally, then mix with the neighbours."""
    for round in range(rounds):
        parameters = await link.compute(method.local(model, parameters, examples, rng))
        parameters = await mix(
            link, parameters, round, neighbourhoods, own_weight, aggregation, credentials
        )
        report(round, parameters)
    return parameters


def average(
    values: np.ndarray,
    weights: np.ndarray,
    rounds: int,
    *,
    aggregation: Aggregation | None = None,
    faults: Sequence[Fault] = (),
) -> tuple[np.ndarray, network.Transcript]:
    """Gossip alone, x ← W x: how a value spreads when nobody trains.

    ``values``: floats, shape (nodes, length), row i is what node i starts with. Returns what the
    nodes hold after 0, 1, …, ``rounds`` rounds, shape (rounds + 1, nodes, length), and the
    transcript. Node i is the party ``f"node {i}"``, with leading zeros.
    """
    check_count(rounds=rounds)
    topology.check_mixing(weights)
    if values.ndim != 2 or len(values) != len(weights) or values.dtype.kind != "f":
        raise ValueError(
            f"values must be floats of shape (nodes={len(weights)}, length), got {values.dtype} "
            f"of shape {values.shape}"
        )
    names = [f"node {node:0{len(str(len(values) - 1))}}" for node in range(len(values))]
    aggregation = aggregation or Plain()
    check_neighbourhoods(aggregation, names, weights)
    credentials = aggregation.setup(names)

    async def node(link: Link, vector: np.ndarray, **knows: Any) -> list:
        held = [vector]
        for round in range(rounds):
            held.append(await mix(link, held[-1], round, **knows))
        return held

    roles: dict[str, Role] = {
        name: partial(
            node,
            vector=values[i],
            neighbourhoods=neighbourhoods(names, weights, name),
            own_weight=float(weights[i, i]),
            aggregation=aggregation,
            credentials=credentials[name],
        )
        for i, name in enumerate(names)
    }
    outcome = network.run(roles, faults=faults)
    history = np.array([outcome.results[name] for name in names]).swapaxes(0, 1)
    return history, outcome.transcript


def train(
    task: Task,
    *,
    rounds: int = 20,
    method: Method | None = None,
    aggregation: Aggregation | None = None,
    privacy: RecordDP | LocalGaussian | None = None,
    seed: int = 0,
    faults: Sequence[Fault] = (),
    record: Literal["payloads", "sizes"] = "payloads",
) -> Run:
    """Train ``task`` among the participants alone.

    ``method``: ``Gossip()`` on a ring (default), ``RingAllReduce()``, ``BrainTorrent()`` or
    ``WeightTransmission()``. ``aggregation``: how a participant comes by the weighted sum of its
    neighbours (default ``aggregation.Plain()``). ``privacy``, for ``Gossip``: with ``RecordDP``
    each trains by DP-SGD, which protects its records; with ``LocalGaussian`` each adds noise to its
    update, which protects the participant. ``Run.epsilon`` says the price, against all others
    together. ``seed`` sets the order of the batches. A party that fails ends the run with an error
    that names it.
    """
    if len(task.participants) < 2:
        raise ValueError(f"peers must be at least 2, got {len(task.participants)}")
    method = Gossip() if method is None else method
    spent = None
    if privacy is not None:
        if not isinstance(method, Gossip):
            raise ValueError(f"privacy must come with Gossip(), got {method!r}")
        spent = peer_price(task, method, privacy, aggregation or Plain(), rounds)
    return execute(
        "peer-to-peer",
        task,
        method,
        rounds=rounds,
        aggregation=aggregation,
        seed=seed,
        faults=faults,
        record=record,
        privacy=privacy,
        spent=spent,
    )
