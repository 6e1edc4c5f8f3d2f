"""The living matrix: topology × technique → accuracy and efficiency, all measured on one task.

A row is an ``Entry``: a name for the topology, one for the protection, and how to train so. More
rows and the privacy columns arrive with the techniques. Seconds differ from machine to machine
and from run to run: ``record`` writes them, with the rows, to the file of measured times.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

    from refimpl.collaboration import Central, FedAvg, Gossip, direct, indirect, peer_to_peer

    return (
        Entry("direct", "none", "central SGD", partial(direct.train, method=Central())),
        Entry("indirect", "none", "FedAvg", partial(indirect.train, method=FedAvg())),
        Entry(
            "peer-to-peer", "none", "gossip on a ring", partial(peer_to_peer.train, method=Gossip())
        ),
    )


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
