"""One run of a collaboration, and what the survey asks of it: accuracy, efficiency, privacy."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from refimpl import network
from refimpl.aggregation import Aggregation, Group, Plain
from refimpl.aggregation.interface import is_count
from refimpl.learning import Examples, LocalTraining, Model, Task
from refimpl.network import Link
from refimpl.network.runner import Role

SERVER = "server"
Report = Callable[[int, np.ndarray], None]
Approach = Literal["direct", "indirect", "peer-to-peer"]

# approach: (what a method of it defines, the methods that do)
RULES: dict[Approach, tuple[str, str]] = {
    "direct": (
        "direct_roles",
        "Central(), EncryptedStatistics(), PrivateLogisticRegression(), TwoServers()",
    ),
    "indirect": (
        "server_roles",
        "AsynchronousSGD(), EncryptedSGD(), FedAvg(), FedSGD(), SelectiveSGD(), "
        "WeightTransmission()",
    ),
    "peer-to-peer": (
        "peer_roles",
        "BrainTorrent(), Gossip(), RingAllReduce(), WeightTransmission()",
    ),
}


@dataclass(frozen=True)
class Run:
    """What a run of ``train`` yields.

    ``accuracy_by_round``: test score (``task.metric``) after each round; in peer-to-peer the mean
    over the participants' own models. ``models``: the final parameters of each participant.
    ``transcript``: every message, for efficiency; ``transcript.view(...)`` is what an adversary
    saw, for privacy. ``seconds``: wall time of this run here, all parties in one process.
    ``errors``: participants that did not finish, where the run went on without them.
    ``spent``: the epsilon at a delta, if the run had a privacy; ask ``epsilon``.
    """

    approach: Approach
    method: str
    task: Task
    rounds: int
    accuracy_by_round: tuple[float, ...]
    models: dict[str, np.ndarray]
    transcript: network.Transcript
    seconds: float
    errors: dict[str, Exception] = field(default_factory=dict)
    spent: Callable[[float], float] | None = None

    def epsilon(self, delta: float) -> float:
        """What the run cost at this ``delta``; ``ValueError`` if it had no privacy."""
        if self.spent is None:
            raise ValueError("the run had privacy=None, so no epsilon holds; give a privacy")
        return self.spent(delta)

    @property
    def participants(self) -> tuple[str, ...]:
        """Their names, in order."""
        return self.task.participants

    @property
    def accuracy(self) -> float:
        """The test score after the last round."""
        return self.accuracy_by_round[-1]

    @property
    def sent(self) -> float:
        """Bytes that one participant sends, the mean over all of them."""
        return self._mean(self.transcript.bytes_sent())

    @property
    def received(self) -> float:
        """Bytes that one participant is sent, the mean over all of them."""
        return self._mean(self.transcript.bytes_received())

    def _mean(self, of: Mapping[str, int]) -> float:
        return statistics.fmean(of.get(name, 0) for name in self.participants)

    @property
    def parameters(self) -> np.ndarray:
        """The final parameters: the mean of ``models``, which in direct and indirect are equal.

        Raises ``ValueError`` if no participant holds a final model.
        """
        models = list(self.models.values())
        if not models:
            raise ValueError(f"no participant holds a final model, see errors of {[*self.errors]}")
        return np.mean(models, axis=0, dtype=np.float64).astype(models[0].dtype)


def scoring(task: Task, rounds: int) -> tuple[Report, list[list[float]]]:
    """The experimenter's instrument: scores the models that parties hold after each round.

    Returns a function for the roles, and the scores that it notes for each round. It tells the
    parties nothing: it returns ``None``, travels on no link, and has no task to ask for.
    """
    by_round: list[list[float]] = [[] for _ in range(rounds)]

    def report(round: int, parameters: np.ndarray) -> None:
        by_round[round].append(task.accuracy(parameters))

    return report, by_round


@dataclass(frozen=True, kw_only=True)
class LocalSGD:
    """How a party trains on examples it holds: minibatch SGD, w ← w − α ∇L(w; batch).

    ``epochs`` passes over the examples in a fresh random order each; ``batch_size=None`` takes
    all of them as one batch.
    """

    learning_rate: float = 0.1
    epochs: int = 5
    batch_size: int | None = 16

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)
        make_floats(self, "learning_rate")
        check_count(epochs=self.epochs)
        if self.batch_size is not None:
            check_count(batch_size=self.batch_size)

    def local(
        self, model: Model, parameters: np.ndarray, examples: Examples, rng: np.random.Generator
    ) -> LocalTraining:
        """The job that trains ``parameters`` on ``examples``."""
        return LocalTraining(
            model,
            parameters,
            examples.x,
            examples.y,
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            batch_size=self.batch_size,
            rng=rng,
        )


@dataclass(frozen=True)
class Setting:
    """What a method is run with. Each role is handed only the parts that its party may know.

    ``credentials`` maps each party to what ``aggregation.setup`` gave it.
    """

    task: Task
    rounds: int
    seed: int
    aggregation: Aggregation
    at_least: int | None
    report: Report
    credentials: Mapping[str, object]
    privacy: Any = None

    def __post_init__(self) -> None:
        if SERVER in self.task.participants:
            raise ValueError(f"participants must have other names than {SERVER!r}: rename it")
        Group(SERVER, tuple(self.task.participants), 0, self.at_least)  # checks at_least

    def generator(self, purpose: str, name: str) -> np.random.Generator:
        """The simulation's random stream of one party, for one purpose, in this run."""
        return self.task.generator(purpose, name, self.seed)

    def require_plain(self, method: object) -> None:
        """Raise ``ValueError`` unless plain: ``method`` adds up nothing through an aggregation."""
        if not isinstance(self.aggregation, Plain):
            raise ValueError(
                f"{type(method).__name__} uses no aggregation, so "
                f"{type(self.aggregation).__name__} cannot protect it: use aggregation.Plain, "
                "or FedSGD, FedAvg or Gossip"
            )
        if self.at_least is not None:
            raise ValueError(
                f"{type(method).__name__} needs every participant, so at_least must be None, "
                f"got {self.at_least}"
            )

    @property
    def largest(self) -> int:
        """Examples of the largest participant: public, it scales the weights of FedAvg."""
        return max(len(examples) for examples in self.task.data.values())


def execute(
    approach: Approach,
    task: Task,
    method: object,
    *,
    rounds: int,
    aggregation: Aggregation | None = None,
    seed: int,
    at_least: int | None = None,
    faults: Sequence[network.Fault],
    record: Literal["payloads", "sizes"],
    privacy: Any = None,
    spent: Callable[[float], float] | None = None,
) -> Run:
    """Run ``method`` in process and collect the ``Run``; the keywords are those of ``train``."""
    check_count(rounds=rounds)
    make_roles = check_method(approach, method)
    names, aggregation = task.participants, aggregation or Plain()
    parties = names if approach == "peer-to-peer" else [*names, SERVER]
    report, by_round = scoring(task, rounds)
    setting = Setting(
        task, int(rounds), seed, aggregation, at_least, report, aggregation.setup(parties), privacy
    )
    roles = make_roles(setting)
    start = time.perf_counter()
    outcome = network.run(
        roles, required=None if at_least is None else [SERVER], faults=faults, record=record
    )
    seconds = time.perf_counter() - start
    return Run(
        approach=approach,
        method=type(method).__name__,
        task=task,
        rounds=setting.rounds,
        accuracy_by_round=tuple(
            float(np.mean(scores)) if scores else np.nan for scores in by_round
        ),
        models={name: outcome.results[name] for name in names if name in outcome.results},
        transcript=outcome.transcript,
        seconds=seconds,
        errors=outcome.errors,
        spent=spent,
    )


def check_method(approach: Approach, method: object) -> Callable[[Setting], dict[str, Role]]:
    """The function of ``method`` that makes its roles; ``TypeError`` if it has none here."""
    rule, methods = RULES[approach]
    if isinstance(method, type) or not hasattr(method, rule):
        raise TypeError(
            f"method of {approach} training must be one of {methods}, or another object with "
            f"{rule}(setting), got {method!r}"
        )
    return getattr(method, rule)


def make_floats(method: object, *names: str) -> None:
    """Make fields Python floats: numpy's would change the type of the parameters they meet."""
    for name in names:
        object.__setattr__(method, name, float(getattr(method, name)))


def check_positive(**values: float) -> None:
    """Raise ``ValueError`` for the first value that is not positive and finite."""
    for name, value in values.items():
        if not (0 < value < float("inf")):
            raise ValueError(f"{name} must be positive and finite, got {value}")


def check_count(least: int = 1, /, **values: int) -> None:
    """Raise ``ValueError`` for the first value that is not a whole number ≥ ``least``."""
    for name, value in values.items():
        if not is_count(value, least):
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_like(payload: object, like: np.ndarray, *, sender: str | Sequence[str]) -> np.ndarray:
    """``payload`` if it is an array of the type and shape of ``like``, and finite.

    Raises ``MalformedMessage``, naming the sender (of a sum, all senders), otherwise.
    """
    senders = [sender] if isinstance(sender, str) else [*sender]
    if not isinstance(payload, np.ndarray):
        found = type(payload).__name__
    elif payload.dtype != like.dtype or payload.shape != like.shape:
        found = f"{payload.dtype} of shape {payload.shape}"
    elif not np.isfinite(payload).all():
        found = "values that are not finite"
    else:
        return payload
    raise network.MalformedMessage(
        f"{' and '.join(map(repr, senders))} must send finite {like.dtype} of shape {like.shape}, "
        f"got {found}",
        senders,
    )


async def receive_like(link: Link, sender: str, topic: str, like: np.ndarray) -> np.ndarray:
    """What ``sender`` sends, if it passes ``check_like``."""
    return check_like(await link.receive(sender, topic), like, sender=sender)


def cast_like(values: np.ndarray, like: np.ndarray, *, sender: str | Sequence[str]) -> np.ndarray:
    """``values`` made of ``sender``'s, in the type of ``like``; as ``check_like`` if too large."""
    with np.errstate(over="ignore"):
        return check_like(values.astype(like.dtype), like, sender=sender)
