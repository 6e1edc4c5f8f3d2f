"""The sum without any protection: the baseline for what the protected sums cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refimpl.aggregation.interface import Group, check_alike, check_vector
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.network import Link, MalformedMessage


@dataclass(frozen=True)
class Plain:
    """Each contributor sends its vector to the collector, who adds them up.

    Adversary: none withstood. The collector sees every single contribution. A contributor that
    lies about its vector is not detected, unless the vector is malformed.
    Cost: one message of the vector's own size a contributor.
    """

    def setup(self, parties: Sequence[str], rng: CryptoGenerator | None = None) -> dict:
        """No party needs credentials."""
        return dict.fromkeys(parties)

    def check(self, group: Group) -> None:
        """Any group will do."""

    async def contribute(
        self, link: Link, vector: np.ndarray, group: Group, credentials: None = None
    ) -> None:
        """Send ``vector``, shape (length,), to the collector."""
        vector = check_vector(vector, owner=link.name)
        await link.in_round(group.round).send(group.collector, "contribution", vector)

    async def collect(
        self, link: Link, group: Group, credentials: None = None
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """The float64 sum of the contributions that arrived, and whose they are."""
        vectors = await link.in_round(group.round).gather(
            group.contributors, "contribution", at_least=group.at_least
        )
        for name, vector in vectors.items():
            try:
                check_vector(vector, owner=name)
            except ValueError as error:
                raise MalformedMessage(str(error), [name]) from error
        check_alike(vectors)
        total = np.zeros(next(iter(vectors.values())).shape)
        with np.errstate(over="ignore"):
            for vector in vectors.values():
                total += vector
        if not np.isfinite(total).all():
            raise MalformedMessage(f"the sum of {list(vectors)} must be finite", [*vectors])
        return total, tuple(vectors)
