"""What every aggregation offers: a sum of the parties' vectors, as a protocol between them.

Collaborations use this interface alone, so that a protection is exchanged by naming another
aggregation. ``Plain`` protects nothing; others hide the single contributions from the collector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.network import Link, MalformedMessage
from refimpl.network.runner import Role


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
        names = self.contributors
        different = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
        if not different or not names or len(set(names)) != len(names):
            raise ValueError(
                f"contributors must be a tuple of one or more different names, got {names!r}"
            )
        if self.collector in self.contributors:
            raise ValueError(
                f"the collector {self.collector!r} must not be among the contributors: it adds "
                "its own vector itself"
            )
        if not is_count(self.round, 0):
            raise ValueError(f"round must be a whole number of at least 0, got {self.round!r}")
        enough = len(names) if self.at_least is None else self.at_least
        if not is_count(enough) or enough > len(names):
            raise ValueError(
                f"at_least must be a whole number between 1 and contributors={len(names)}, "
                f"got {enough!r}"
            )

    @property
    def needed(self) -> int:
        """How many must contribute for the sum to stand."""
        return len(self.contributors) if self.at_least is None else int(self.at_least)


class Aggregation(Protocol):
    """A protocol that sums vectors of floats over a group.

    A party that belongs to several groups of one round serves them in the order of their
    collectors' names: then no two of them ever wait for each other.
    """

    def setup(
        self, parties: Sequence[str], rng: CryptoGenerator | None = None
    ) -> Mapping[str, Any]:
        """Each party's credentials (keys, say), before the first round.

        ``rng``: where their secrets come from (default ``randomness.secure()``). A party that
        draws during the protocol has a generator of its own in its credentials: two parties
        never share one.
        """
        ...

    def check(self, group: Group) -> None:
        """Raise ``ValueError``, saying what to do, unless this protocol can serve ``group``.

        ``contribute`` and ``collect`` begin with it, before anything is sent. A collaboration
        that knows its groups beforehand calls it before the run, so that nobody trains in vain.
        """
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


def roles(
    aggregation: Aggregation,
    vectors: Mapping[str, np.ndarray],
    *,
    collector: str = "server",
    round: int = 0,
    at_least: int | None = None,
    rng: CryptoGenerator | None = None,
) -> dict[str, Role]:
    """The roles of one sum, for ``network.run``: a contributor for each vector, and the collector.

    The collector's result is (sum, whose vectors are in it). ``at_least`` is that of ``Group``,
    ``rng`` that of ``setup``.
    """
    group = Group(collector, tuple(vectors), round, at_least)
    aggregation.check(group)
    credentials = aggregation.setup([*vectors, collector], rng)
    found: dict[str, Role] = {
        name: partial(
            aggregation.contribute, vector=vector, group=group, credentials=credentials[name]
        )
        for name, vector in vectors.items()
    }
    found[collector] = partial(aggregation.collect, group=group, credentials=credentials[collector])
    return found


FEWEST = 3  # contributors of a protected sum


def check_protected(group: Group, threshold: int = 1) -> None:
    """Raise ``ValueError`` if the sum over ``group`` would give away who contributed what.

    A sum of one is the value itself, and of a sum of two each contributor who learns it learns
    the other's value. ``threshold``: how many contributors the protocol cannot do without.
    """
    count, whose = len(group.contributors), f"the group of collector {group.collector!r}"
    if count < FEWEST:
        raise ValueError(
            f"contributors of a protected sum must be at least {FEWEST}, got {count} in {whose}: "
            "fewer know each other's values from the sum; take more (in gossip a denser graph), "
            "or aggregation.Plain, which protects nothing"
        )
    if threshold > count:
        raise ValueError(
            f"threshold must be at most contributors={count} of {whose}, got {threshold}"
        )
    if group.needed < max(FEWEST, threshold):
        raise ValueError(
            f"at_least must be between {max(FEWEST, threshold)} and contributors={count} in "
            f"{whose}, got {group.at_least}: no sum of fewer than {FEWEST} is protected, and none "
            f"is found without threshold={threshold} of them"
        )


def most_colluders(group: Group, limit: int) -> int:
    """How many may pool what they know: ``limit``, but two others must be left in the sum.

    Of a sum in which one single other vector is left, they take off their own, and have it.
    """
    return max(0, min(limit, group.needed - 2))


def is_count(value: object, least: int = 1) -> bool:
    """Whether ``value`` is a whole number, Python's or numpy's, of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return bool(value >= least)


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


def check_alike(vectors: Mapping[str, np.ndarray]) -> None:
    """Raise ``MalformedMessage``, naming who differs, unless all are of one length and type."""
    (first, like), *others = vectors.items()
    for name, vector in others:
        if (vector.dtype, vector.shape) != (like.dtype, like.shape):
            raise MalformedMessage(
                f"contributions must be alike: {first!r} sent {like.dtype} of shape "
                f"{like.shape}, {name!r} sent {vector.dtype} of shape {vector.shape}",
                [first, name],
            )
