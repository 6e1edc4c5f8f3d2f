"""The living matrix: topology × technique → accuracy and efficiency, all measured on one task.

A row is an ``Entry``: a name for the topology, one for the protection, and how to train so. More
rows and the privacy columns arrive with the techniques. Seconds differ from machine to machine
and from run to run: ``record`` writes them, with the rows, to the file of measured times.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx
    import pandas

    from refimpl.collaboration import Run
    from refimpl.learning import Task


@dataclass(frozen=True)
class Entry:
    """One row: what it is called, and ``train(task, rounds=..., seed=...)`` that yields a run."""

    topology: str
    technique: str
    method: str
    train: "Callable[..., Run]"


def entries() -> tuple[Entry, ...]:
    """The rows of the matrix, in its order."""
    from functools import partial

    from refimpl.aggregation import SecretSharing, SecureAggregation
    from refimpl.collaboration import (
        Central,
        FedAvg,
        Gossip,
        TwoServers,
        direct,
        indirect,
        peer_to_peer,
        two_servers,
    )

    def train(function: Any, method: Callable[..., Any], task: "Task", **options: Any) -> "Run":
        return function(task, method=method(learning_rate=learning_rate(task)), **options)

    def gossip_method(**options: Any) -> Gossip:
        return Gossip(graph=four_neighbours, **options)

    def on_shares(task: "Task", **options: Any) -> "Run":
        options["rounds"] = 1  # it has no more to do
        return direct.train(two_servers.linear(task), method=TwoServers(), **options)

    central = partial(train, direct.train, Central)
    fedavg = partial(train, indirect.train, FedAvg)
    gossip = partial(train, peer_to_peer.train, gossip_method)
    shared = {"aggregation": SecretSharing()}
    masked = {"aggregation": SecureAggregation(bound=16.0)}
    return (
        Entry("direct", "none", "central SGD", central),
        Entry("direct", "two servers", "least squares", on_shares),
        Entry("indirect", "none", "FedAvg", fedavg),
        Entry("indirect", "shares", "FedAvg", partial(fedavg, **shared)),
        Entry("indirect", "masks", "FedAvg", partial(fedavg, **masked)),
        Entry("peer-to-peer", "none", "gossip", gossip),
        Entry("peer-to-peer", "shares", "gossip", partial(gossip, **shared)),
        Entry("peer-to-peer", "masks", "gossip", partial(gossip, **masked)),
    )


def learning_rate(task: "Task") -> float:
    """Of the gradient methods: with the squared error, 0.1 makes them diverge."""
    return 0.01 if task.kind == "regression" else 0.1


def four_neighbours(nodes: int) -> "networkx.Graph":
    """A random graph in which each has four neighbours; up to five nodes, the complete graph.

    A protected sum needs three contributors, so a ring has too few.
    """
    from refimpl.network import topology

    return topology.complete(nodes) if nodes <= 5 else topology.random_regular(nodes, 4, seed=0)


def matrix(
    draw: "Callable[[int], Task] | None" = None,
    *,
    rounds: int = 20,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Callable[[Iterable[Entry]], Iterable[Entry]] | None = None,
) -> "pandas.DataFrame":
    """Train every entry on each draw of the data; one row for each entry.

    ``draw(seed)`` makes the task (default: ten hospitals, digits) for each of ``seeds``, which
    also set the order of the batches. Columns: accuracy (mean of ``task.metric`` over the draws)
    and its spread (largest minus smallest); bytes that a participant sends and receives (mean
    over the participants) and the messages of all, both of the first run; rounds. Everybody
    holds a final model at the end of each run. ``progress`` wraps the loop over the entries.
    """
    import pandas

    rows = [row for row, _ in measure(draw, rounds=rounds, seeds=seeds, progress=progress)]
    return pandas.DataFrame(rows).set_index(["topology", "technique"])


def measure(
    draw: "Callable[[int], Task] | None" = None,
    *,
    rounds: int = 20,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Callable[[Iterable[Entry]], Iterable[Entry]] | None = None,
) -> list[tuple[dict[str, str | int | float], float]]:
    """The rows of ``matrix``, each with the median seconds of its runs here."""
    from refimpl import learning

    if not seeds:
        raise ValueError("seeds must hold at least one seed, got none")
    tasks = [draw(seed) if draw else learning.digits(participants=10, seed=seed) for seed in seeds]
    measured = []
    for entry in progress(entries()) if progress else entries():
        runs = [
            entry.train(task, rounds=rounds, seed=seed, record="sizes")
            for task, seed in zip(tasks, seeds, strict=True)
        ]
        measured.append((_row(entry, runs), statistics.median(run.seconds for run in runs)))
    return measured


def _row(entry: Entry, runs: "Sequence[Run]") -> dict[str, str | int | float]:
    first, accuracies = runs[0], [run.accuracy for run in runs]
    return {
        "topology": entry.topology,
        "technique": entry.technique,
        "method": entry.method,
        "accuracy": statistics.fmean(accuracies),
        "spread": max(accuracies) - min(accuracies),
        "bytes sent": round(first.sent),
        "bytes received": round(first.received),
        "messages": len(first.transcript),
        "rounds": first.rounds,
    }
