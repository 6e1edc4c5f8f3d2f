"""What all parties of one secure aggregation know, and the form of what they send each other.

Parties are positions 0, 1, … in the sorted tuple of the contributors. A set of parties travels
as one bit for each that could be in it, a share of a secret as its field elements of 61 bits.
Source: Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning,
CCS 2017, figure 4.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic import field as field_arithmetic
from refimpl.arithmetic import ring
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.network import MalformedMessage, NetworkError
from refimpl.smc import key_agreement
from refimpl.smc.key_agreement import KeyPair, Purpose
from refimpl.smc.masks import SEED_BYTES

Positions = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Elements = NDArray[np.uint64]

ELEMENT_BITS = 61
SEED_LIMBS = key_agreement.limbs(SEED_BYTES)
KEY_LIMBS = key_agreement.limbs(key_agreement.PRIVATE_BYTES)
SECRET_LIMBS = SEED_LIMBS + KEY_LIMBS
KEYS_BYTES = 2 * key_agreement.PUBLIC_BYTES
SEALED_BYTES = ring.packed_size(SECRET_LIMBS, ELEMENT_BITS) + key_agreement.TAG_BYTES


class UnmaskingRefused(NetworkError):
    """A contributor revealed no shares: what it was asked for could expose a vector."""


class ForgedMessage(NetworkError):
    """A signature is not that of the party in whose name the message came."""


@dataclass(frozen=True)
class Credentials:
    """What ``setup`` gives a party. ``identity`` and ``directory``: against an active adversary.

    ``rng``: where its secrets come from. ``session``: public, new in each setup. ``identity``:
    its Ed25519 pair. ``directory``: everybody's public identity, by name.
    """

    session: str
    rng: CryptoGenerator = field(repr=False)
    identity: KeyPair | None = None
    directory: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Terms:
    """The public terms of one sum.

    ``contributors``: in name order. ``threshold``: shares that reveal a secret. ``degree``:
    neighbours of a contributor, at most. ``enough``: contributors that must be in the sum.
    ``active``: whether keys and survivors are signed.
    """

    session: str
    collector: str
    contributors: tuple[str, ...]
    round: int
    threshold: int
    degree: int
    enough: int
    encoding: FixedPoint
    active: bool

    @property
    def bits(self) -> int:
        """b of the ring Z_2^b in which the masks live: wide enough for the sum."""
        return self.encoding.sum_bits

    @property
    def fewest(self) -> int:
        """Survivors that a contributor insists on: it does not leave ``enough`` to a liar."""
        return self.enough if self.active else self.threshold

    @property
    def context(self) -> str:
        """What all keys and signatures of this sum are bound to, besides names and round."""
        return f"{self.session} {self.collector}"

    @property
    def advert_bytes(self) -> int:
        """Length of the message with a contributor's keys."""
        return KEYS_BYTES + key_agreement.SIGNATURE_BYTES * self.active

    def key(
        self, own: KeyPair, peer_public: bytes, names: tuple[str, str], purpose: Purpose
    ) -> bytes:
        """The key that two contributors share for ``purpose``, "mask" or "channel"."""
        return key_agreement.agree(
            own,
            peer_public,
            round=self.round,
            names=names,
            purpose=purpose,
            context=self.context,
        )

    def statement(self, *parts: str | bytes) -> bytes:
        """The bytes to sign: ``parts``, bound to this sum; different parts, different bytes."""
        digest = hashlib.sha256()
        for part in (self.context, str(self.round), *parts):
            data = part.encode() if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.digest()

    def positions_bits(self) -> int:
        """Bits that hold the position of a contributor."""
        return max(1, (len(self.contributors) - 1).bit_length())


def sign(credentials: Credentials, statement: bytes, purpose: str) -> bytes:
    """The signature of a party that has an identity."""
    if credentials.identity is None:
        raise ValueError("credentials must hold an identity: make them with adversary='active'")
    return key_agreement.sign(credentials.identity.private, statement, purpose=purpose)


# --- the form of messages -----------------------------------------------------------------


def pack_set(of: Positions, among: Positions) -> Bytes:
    """The set ``of`` as one bit for each of ``among``."""
    return ring.pack(np.isin(among, of), 1)


def read_set(packed: object, among: Positions, sender: str) -> Positions:
    """The positions that ``pack_set`` marked."""
    try:
        return among[ring.unpack(check_bytes(packed), 1, len(among)).astype(bool)]
    except ValueError as error:
        raise malformed(sender, f"a set among {len(among)} parties", error) from error


def pack_elements(elements: Elements) -> Bytes:
    """Field elements, 61 bits each."""
    return ring.pack(elements, ELEMENT_BITS)


def read_elements(packed: object, shape: tuple[int, int], sender: str) -> Elements:
    """The array of ``shape`` that ``pack_elements`` wrote."""
    try:
        words = ring.unpack(check_bytes(packed), ELEMENT_BITS, shape[0] * shape[1])
        return field_arithmetic.elements(words).reshape(shape)
    except ValueError as error:
        raise malformed(sender, f"{shape[0]} shares of {shape[1]} limbs", error) from error


def read_rows(rows: object, shape: tuple[int | None, int], sender: str) -> Bytes:
    """``rows`` if they are bytes in an array of ``shape`` (None: any number of rows)."""
    try:
        array = check_bytes(rows, 2)
        count = len(array) if shape[0] is None else shape[0]
        if array.shape != (count, shape[1]):
            raise ValueError(f"got shape {array.shape}")
        return array
    except ValueError as error:
        raise malformed(sender, f"rows of bytes, shape {shape}", error) from error


def pair(payload: object, sender: str) -> tuple:
    """``payload`` if it is a tuple of two."""
    if not isinstance(payload, tuple) or len(payload) != 2:
        raise malformed(sender, "a tuple of two", ValueError(f"got {type(payload).__name__}"))
    return payload


def check_bytes(value: object, dimensions: int = 1) -> Bytes:
    """``value`` if it is an array of bytes, of one dimension or two; else ValueError."""
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != dimensions:
        found = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else value
        raise ValueError(f"it must be an array of bytes, got {found!r:.80}")
    return value


def malformed(sender: str, rule: str, error: Exception) -> MalformedMessage:
    """The error that says what ``sender`` must send."""
    return MalformedMessage(f"{sender!r} must send {rule}: {error}", [sender])


def sorted_positions(positions: Iterable[int]) -> Positions:
    """Positions in order, as an array."""
    return np.array(sorted(positions), np.int64)
