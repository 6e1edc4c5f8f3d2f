"""Secure aggregation: the collector learns the sum of the vectors, whoever drops out on the way.

Each contributor u adds to its vector a mask of its own and one mask for each peer v,

    y_u = x_u + PRG(b_u) + Σ_(v<u) PRG(s_uv) - Σ_(v>u) PRG(s_uv)   modulo 2^bits,

and in the sum the masks of pairs cancel. If v drops out, enough others give the collector shares
of v's key, from which all s_uv follow; for whoever is in the sum, shares of b_u. Never both:
with both, the collector would know x_u. Contributors talk to the collector alone, which relays.

The phases and their topics, to the collector and back: "keys", "roster"; "shares", "relayed
shares"; "masked vector", "survivors"; against an active adversary "consistency", "endorsements";
"unmasking shares". A contributor that is out is sent None in place of an answer, and stops.

Sources: Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning,
CCS 2017, figure 4; Bell et al., Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead, CCS 2020, for the graph.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np

from refimpl.aggregation.interface import Group, check_protected, most_colluders
from refimpl.aggregation.secure_aggregation_roles import collector, contributor
from refimpl.aggregation.secure_aggregation_terms import Credentials, Positions, Terms
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.network import Link
from refimpl.smc import key_agreement, neighbours

Adversary = Literal["honest-but-curious", "active"]

MOST_BITS = 32  # masks are words of 32 bits


class Plan(NamedTuple):
    """``neighbours``: k, of each. ``threshold``: shares that reveal a secret. ``enough``: the
    fewest that may be in a sum. ``complete``: whether everybody is everybody's neighbour.
    """

    neighbours: int
    threshold: int
    enough: int
    complete: bool


class Masked(ABC):
    """The protocol, over whatever graph ``plan`` says: ``SecureAggregation``, ``SecAggPlus``."""

    bound: float
    bits: int
    adversary: Adversary

    @abstractmethod
    def plan(self, contributors: int) -> Plan:
        """Neighbours, threshold and least survivors for so many contributors."""

    def check(self, group: Group) -> None:
        """Raise ValueError if ``group`` and the parameters cannot go together."""
        check_protected(group)
        check_protected(group, self.plan(len(group.contributors)).threshold)
        bits = self.encoding(group).sum_bits
        whole("bits of the sum", bits, 2, MOST_BITS, remedy="lower bits, or make groups smaller")

    def setup(
        self, parties: Sequence[str], rng: CryptoGenerator | None = None
    ) -> Mapping[str, Credentials]:
        """Each party's generator and the number of this setup; identities where keys are signed.

        Here one call makes everything, so whoever makes it could know every secret: it is trusted
        like a dealer, and takes no part afterwards. Where parties are apart, each makes its own
        ``Credentials``, and the directory hands out names and public identities alone: it is
        trusted to hand out the right ones.
        """
        rng = resolve(rng)
        session = rng.bytes(16).hex()
        identities = {name: key_agreement.generate_identity(rng) for name in parties if self._signs}
        directory = {name: identity.public for name, identity in identities.items()}
        return {
            name: Credentials(
                session, CryptoGenerator(rng.bytes(16)), identities.get(name), directory
            )
            for name in parties
        }

    async def contribute(
        self, link: Link, vector: np.ndarray, group: Group, credentials: Credentials
    ) -> None:
        """A contributor's role: ``vector``, floats in [-bound, bound] of shape (length,)."""
        await contributor(link, vector, self._terms(group, credentials), credentials)

    async def collect(
        self, link: Link, group: Group, credentials: Credentials
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """The collector's role: the float64 sum, and the names whose vectors are in it."""
        terms = self._terms(group, credentials)
        return await collector(link, terms, self._graph(terms, credentials))

    @property
    def _signs(self) -> bool:
        return self.adversary == "active"

    def encoding(self, group: Group) -> FixedPoint:
        """The encoding of one contributor's value in ``group``."""
        return FixedPoint(self.bound, self.bits, summands=len(group.contributors))

    def _terms(self, group: Group, credentials: Credentials) -> Terms:
        """The terms of the sum over ``group``, checked."""
        self.check(group)
        if not isinstance(credentials, Credentials) or self._signs != bool(credentials.directory):
            raise ValueError("credentials must be those that setup of this aggregation made")
        plan = self.plan(len(group.contributors))
        return Terms(
            session=credentials.session,
            collector=group.collector,
            contributors=tuple(sorted(group.contributors)),
            round=group.round,
            threshold=plan.threshold,
            degree=plan.neighbours,
            enough=max(plan.enough, group.needed),
            encoding=self.encoding(group),
            active=self._signs,
        )

    def _graph(self, terms: Terms, credentials: Credentials) -> list[Positions]:
        """The neighbours of each contributor, as the collector draws them."""
        names = terms.contributors
        if terms.degree == len(names) - 1:
            return [np.delete(np.arange(len(names)), party) for party in range(len(names))]
        drawn = neighbours.graph(names, terms.degree, credentials.rng)
        position = {name: place for place, name in enumerate(names)}
        return [np.sort([position[peer] for peer in drawn[name]]) for name in names]


@dataclass(frozen=True)
class SecureAggregation(Masked):
    """Secure aggregation of Bonawitz et al. 2017: everybody shares a mask with everybody.

    ``threshold``: how many contributors must answer, and how many reveal a secret together;
    None takes ⌊2n/3⌋ + 1 of n. ``adversary``: what the collector may do. ``colluders``: how many
    contributors may pool what they know with it; None takes as many as the threshold withstands.
    ``bound``: the largest magnitude of a value; ``bits``: of its fixed-point encoding.

    Adversary "honest-but-curious": all follow the protocol, the collector and up to threshold - 1
    contributors pool their views. Needs threshold > colluders. The sum holds the vectors of at
    least threshold - colluders others, so with 1 a single vector may be left; ``colluders``, if
    given, is held against that. A collector that lies learns single vectors, for example by
    telling half of the contributors another list of survivors.
    Adversary "active": the collector and up to 2 threshold - n - 1 contributors do as they please.
    Needs 2 threshold > n + colluders, and identities that ``setup`` hands out; keys and survivors
    are signed. They choose who is in the sum, but learn no more than one sum, which holds the
    vectors of at least max(threshold, ``group.at_least``) - colluders others.

    What leaks: the sum (colluders take their own vectors off it), who was in it, who dropped out
    when. Sums over groups that overlap may be subtracted from each other. What a lying contributor
    can do undetected: add any vector to the sum, since masked vectors are malleable, and stop the
    run. See ``secure_aggregation_lies``. Sum once in a round: keys and signatures are bound to it.

    Exact: the collected sum is that of the encodings, off by at most half a unit a contributor.
    A unit is bound / 32767 with 16 bits, so with the defaults one value, or the mean of many, is
    off by at most 2.5e-4. Where that is too coarse, take a smaller bound or more bits.
    Dropouts in any phase: the sum of those whose masked vectors arrived, at least
    ``group.at_least`` and ``threshold``; the latter must also answer to the end. Otherwise a
    ``NetworkError`` that says how many answered and how many were needed.
    """

    threshold: int | None = None
    adversary: Adversary = "honest-but-curious"
    colluders: int | None = None
    bound: float = 16.0
    bits: int = 16

    def __post_init__(self) -> None:
        if self.adversary not in get_args(Adversary):
            raise ValueError(f"adversary must be one of {get_args(Adversary)}: {self.adversary!r}")
        if self.threshold is not None:
            whole("threshold", self.threshold, 2, remedy="a sum of one is the vector itself")
        if self.colluders is not None:
            whole("colluders", self.colluders)
        FixedPoint(self.bound, self.bits, summands=1)

    def check(self, group: Group) -> None:
        """Raise ValueError, too, if a sum may hold a single vector that is not a colluder's."""
        super().check(group)
        fewest = max(self.plan(len(group.contributors)).enough, group.needed)
        colluders = self.colluders or 0
        if fewest < colluders + 2:
            raise ValueError(
                f"at_least must be at least colluders + 2 = {colluders + 2} of the group of "
                f"collector {group.collector!r}, got {fewest}: colluders take their own vectors "
                "off the sum, and a single other one would be left; raise it, or the threshold"
            )

    def plan(self, contributors: int) -> Plan:
        """All others are neighbours. Raises ValueError where the threshold does not fit."""
        n = contributors
        threshold = 2 * n // 3 + 1 if self.threshold is None else int(self.threshold)
        if not 2 <= threshold <= n:
            raise ValueError(f"threshold must be between 2 and contributors={n}, got {threshold}")
        tolerated = self._tolerated(n, threshold)
        if tolerated < (self.colluders or 0):
            active = f"2 * threshold > contributors={n} + colluders"
            raise ValueError(
                f"against an {self.adversary} collector "
                f"{active if self._signs else 'threshold > colluders'} must hold, got threshold="
                f"{threshold}, colluders={self.colluders or 0}: raise the threshold to at least "
                f"{self._least(n)}"
            )
        return Plan(n - 1, threshold, threshold, complete=True)

    def withstood(self, group: Group) -> int:
        """How many contributors may pool what they know with the collector."""
        n = len(group.contributors)
        if self.colluders is not None:
            return int(self.colluders)
        return most_colluders(group, self._tolerated(n, self.plan(n).threshold))

    def _tolerated(self, n: int, threshold: int) -> int:
        """The most colluders that the threshold withstands."""
        return 2 * threshold - n - 1 if self._signs else threshold - 1

    def _least(self, n: int) -> int:
        """The least threshold that withstands the colluders."""
        colluders = self.colluders or 0
        return (n + colluders) // 2 + 1 if self._signs else max(2, colluders + 1)


@dataclass(frozen=True, kw_only=True)
class SecAggPlus(Masked):
    """Secure aggregation of Bell et al. 2020: each shares masks with a few neighbours only.

    The collector draws a random graph in which each contributor has k neighbours; shares and
    masks go to those alone, so that a contributor's cost grows as log n, not as n.

    ``corrupt`` γ, ``dropout`` δ: the largest fractions of the contributors that collude with the
    collector, and that drop out. ``sigma``: privacy fails with probability 2^-sigma at most in
    one sum; ``eta``: the sum fails with 2^-eta at most. They give k and the threshold by the
    theorem in ``refimpl.smc.neighbours``; ``neighbours`` and ``threshold``, given together, take
    the place of it. Where k would reach n - 1, as for small n, it is the complete graph, the
    protocol of ``SecureAggregation``: ``plan(n).complete`` says so. ``bound``, ``bits``: as there.

    Adversary: honest-but-curious. The collector draws the graph honestly, and pools its view with
    up to γn contributors chosen before; who drops out must not depend on the graph either, as it
    would if somebody silenced the neighbours of one contributor. What leaks, and what a lying
    party can do: as there; the collector also knows the graph. Fewer than n - δn in the sum is an
    error, since the theorem then promises nothing.
    """

    corrupt: float = 0.05
    dropout: float = 0.05
    sigma: float = 40
    eta: float = 30
    neighbours: int | None = None
    threshold: int | None = None
    bound: float = 16.0
    bits: int = 16
    adversary: Adversary = field(default="honest-but-curious", init=False)

    def __post_init__(self) -> None:
        if (self.neighbours is None) != (self.threshold is None):
            raise ValueError(
                f"neighbours and threshold must be given together, or neither, got "
                f"{self.neighbours} and {self.threshold}"
            )
        for name, rate in (("corrupt", self.corrupt), ("dropout", self.dropout)):
            if not 0 <= rate < 1:
                raise ValueError(f"{name} must be a fraction between 0 and 1 (not 1), got {rate}")
        if self.neighbours is not None and self.threshold is not None:
            whole("neighbours", self.neighbours, 2)
            whole("threshold", self.threshold, 2, self.neighbours)
        FixedPoint(self.bound, self.bits, summands=1)

    def withstood(self, group: Group) -> int:
        """How many contributors may pool what they know with the collector."""
        n = len(group.contributors)
        plan = self.plan(n)
        drawn_for = math.floor(self.corrupt * n + 1e-9)
        return most_colluders(group, plan.threshold - 1 if plan.complete else drawn_for)

    def plan(self, contributors: int) -> Plan:
        """k and t by the theorem, or those given. Raises ValueError where no k and t are enough."""
        n = contributors
        if self.neighbours is None or self.threshold is None:
            k, threshold = _parameters(n, self.corrupt, self.dropout, self.sigma, self.eta)
        else:
            k, threshold = min(int(self.neighbours), n - 1), int(self.threshold)
            if k % 2 and k != n - 1:
                raise ValueError(f"neighbours must be even, or everybody else, got {k}")
            whole("threshold", threshold, 2, k)
        enough = n - math.ceil(self.dropout * n - 1e-9)  # 0.07 * 100 > 7
        return Plan(k, threshold, max(threshold, enough), complete=k == n - 1)


@lru_cache
def _parameters(n: int, *rates: float) -> tuple[int, int]:
    corrupt, dropout, sigma, eta = rates
    return neighbours.parameters(n, corrupt=corrupt, dropout=dropout, sigma=sigma, eta=eta)
