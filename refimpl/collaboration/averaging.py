"""The average of ``indirect``'s roles: what a participant contributes, what the server divides by.

- ``WeightedAverage``: by the numbers of examples, as in FedSGD and FedAvg.
- ``PrivateAverage``: under client-level differential privacy. A participant contributes
  ``privacy.contribute(what it learned - origin)``; the server divides ``privacy.release(sum)`` by
  the number of participants, which is public, whoever dropped out. All participants weigh the same:
  a weight by examples would tell how many there are.

Adversary: see the privacy and the aggregation that are chosen. Whoever joins in sees each round's
model, which the account of a privacy counts as released.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from refimpl.aggregation import Aggregation, Group
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.collaboration.run import SERVER, Setting
from refimpl.learning import Task
from refimpl.learning.privacy import Privacy, Terms
from refimpl.learning.record_privacy import RecordDP
from refimpl.network import MalformedMessage


class Average(Protocol):
    """One party's part in the mean: how vectors are weighed, and what the sum is divided by."""

    def contribution(self, local: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """What a participant that computed ``local`` from ``parameters`` adds to the sum."""
        ...

    def mean(
        self, total: np.ndarray, parameters: np.ndarray, contributors: Sequence[str]
    ) -> np.ndarray:
        """What the server makes of the sum: the mean of ``local``, in float64."""
        ...


@dataclass(frozen=True)
class WeightedAverage:
    """Σ a_k v_k / Σ a_k of vectors ``[a_k v_k, a_k]``, with ``weight`` a_k = n_k / n_max.

    The weight rides at the end of the vector, so that the server learns the sum of the weights
    of those who answered, and no single one where the aggregation hides them.
    """

    weight: float = 0.0

    def contribution(self, local: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """``[a v, a]``, in the type of v."""
        return np.append(local * self.weight, self.weight).astype(local.dtype)

    def mean(
        self, total: np.ndarray, parameters: np.ndarray, contributors: Sequence[str]
    ) -> np.ndarray:
        """The sum divided by the sum of the weights.

        Raises ``MalformedMessage`` for a sum of another length, or whose weight is not positive.
        """
        if total.shape != (len(parameters) + 1,) or not total[-1] > 0:
            raise MalformedMessage(
                f"the contributions of {list(contributors)} must be {len(parameters)} values and a "
                f"positive weight, their sum is of shape {total.shape} and ends with {total[-1:]}",
                contributors,
            )
        return total[:-1] / total[-1]


@dataclass(frozen=True)
class PrivateAverage:
    """One party's part in the average. ``origin``: what is shared by who has learned nothing.

    ``noise``: that party's own generator.
    """

    privacy: Privacy
    terms: Terms
    origin: Callable[[np.ndarray], np.ndarray]
    noise: CryptoGenerator

    def contribution(self, local: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """A participant's: its update, made private."""
        return self.privacy.contribute(local - self.origin(parameters), self.terms, self.noise)

    def mean(
        self, total: np.ndarray, parameters: np.ndarray, contributors: Sequence[str]
    ) -> np.ndarray:
        """The server's: the sum released, divided, and seen from the origin again."""
        if total.shape != parameters.shape:
            raise MalformedMessage(
                f"the contributions of {list(contributors)} must be {len(parameters)} values, "
                f"their sum is of shape {total.shape}",
                contributors,
            )
        released = self.privacy.release(total, self.terms, self.noise)
        return self.origin(parameters) + released / self.terms.clients  # not by who answered


def terms_of(task: Task, aggregation: Aggregation, group: Group, rounds: int) -> Terms:
    """The public terms of a run in which ``group`` sums in each round."""
    encoding_of = getattr(aggregation, "encoding", None)  # Plain has none
    withstood_of = getattr(aggregation, "withstood", None)
    return Terms(
        clients=len(group.contributors),
        least=group.needed,
        size=task.model.size,
        rounds=whole("rounds", rounds, 1),
        encoding=encoding_of(group) if encoding_of else None,
        withstood=withstood_of(group) if withstood_of else None,
    )


def averages(method: Any, setting: Setting, group: Group) -> Mapping[str, Average]:
    """The part of each participant, and of the server, in the average."""
    task, privacy = setting.task, setting.privacy
    if privacy is None or isinstance(privacy, RecordDP):
        weights = {name: len(own) / setting.largest for name, own in task.data.items()}
        parts = {name: WeightedAverage(weight) for name, weight in weights.items()}
        return {**parts, SERVER: WeightedAverage()}
    terms = terms_of(task, setting.aggregation, group, setting.rounds)
    return {
        name: PrivateAverage(privacy, terms, method.origin, privacy.generator(name))
        for name in (*task.participants, SERVER)
    }
