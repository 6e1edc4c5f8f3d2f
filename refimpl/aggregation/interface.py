"""What every aggregation offers: a sum of the parties' vectors, as a protocol between them.

Collaborations use this interface alone, so that a protection is exchanged by naming another
aggregation. ``Plain`` protects nothing; others hide the single contributions from the collector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from refimpl.network import Link, MalformedMessage


@dataclass(frozen=True)
class Group:
    """Who sums for whom: ``collector`` learns the sum of what ``contributors`` contribute.

    ``at_least`` is how many must contribute for the sum to stand (default: all of them).
    """

    collector: str
    contributors: tuple[str, ...]
    round: int
    at_least: int | None = None

    def __post_init__(self) -> None:
        if not self.contributors or len(set(self.contributors)) != len(self.contributors):
            raise ValueError(
                f"contributors must be one or more different names, got {self.contributors}"
            )
        if self.collector in self.contributors:
            raise ValueError(
                f"the collector {self.collector!r} must not be among the contributors: it adds "
                "its own vector itself"
            )
        enough = len(self.contributors) if self.at_least is None else self.at_least
        if not isinstance(enough, int) or not 1 <= enough <= len(self.contributors):
            raise ValueError(
                f"at_least must be a whole number between 1 and "
                f"contributors={len(self.contributors)}, got {enough}"
            )


class Aggregation(Protocol):
    """A protocol that sums vectors of floats over a group.

    A party that belongs to several groups of one round serves them in the order of their
    collectors' names: then no two of them ever wait for each other.
    """

    def setup(
        self, parties: Sequence[str], rng: np.random.Generator | None = None
    ) -> Mapping[str, Any]:
        """Each party's credentials (keys, say), before the first round."""
        ...

    async def contribute(
        self, link: Link, vector: np.ndarray, group: Group, credentials: Any
    ) -> None:
        """A contributor's role: ``vector`` is a float array of shape (length,)."""
        ...

    async def collect(
        self, link: Link, group: Group, credentials: Any
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """The collector's role: the float64 sum, and the names whose vectors are in it."""
        ...


def check_vector(vector: np.ndarray, *, owner: str) -> np.ndarray:
    """``vector`` if it may be summed; ``ValueError`` naming the first value that may not."""
    if not isinstance(vector, np.ndarray) or vector.ndim != 1 or vector.dtype.kind != "f":
        shape = getattr(vector, "shape", None)
        raise ValueError(
            f"the vector of {owner!r} must be a float array of one dimension, got "
            f"{type(vector).__name__} of shape {shape}"
        )
    finite = np.isfinite(vector)
    if not finite.all():
        index = int(np.argmin(finite))
        raise ValueError(
            f"the vector of {owner!r} must be finite, got {vector[index]} at index {index}: "
            "did training diverge?"
        )
    return vector


def check_equal_lengths(vectors: Mapping[str, np.ndarray]) -> None:
    """Raise ``MalformedMessage``, naming who differs, unless all vectors are equally long."""
    first, *others = vectors
    for name in others:
        if vectors[name].shape != vectors[first].shape:
            raise MalformedMessage(
                f"contributions must have one shape: {first!r} sent {vectors[first].shape}, "
                f"{name!r} sent {vectors[name].shape}",
                [first, name],
            )
