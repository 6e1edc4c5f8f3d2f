"""Sums under one key: whoever contributes holds the private key, the server only the public one.

    participant   E(x_i) -> server            server   E(Σ x_i) -> one participant, who decrypts

Phong et al. (2018) and BatchCrypt (2020) share the key so; there every participant decrypts, and
the server does not learn the sum, which it is told here. A key holder draws the pair and hands it
out before the first round: ``setup`` does its work, and after it the key holder must be one of the
participants, or forget.

Adversary: withstands an honest-but-curious server that works with no participant. **The server
together with any one participant reads every contribution**: all participants must be trusted not
to give the key away, nor to lose it. Participants alone see the sum, and whoever taps the links
sees ciphertexts.
Leaks: the sum, to the server and to who decrypts; who is in it, and the length. As in every sum,
what stays the same while survivors change from round to round is found by subtraction.
Lies: none is detected unless it is malformed. Ciphertexts are malleable, so a party may contribute
anything within the bound; the one who decrypts may answer anything; a server may have a single
contribution decrypted in place of the sum, by saying that it holds more.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refimpl.aggregation import encrypted
from refimpl.aggregation.encrypted import SERVER, Credentials
from refimpl.aggregation.interface import FEWEST, Group, check_protected, check_vector
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he.ciphertext import Ciphertext
from refimpl.network import Link, MalformedMessage


@dataclass(frozen=True, kw_only=True)
class SingleKey(ABC):
    """What ``Paillier`` and ``Lattice`` share. ``bound``, ``bits``: the ``FixedPoint`` of a value.

    ``server``: the name of the collector, the one party without the private key.
    """

    bound: float = 16.0
    bits: int = 16
    server: str = SERVER

    def __post_init__(self) -> None:
        FixedPoint(self.bound, self.bits, FEWEST)

    @abstractmethod
    def keypair(self, encoding: FixedPoint, rng: CryptoGenerator) -> tuple[Any, Any]:
        """(public, private), drawn by the key holder."""

    def encrypt(self, vector: np.ndarray, credentials: Credentials) -> Ciphertext:
        """A contributor's ciphertext."""
        return credentials.public.encrypt(vector, credentials.rng)

    def setup(
        self, parties: Sequence[str], rng: CryptoGenerator | None = None
    ) -> dict[str, Credentials]:
        """The key holder's work: the pair for all parties but the server, who gets the public key.

        Raises ValueError if no party is the server: where all collect, none may hold the key.
        """
        if self.server not in parties:
            raise ValueError(self._why_not("there is none among the parties"))
        rng, generators = encrypted.own_generators(parties, rng)
        contributors = max(FEWEST, len(parties) - 1)
        public, private = self.keypair(FixedPoint(self.bound, self.bits, contributors), rng)
        return {
            name: Credentials(public, None if name == self.server else private, own)
            for name, own in generators.items()
        }

    def encoding(self, group: Group) -> FixedPoint:
        """The encoding of one contributor's value in ``group``."""
        return FixedPoint(self.bound, self.bits, len(group.contributors))

    def withstood(self, group: Group) -> int:
        """How many contributors may pool what they know with the collector: each has the key."""
        return 0

    def check(self, group: Group) -> None:
        """``ValueError`` for fewer than three contributors, or a collector with the key."""
        check_protected(group)
        if group.collector != self.server:
            raise ValueError(self._why_not(f"the collector is {group.collector!r}"))
        self.encoding(group)

    async def contribute(
        self, link: Link, vector: np.ndarray, group: Group, credentials: Credentials
    ) -> None:
        """A contributor's role: ``vector``, floats in [-bound, bound] of shape (length,).

        Raises ``ValueError`` for a NaN or a value over the bound, before anything is sent, and
        ``MalformedMessage``, naming the collector, for a sum that cannot be decrypted.
        """
        self.check(group)
        ciphertext = self.encrypt(check_vector(vector, owner=link.name), credentials)
        here = link.in_round(group.round)
        await here.send(group.collector, "ciphertext", ciphertext.to_bytes())
        total = await encrypted.receive_sum(here, group, credentials.public, len(vector))
        if total is not None:
            try:
                values = credentials.secret.decrypt(total)
            except ValueError as error:
                raise MalformedMessage(
                    f"{group.collector!r} sent what cannot be decrypted: {error}", [group.collector]
                ) from error
            await here.send(group.collector, "decryption", values)

    async def collect(
        self, link: Link, group: Group, credentials: Credentials
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """The collector's role: the float64 sum, and the names whose vectors are in it.

        Raises a ``NetworkError`` naming who is missing, ``MalformedMessage`` naming who sent
        something else than a ciphertext under this key, or a decryption that cannot be.
        """
        self.check(group)
        here = link.in_round(group.round)
        total, who = await encrypted.gather_ciphertexts(here, group, credentials.public)
        answers = await encrypted.decryptions(here, group, who, total, needed=1)
        ((name, values),) = answers.items()
        return encrypted.check_sum(values, total.length, self.bound * len(who), name), who

    def _why_not(self, found: str) -> str:
        return (
            f"{type(self).__name__} must have the server {self.server!r} as its collector, and "
            f"{found}: a collector that held the private key would read each contribution; use "
            "ThresholdPaillier or ThresholdLattice, whose keys no one holds"
        )
