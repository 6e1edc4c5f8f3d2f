"""The living matrix: topology × technique → privacy, efficiency and accuracy, on one task.

A row is an ``Entry``: a name for the topology, one for the protection, whom differential privacy
protects, and how to train so. Seconds differ from machine to machine and from run to run:
``record`` writes them, with the rows, to the file of measured times.

Noise is seeded here, so that rows repeat themselves; it PROTECTS NOBODY. Each private row spends an
epsilon of about 8 at ``DELTA`` on ten hospitals with digits. Its numbers were tried on those data,
which no epsilon here pays for.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx
    import pandas

    from refimpl.collaboration import Run
    from refimpl.learning import Task

CLASSES = ("classification",)
IMAGES = ("digits", "MNIST")  # their features lie in 0..1; those of other data are standardised
DELTA = 1e-5  # of every epsilon in the matrix: below one over the number of images


@dataclass(frozen=True)
class Entry:
    """One row: what it is called, and ``train(task, rounds=..., seed=...)`` that yields a run.

    ``protects``: whom the run's epsilon is for, "record" or "participant"; "" if it has none.
    ``kinds``: of the tasks that it can learn.
    """

    topology: str
    technique: str
    method: str
    train: "Callable[..., Run]"
    protects: str = ""
    kinds: tuple[str, ...] = ("classification", "regression")


def entries() -> tuple[Entry, ...]:
    """The rows of the matrix, in its order."""
    return (*_direct(), *_indirect(), *_peer_to_peer())


def _direct() -> Iterable[Entry]:
    from refimpl import learning
    from refimpl.aggregation import Paillier
    from refimpl.collaboration import (
        Central,
        EncryptedStatistics,
        PrivateLogisticRegression,
        direct,
        two_servers,
    )

    def plain(task: "Task", **options: Any) -> "Run":
        return direct.train(task, method=Central(learning_rate=learning_rate(task)), **options)

    def on_shares(task: "Task", **options: Any) -> "Run":
        options["rounds"] = 1  # it has no more to do
        method = two_servers.TwoServers()
        return direct.train(two_servers.linear(task), method=method, **options)

    def on_ciphertexts(task: "Task", **options: Any) -> "Run":
        options["rounds"] = 1  # it has no more to do
        method = EncryptedStatistics(aggregation=Paillier())
        return direct.train(two_servers.linear(task), method=method, **options)

    def dp_sgd(task: "Task", *, seed: int, **options: Any) -> "Run":
        method = Central(learning_rate=0.5, batch_size=64)
        privacy = learning.RecordDP(noise_multiplier=0.9, seed=seed)
        return direct.train(task, method=method, privacy=privacy, seed=seed, **options)

    def objective(task: "Task", *, seed: int, **options: Any) -> "Run":
        norm = task.model.inputs**0.5 / 2
        method = PrivateLogisticRegression(epsilon=8.0, data_norm=norm, ridge=30.0, seed=seed)
        options["rounds"] = 1  # it has no more to do
        return direct.train(two_servers.linear(task), method=method, seed=seed, **options)

    def uploads(task: "Task", *, seed: int, **options: Any) -> "Run":
        low, high = (0.0, 1.0) if task.name in IMAGES else (-3.0, 3.0)
        privacy = learning.LocalDP(
            epsilon_features=7.0, epsilon_label=1.0, low=low, high=high, seed=seed
        )
        method = Central(learning_rate=0.001)
        return direct.train(task, method=method, privacy=privacy, seed=seed, **options)

    yield Entry("direct", "none", "central SGD", plain)
    yield Entry("direct", "two servers", "least squares", on_shares)
    yield Entry("direct", "Paillier", "least squares", on_ciphertexts)
    yield Entry("direct", "DP-SGD", "central SGD", dp_sgd, "record")
    yield Entry("direct", "noisy loss", "linear", objective, "record", CLASSES)
    yield Entry("direct", "noisy uploads", "central SGD", uploads, "record", CLASSES)


def _indirect() -> Iterable[Entry]:
    from refimpl import learning
    from refimpl.aggregation import (
        Lattice,
        Paillier,
        SecretSharing,
        SecureAggregation,
        ThresholdLattice,
    )
    from refimpl.collaboration import FedAvg, indirect

    def plain(task: "Task", *, privacy: Any = None, **options: Any) -> "Run":
        own = privacy and privacy(seed=options["seed"])
        method = FedAvg(learning_rate=learning_rate(task))
        return indirect.train(task, method=method, privacy=own, **options)

    def dp_sgd(task: "Task", *, seed: int, **options: Any) -> "Run":
        method = FedAvg(learning_rate=1.0, epochs=1)
        privacy = learning.RecordDP(noise_multiplier=1.18, seed=seed)
        return indirect.train(task, method=method, privacy=privacy, seed=seed, **options)

    shares, masks = SecretSharing(), SecureAggregation(bound=16.0)
    fine = SecureAggregation(bound=16.0, bits=24)
    central = partial(learning.CentralGaussian, noise_multiplier=2.7, clipping_norm=0.3)
    parts = partial(learning.DistributedGaussian, noise_multiplier=2.85, clipping_norm=0.3)
    noisy, masked = partial(plain, privacy=central), partial(plain, privacy=parts, aggregation=fine)
    yield Entry("indirect", "none", "FedAvg", plain)
    yield Entry("indirect", "shares", "FedAvg", partial(plain, aggregation=shares))
    yield Entry("indirect", "masks", "FedAvg", partial(plain, aggregation=masks))
    yield Entry("indirect", "Paillier", "FedAvg", partial(plain, aggregation=Paillier()))
    yield Entry("indirect", "lattice", "FedAvg", partial(plain, aggregation=Lattice()))
    no_holder = partial(plain, aggregation=ThresholdLattice())
    yield Entry("indirect", "threshold lattice", "FedAvg", no_holder)
    yield Entry("indirect", "DP-SGD", "FedAvg", dp_sgd, "record")
    yield Entry("indirect", "server noise", "FedAvg", noisy, "participant")
    yield Entry("indirect", "masks, noise", "FedAvg", masked, "participant")


def _peer_to_peer() -> Iterable[Entry]:
    from refimpl import learning
    from refimpl.aggregation import SecretSharing, SecureAggregation, ThresholdLattice
    from refimpl.collaboration import Gossip, peer_to_peer

    def plain(task: "Task", **options: Any) -> "Run":
        method = Gossip(graph=four_neighbours, learning_rate=learning_rate(task))
        return peer_to_peer.train(task, method=method, **options)

    def dp_sgd(task: "Task", *, seed: int, **options: Any) -> "Run":
        method = Gossip(graph=four_neighbours, learning_rate=1.0, epochs=1)
        privacy = learning.RecordDP(noise_multiplier=1.18, seed=seed)
        return peer_to_peer.train(task, method=method, privacy=privacy, seed=seed, **options)

    def own_noise(task: "Task", *, seed: int, **options: Any) -> "Run":
        privacy = learning.LocalGaussian(noise_multiplier=2.7, clipping_norm=0.3, seed=seed)
        return plain(task, privacy=privacy, seed=seed, **options)

    shares, masks = SecretSharing(), SecureAggregation(bound=16.0)
    yield Entry("peer-to-peer", "none", "gossip", plain)
    yield Entry("peer-to-peer", "shares", "gossip", partial(plain, aggregation=shares))
    yield Entry("peer-to-peer", "masks", "gossip", partial(plain, aggregation=masks))
    no_holder = partial(plain, aggregation=ThresholdLattice())
    yield Entry("peer-to-peer", "threshold lattice", "gossip", no_holder)
    yield Entry("peer-to-peer", "DP-SGD", "gossip", dp_sgd, "record")
    yield Entry("peer-to-peer", "own noise", "gossip", own_noise, "participant")


def learning_rate(task: "Task") -> float:
    """Of the gradient methods: with the squared error, 0.1 makes them diverge."""
    return 0.01 if task.kind == "regression" else 0.1


def four_neighbours(nodes: int) -> "networkx.Graph":
    """A random graph in which each has four neighbours; up to five nodes, the complete graph.

    A protected sum needs three contributors, so a ring has too few.
    """
    from refimpl.network import topology

    return topology.complete(nodes) if nodes <= 5 else topology.random_regular(nodes, 4, seed=0)


Row = dict[str, str | int | float | None]


def matrix(
    draw: "Callable[[int], Task] | None" = None,
    *,
    rounds: int = 20,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Callable[[Iterable[Entry]], Iterable[Entry]] | None = None,
) -> "pandas.DataFrame":
    """Train every entry on each draw of the data; one row for each entry.

    ``draw(seed)`` makes the task (default: ten hospitals, digits) for each of ``seeds``, which
    also set the order of the batches and the noise. Columns: method; whom differential privacy
    protects, and its epsilon at ``DELTA`` (the largest of the runs; NaN if there is none); accuracy
    (mean of ``task.metric`` over the draws) and its spread (largest minus smallest); bytes that a
    participant sends and receives (mean over the participants) and the messages of all, both of the
    first run; rounds. Everybody holds a final model at the end of each run. Entries that cannot
    learn this kind of task are left out. ``progress`` wraps the loop over the others.
    """
    import pandas

    rows = [row for row, _ in measure(draw, rounds=rounds, seeds=seeds, progress=progress)]
    return pandas.DataFrame(rows).set_index(["topology", "technique"]).astype({"epsilon": float})


def measure(
    draw: "Callable[[int], Task] | None" = None,
    *,
    rounds: int = 20,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Callable[[Iterable[Entry]], Iterable[Entry]] | None = None,
) -> list[tuple[Row, float]]:
    """The rows of ``matrix``, each with the median seconds of its runs here."""
    from refimpl import learning

    if not seeds:
        raise ValueError("seeds must hold at least one seed, got none")
    tasks = [draw(seed) if draw else learning.digits(participants=10, seed=seed) for seed in seeds]
    measured = []
    fitting = [entry for entry in entries() if tasks[0].kind in entry.kinds]
    for entry in progress(fitting) if progress else fitting:
        runs = [
            entry.train(task, rounds=rounds, seed=seed, record="sizes")
            for task, seed in zip(tasks, seeds, strict=True)
        ]
        measured.append((_row(entry, runs), statistics.median(run.seconds for run in runs)))
    return measured


def _row(entry: Entry, runs: "Sequence[Run]") -> Row:
    first, accuracies = runs[0], [run.accuracy for run in runs]
    return {
        "topology": entry.topology,
        "technique": entry.technique,
        "method": entry.method,
        "protects": entry.protects,
        "epsilon": max(run.epsilon(DELTA) for run in runs) if entry.protects else None,
        "accuracy": statistics.fmean(accuracies),
        "spread": max(accuracies) - min(accuracies),
        "bytes sent": round(first.sent),
        "bytes received": round(first.received),
        "messages": len(first.transcript),
        "rounds": first.rounds,
    }
