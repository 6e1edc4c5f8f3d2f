"""What a party trains with: its method as it is, or made private. Its role need not know which.

A role asks ``method.local(model, parameters, examples, rng)`` for a job. Two kinds of privacy are
kept within that job, so that whatever the role sends later is private already:

- ``RecordDP``: the job is DP-SGD. Protects each record of the party; see ``record_privacy``.
- ``LocalGaussian``: the job trains as ever, then clips what it changed and adds noise. Protects
  the party as a whole; see ``learning.privacy``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from refimpl.aggregation import Aggregation, Group
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.collaboration.averaging import terms_of
from refimpl.collaboration.run import LocalSGD, Setting
from refimpl.learning import Examples, LocalTraining, Model, Task
from refimpl.learning.dp_sgd import DPSGD
from refimpl.learning.privacy import LocalGaussian, Terms
from refimpl.learning.private_training import PrivateGradient, PrivateTraining
from refimpl.learning.record_privacy import RecordDP
from refimpl.network.link import Job


class Trainer(Protocol):
    """A method, as far as a party that trains is concerned."""

    def local(self, model: Model, parameters: np.ndarray, examples: Examples, rng: Any) -> Job:
        """The job that trains ``parameters`` on ``examples``, or computes their gradient."""
        ...


def trainer(
    method: Any, setting: Setting, name: str, *, examples: int, purpose: str = "local training"
) -> dict[str, Any]:
    """What the role of party ``name``, who trains on so many examples, is handed as method and rng.

    ``rng`` decides the batches; where the privacy is kept here, it makes them and the noise.
    """
    privacy = setting.privacy
    if isinstance(privacy, RecordDP):
        settings = dp_sgd(method, privacy, examples)
        return {"method": RecordPrivate(method, settings), "rng": privacy.generator(name)}
    return {"method": method, "rng": setting.generator(purpose, name)}


def dp_sgd(method: Any, privacy: RecordDP, examples: int) -> DPSGD:
    """DP-SGD at the learning rate, batch size and passes of ``method``: one step for a gradient."""
    return privacy.sgd(
        examples,
        learning_rate=method.learning_rate,
        batch_size=method.batch_size,
        epochs=method.epochs if isinstance(method, LocalSGD) else None,
    )


def record_cost(
    method: Any, privacy: RecordDP, sizes: Iterable[int], rounds: int
) -> Callable[[float], float]:
    """From delta to the epsilon of a run in which a party trains on each of ``sizes`` examples."""
    parties = [dp_sgd(method, privacy, size) for size in sizes]
    return partial(privacy.epsilon, parties=parties, rounds=rounds)


def peer_trainer(method: LocalSGD, setting: Setting, name: str) -> dict[str, Any]:
    """What peer ``name`` is handed as its method and rng: private, if the run is."""
    task, privacy = setting.task, setting.privacy
    found = trainer(method, setting, name, examples=len(task.data[name]))
    if isinstance(privacy, LocalGaussian):
        terms = peer_terms(task, setting.aggregation, setting.rounds)
        found["method"] = ClientPrivate(method, privacy, terms, privacy.generator(name))
    return found


def peer_terms(task: Task, aggregation: Aggregation, rounds: int) -> Terms:
    """The public terms of a run; the encoding is that of the largest neighbourhood possible."""
    first, *others = task.participants
    return terms_of(task, aggregation, Group(first, tuple(others), 0), rounds)


def peer_price(
    task: Task,
    method: LocalSGD,
    privacy: RecordDP | LocalGaussian,
    aggregation: Aggregation,
    rounds: int,
) -> Callable[[float], float]:
    """From delta to the epsilon of the run; ValueError if ``privacy`` can promise nothing."""
    match privacy:
        case RecordDP():
            return record_cost(method, privacy, map(len, task.data.values()), rounds)
        case LocalGaussian():
            terms = peer_terms(task, aggregation, rounds)
            privacy.check(terms)
            return partial(privacy.epsilon, terms=terms)
    raise TypeError(
        "privacy among peers must be RecordDP or LocalGaussian, which each keeps by itself, got "
        f"{privacy!r}"
    )


@dataclass(frozen=True)
class RecordPrivate:
    """``method`` with DP-SGD in place of SGD. The settings are public and stay as they are,
    however many examples arrive.
    """

    method: Any
    settings: DPSGD

    def local(
        self, model: Model, parameters: np.ndarray, examples: Examples, rng: CryptoGenerator
    ) -> PrivateTraining | PrivateGradient:
        """The private counterpart of the method's own job."""
        kind = PrivateTraining if isinstance(self.method, LocalSGD) else PrivateGradient
        return kind(model, parameters, examples, self.settings, rng)


@dataclass(frozen=True)
class ClientPrivate:
    """``method``, and then its party's noise on what it changed."""

    method: LocalSGD
    privacy: LocalGaussian
    terms: Terms
    noise: CryptoGenerator

    def local(
        self, model: Model, parameters: np.ndarray, examples: Examples, rng: np.random.Generator
    ) -> "NoisyTraining":
        """The method's own job, made private when it is done."""
        job = self.method.local(model, parameters, examples, rng)
        return NoisyTraining(
            job, lambda update: self.privacy.contribute(update, self.terms, self.noise)
        )


@dataclass(frozen=True, eq=False)
class NoisyTraining:
    """A job: train, then put ``protect(what changed)`` in the place of what changed."""

    training: LocalTraining
    protect: Callable[[np.ndarray], np.ndarray]

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """Jobs with equal keys may train together."""
        return self.training.batch_key

    @classmethod
    def run_together(cls, jobs: Sequence["NoisyTraining"]) -> list[np.ndarray | FloatingPointError]:
        """The private parameters of each job, in order, or the error of one that diverged."""
        trained = LocalTraining.run_together([job.training for job in jobs])
        return [
            own if isinstance(own, FloatingPointError) else job.finish(own)
            for job, own in zip(jobs, trained, strict=True)
        ]

    def finish(self, trained: np.ndarray) -> np.ndarray:
        """The private parameters, in the type of ``trained``."""
        before = self.training.parameters
        return (before + self.protect(trained - before)).astype(trained.dtype)
