"""A sum under a lattice key that no one holds and no one dealt: all contributors decrypt together.

The first time that a group sums, its contributors make a key (multiparty RLWE):

    contributor   draws its share of the key, "public key share" b_i -> collector
    collector     "public key" Σ b_i -> contributors

and then, each time:

    contributor   "ciphertext" -> collector       collector     "encrypted sum" -> contributors
    contributor   "decryption", its part -> collector, who combines the parts of all

A key belongs to one group, so in peer-to-peer each neighbourhood has its own, and its collector has
no share of it. ``setup`` hands out nothing but a random seed that everybody may know.

Adversary: honest-but-curious parties. Withstood are the collector and all contributors but one who
pool all they know: they learn the sum, and what follows from it and their own vectors. (With two
honest contributors left, their vectors stay hidden behind their sum.) Nobody can be missing.
Leaks: the sum, to the collector; the length. What stays the same between sums over overlapping
groups is found by subtraction.
Lies: none is detected unless it is malformed. A contributor may encrypt anything within the bound,
or spoil its part; a collector may hand out a key of its own and read all, or have a single
contribution decrypted by saying that it is the sum.
Assumption: decision RLWE, which no known quantum algorithm breaks. See
``refimpl.he.threshold_rlwe``.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from refimpl.aggregation import encrypted
from refimpl.aggregation.interface import (
    FEWEST,
    Group,
    check_protected,
    check_vector,
    most_colluders,
)
from refimpl.aggregation.threshold_paillier import combined, read_part
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he import threshold_rlwe, wide
from refimpl.he.ciphertext import fingerprint
from refimpl.he.polynomials import DEGREE
from refimpl.he.threshold_parameters import Parameters
from refimpl.he.threshold_rlwe import KeyShare, PublicKey, PublicShare
from refimpl.network import Link, MalformedMessage


@dataclass
class Keys:
    """What a party holds: a ``seed`` that all know, its generator, and the keys of its groups.

    ``of_group``: (public key, own share or None) by the group's collector and contributors.
    """

    seed: bytes
    rng: CryptoGenerator = field(repr=False)
    of_group: dict[Any, tuple[PublicKey, KeyShare | None]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ThresholdLattice:
    """``bound``, ``bits``: the ``FixedPoint`` of a value; one over the bound is an error.

    ``length``: of the longest vector; the noise that hides the key shares is made for it, and with
    it the modulus, whose size travels.

    Adversary: all but one contributor, honest-but-curious, who pool what they know with the
    collector. Needs every contributor to the end.
    """

    _: KW_ONLY
    bound: float = 16.0
    bits: int = 16
    length: int = 1_000_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", whole("length", self.length, 1))
        FixedPoint(self.bound, self.bits, FEWEST)

    def setup(self, parties: Sequence[str], rng: CryptoGenerator | None = None) -> dict[str, Keys]:
        """A public random seed, and for each party a generator of its own. No keys yet."""
        rng, generators = encrypted.own_generators(parties, rng)
        seed = rng.bytes(16)
        return {name: Keys(seed, own) for name, own in generators.items()}

    def encoding(self, group: Group) -> FixedPoint:
        """The encoding of one contributor's value in ``group``."""
        return FixedPoint(self.bound, self.bits, len(group.contributors))

    def withstood(self, group: Group) -> int:
        """How many contributors may pool what they know with the collector."""
        return most_colluders(group, len(group.contributors))

    def check(self, group: Group) -> None:
        """``ValueError`` for fewer than three contributors, an ``at_least``, or no parameters."""
        check_protected(group)
        if group.needed < len(group.contributors):
            raise ValueError(
                f"at_least must be None, got {group.at_least}: all contributors decrypt, or "
                f"nobody; ThresholdPaillier(threshold={group.needed}) needs so many only"
            )
        self._parameters(group, bytes(16))

    async def contribute(
        self, link: Link, vector: np.ndarray, group: Group, credentials: Keys
    ) -> None:
        """A contributor's role: ``vector``, floats in [-bound, bound] of shape (length,).

        Raises ``ValueError`` for a NaN, a value over the bound or more values than ``length``, and
        ``MalformedMessage``, naming the collector, for what is no key or no sum of the group.
        """
        self.check(group)
        self.encoding(group).encode(check_vector(vector, owner=link.name))
        whole("the length of the vector", len(vector), 0, self.length, remedy="raise length")
        here = link.in_round(group.round)
        public, share = await self._key(here, group, credentials)
        ciphertext = public.encrypt(vector, credentials.rng)
        await here.send(group.collector, "ciphertext", ciphertext.to_bytes())
        total = await encrypted.receive_sum(here, group, public, len(vector))
        if total is None or share is None:
            raise MalformedMessage(
                f"{group.collector!r} must send a sum to decrypt", [group.collector]
            )
        part = share.partial_decrypt(public, total, credentials.rng)
        await here.send(group.collector, "decryption", part.to_bytes())

    async def collect(
        self, link: Link, group: Group, credentials: Keys
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """The collector's role: the float64 sum, and the names of the contributors.

        Raises a ``NetworkError`` naming who is missing, ``MalformedMessage`` naming who sent what
        is no key share, ciphertext or partial decryption, or all if theirs do not fit together.
        """
        self.check(group)
        here = link.in_round(group.round)
        public = await self._collected_key(here, group, credentials)
        total, who = await encrypted.gather_ciphertexts(here, group, public)
        answers = await encrypted.decryptions(here, group, who, total, len(who))
        parts = [
            read_part(public, data, total, name, who.index(name) + 1)
            for name, data in sorted(answers.items())
        ]
        return combined(public, parts, who), who

    def _parameters(self, group: Group, seed: bytes) -> Parameters:
        return Parameters(len(group.contributors), seed, self.encoding(group), self.length)

    async def _key(self, link: Link, group: Group, keys: Keys) -> tuple[PublicKey, KeyShare | None]:
        """A contributor's keys in this group, made the first time."""
        place = _place(group)
        if place not in keys.of_group:
            parameters = self._parameters(group, _seed(keys, group))
            number = place[1].index(link.name) + 1
            public, share = threshold_rlwe.generate_share(parameters, number, keys.rng)
            await link.send(group.collector, "public key share", _packed(public.b, parameters))
            sent = await link.receive(group.collector, "public key")
            b = _unpacked(sent, parameters, group.collector)
            keys.of_group[place] = PublicKey(parameters, b), share
        return keys.of_group[place]

    async def _collected_key(self, link: Link, group: Group, keys: Keys) -> PublicKey:
        """The collector's: the public key of the group, put together the first time."""
        place = _place(group)
        if place not in keys.of_group:
            parameters = self._parameters(group, _seed(keys, group))
            sent = await link.gather(group.contributors, "public key share")
            shares = [
                PublicShare(number, _unpacked(b, parameters, name))
                for number, (name, b) in enumerate(sent.items(), start=1)
            ]
            public = threshold_rlwe.combine_keys(parameters, shares)
            await link.broadcast(sent, "public key", _packed(public.b, parameters))
            keys.of_group[place] = public, None
        return keys.of_group[place][0]


def _place(group: Group) -> tuple[str, tuple[str, ...]]:
    return group.collector, tuple(sorted(group.contributors))


def _seed(keys: Keys, group: Group) -> bytes:
    """Of the group's common polynomial: everybody comes to the same."""
    collector, contributors = _place(group)
    names = [name.encode() for name in (collector, *contributors)]
    return fingerprint("seed of a group", keys.seed, *names)


def _packed(b: np.ndarray, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    return wide.pack(b, parameters.modulus_bits)


def _unpacked(payload: object, parameters: Parameters, sender: str) -> np.ndarray:
    """What ``_packed`` made, (2, 4096); MalformedMessage, naming the sender, for anything else."""
    bits = parameters.modulus_bits
    wanted = [("uint64", (DEGREE,)), ("uint8", (DEGREE * (bits - 64) // 8,))]
    match payload:
        case (np.ndarray() as low, np.ndarray() as high):
            if [(array.dtype.name, array.shape) for array in (low, high)] == wanted:
                return wide.unpack(low, high, bits)
    raise MalformedMessage(f"{sender!r} must send a key as arrays {wanted}", [sender])
