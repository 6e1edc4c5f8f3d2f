"""A sum under a Paillier key that no one holds: any ``threshold`` contributors decrypt it.

    contributor   E(x_i) -> collector         collector   E(Σ x_i) -> ``threshold`` contributors
    those         a partial decryption each -> collector, who combines them

A dealer draws the key, hands a share to each participant and forgets: ``setup`` does its work. A
party named ``server`` gets the public key only. In peer-to-peer every participant has a share.

Adversary: honest-but-curious parties. A coalition reads every ciphertext that it sees if it has
``threshold`` shares, and nothing but sums with fewer: withstood are a server with threshold - 1
participants, and in peer-to-peer, where a collector has a share too, that collector with
threshold - 2 others. The dealer could read all.
Leaks: the sum, to the collector; who is in it, and the length. What stays the same while survivors
change from round to round is found by subtraction.
Lies: none is detected unless it is malformed. A contributor may encrypt anything within the bound;
one who decrypts may shift the sum (other wrong parts are an error, which does not tell whose); a
collector may have a single contribution decrypted, by saying that it is the sum.
Assumption: decisional composite residuosity, and factoring: not quantum-robust. See
``refimpl.he.threshold_paillier``.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from refimpl.aggregation import encrypted
from refimpl.aggregation.encrypted import SERVER, Credentials
from refimpl.aggregation.interface import (
    FEWEST,
    Group,
    check_protected,
    check_vector,
    most_colluders,
)
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he import threshold_paillier
from refimpl.he.ciphertext import Ciphertext, PartialDecryption
from refimpl.he.noise import Noise
from refimpl.he.paillier import LEAST_BITS
from refimpl.network import Link, MalformedMessage


@dataclass(frozen=True)
class ThresholdPaillier:
    """``threshold``: how many contributors decrypt, 2 or more; no group may have fewer.

    ``bound``, ``bits``: the ``FixedPoint`` of one value; one over the bound is an error, never
    clipped. ``server``: the party without a share, if there is one. ``key_bits``, ``noise``: of
    the key. ``primes``: safe primes that the dealer drew before (``key_bits`` is then theirs), for
    drawing them takes seconds; they are secret.

    Adversary: fewer than ``threshold`` honest-but-curious holders of shares who pool what they
    know, the server with them.
    """

    threshold: int
    _: KW_ONLY
    bound: float = 16.0
    bits: int = 16
    server: str = SERVER
    key_bits: int = LEAST_BITS
    noise: Noise = "half"
    primes: tuple[int, int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        remedy = "with 1 every share is the whole key"
        whole_number = whole("threshold", self.threshold, 2, remedy=remedy)
        object.__setattr__(self, "threshold", whole_number)
        FixedPoint(self.bound, self.bits, FEWEST)

    def setup(
        self, parties: Sequence[str], rng: CryptoGenerator | None = None
    ) -> dict[str, Credentials]:
        """The dealer's work: the public key for all, a share for each party but the server."""
        rng, generators = encrypted.own_generators(parties, rng)
        holders = sorted({*parties} - {self.server})
        code = FixedPoint(self.bound, self.bits, max(FEWEST, len(holders)))
        deal = (len(holders), self.threshold)
        if self.primes is None:
            public, shares = threshold_paillier.deal(
                *deal, self.key_bits, code, noise=self.noise, rng=rng
            )
        else:
            public, shares = threshold_paillier.deal_from_primes(
                *self.primes, *deal, code, noise=self.noise, rng=rng
            )
        numbers = {name: share.party for name, share in zip(holders, shares, strict=True)}
        own = dict(zip(holders, shares, strict=True))
        return {
            name: Credentials(public, own.get(name), generator, numbers)
            for name, generator in generators.items()
        }

    def encoding(self, group: Group) -> FixedPoint:
        """The encoding of one contributor's value in ``group``."""
        return FixedPoint(self.bound, self.bits, len(group.contributors))

    def withstood(self, group: Group) -> int:
        """How many contributors may pool what they know with the collector."""
        return most_colluders(group, self.threshold - (1 if group.collector == self.server else 2))

    def check(self, group: Group) -> None:
        """``ValueError`` for fewer than three contributors, or than the threshold."""
        check_protected(group, self.threshold)
        self.encoding(group)

    async def contribute(
        self, link: Link, vector: np.ndarray, group: Group, credentials: Credentials
    ) -> None:
        """A contributor's role: ``vector``, floats in [-bound, bound] of shape (length,).

        Raises ``ValueError`` for a NaN or a value over the bound, before anything is sent, and
        ``MalformedMessage``, naming the collector, for what is no sum of the group.
        """
        self.check(group)
        vector = check_vector(vector, owner=link.name)
        ciphertext = credentials.public.encrypt(vector, credentials.rng)
        here = link.in_round(group.round)
        await here.send(group.collector, "ciphertext", ciphertext.to_bytes())
        total = await encrypted.receive_sum(here, group, credentials.public, len(vector))
        if total is not None:
            part = credentials.secret.partial_decrypt(total)
            await here.send(group.collector, "decryption", part.to_bytes())

    async def collect(
        self, link: Link, group: Group, credentials: Credentials
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """The collector's role: the float64 sum, and the names whose vectors are in it.

        Raises a ``NetworkError`` naming who is missing, ``MalformedMessage`` naming who sent what
        is no ciphertext or partial decryption, or all who decrypted if theirs do not fit together.
        """
        self.check(group)
        here = link.in_round(group.round)
        total, who = await encrypted.gather_ciphertexts(here, group, credentials.public)
        answers = await encrypted.decryptions(here, group, who, total, self.threshold)
        parts = [
            read_part(credentials.public, data, total, name, credentials.numbers[name])
            for name, data in answers.items()
        ]
        return combined(credentials.public, parts, list(answers)), who


def read_part(
    public: object, data: object, total: Ciphertext, sender: str, number: int
) -> PartialDecryption:
    """``sender``'s part of ``total``'s decryption; MalformedMessage, naming it, if it is not."""
    part = encrypted.read(public.partial_from_bytes, data, sender)  # type: ignore[attr-defined]
    right = (number, total.digest, total.length, total.summands)
    if (part.party, part.of, part.length, part.summands) != right:
        raise MalformedMessage(
            f"{sender!r} must send part {number} of the sum that it was asked for, got part "
            f"{part.party} of {'that' if part.of == total.digest else 'another'} ciphertext",
            [sender],
        )
    return part


def combined(
    public: object, parts: Sequence[PartialDecryption], names: Sequence[str]
) -> np.ndarray:
    """The sum; MalformedMessage, naming all who sent parts, if these do not fit together."""
    try:
        return public.combine(parts)  # type: ignore[attr-defined]
    except ValueError as error:
        raise MalformedMessage(
            f"the partial decryptions of {list(names)} do not fit together: {error}", names
        ) from error
