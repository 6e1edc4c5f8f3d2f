"""Ciphertexts of whole vectors and their partial decryptions: what fits together, what travels.

A ciphertext carries, beside its arrays, the number of values, how many vectors have been added up
in it, and its ``Terms``: scheme, fingerprint of the public key and encoding. Every operation of
every scheme checks these first, so that a mix-up is an error and never a wrong sum.

On the wire: 4 bytes with the length of the head, the head (MessagePack), the arrays, and the first
16 bytes of the SHA-256 hash of all that. The hash finds accidents: a cut, a flipped bit. It
stops no malicious sender, who can hash whatever they like, and who can always encrypt
something else: homomorphic ciphertexts are malleable. No code of the sender's is run.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint

FINGERPRINT_BYTES = DIGEST_BYTES = 16
_LENGTH_BYTES = 4
_DTYPES = ("|u1", "<u4", "<u8", "<i8")
_MALFORMED = (ValueError, TypeError, OverflowError, msgpack.UnpackException)


@dataclass(frozen=True)
class Terms:
    """What ciphertexts must have in common to be added: ``scheme``, ``key`` and ``encoding``.

    ``key``: the public key's ``fingerprint``, 16 bytes.
    """

    scheme: str
    key: bytes
    encoding: FixedPoint

    def check(self, ciphertext: "Ciphertext") -> None:
        """Raise TypeError unless it is a ciphertext, ValueError unless it is under these terms."""
        if not isinstance(ciphertext, Ciphertext):
            raise TypeError(f"a ciphertext is wanted, got {type(ciphertext).__name__}")
        other = ciphertext.terms
        if other.scheme != self.scheme:
            raise ValueError(f"the ciphertext is of {other.scheme}, the key of {self.scheme}")
        if other.key != self.key:
            raise ValueError(
                f"the ciphertext was made with another public key ({other.key.hex()[:8]}...) than "
                f"this one ({self.key.hex()[:8]}...)"
            )
        if other.encoding != self.encoding:
            raise ValueError(
                f"the ciphertext is of encoding {other.encoding}, this key of {self.encoding}; "
                "all who add must agree on one"
            )

    def total(self, ciphertexts: Sequence["Ciphertext"]) -> int:
        """How many vectors the sum of these ciphertexts holds.

        Raises ValueError where they may not be added: none given, other terms, unlike lengths, or
        more vectors than ``encoding.summands``.
        """
        if not ciphertexts:
            raise ValueError("there must be at least one ciphertext to add, got none")
        for ciphertext in ciphertexts:
            self.check(ciphertext)
        lengths = sorted({ciphertext.length for ciphertext in ciphertexts})
        if len(lengths) > 1:
            raise ValueError(f"ciphertexts to add must be of one length, got {lengths}")
        total = sum(ciphertext.summands for ciphertext in ciphertexts)
        remedy = "choose a FixedPoint with more summands"
        return whole("summands", total, 1, self.encoding.summands, remedy=remedy)


@dataclass(frozen=True, eq=False)
class Ciphertext:
    """An encrypted vector of ``length`` values, or the sum of ``summands`` such vectors.

    ``arrays``: the scheme's numbers (``uint8``, ``uint32``, ``uint64`` or ``int64``), whose shapes
    are the scheme's to check. They are taken over, not copied, and made read-only. They are not
    printed: no two encryptions are alike.
    """

    terms: Terms
    length: int
    summands: int
    arrays: tuple[np.ndarray, ...] = field(repr=False)

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the class is frozen
        set_field(self, "length", whole("length", self.length))
        most = self.terms.encoding.summands
        set_field(self, "summands", whole("summands", self.summands, 1, most))
        for array in self.arrays:
            array.flags.writeable = False

    @property
    def encoding(self) -> FixedPoint:
        """How the values were made integers."""
        return self.terms.encoding

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; ``to_bytes`` adds about 150."""
        return sum(array.nbytes for array in self.arrays)

    @property
    def digest(self) -> bytes:
        """16 bytes that stand for this ciphertext, so that partial decryptions can name it."""
        return self.to_bytes()[-DIGEST_BYTES:]

    def to_bytes(self) -> bytes:
        """The ciphertext as it travels; the public key's ``from_bytes`` reads it."""
        return _packed(self.terms, [self.length, self.summands], self.arrays)


@dataclass(frozen=True, eq=False)
class PartialDecryption:
    """What one holder of a key share makes of a ciphertext; enough of them give the sum.

    ``party``: the share's number, from 1. ``of``: the ciphertext's ``digest``, so that parts of
    different ciphertexts are never combined. ``arrays`` are as in ``Ciphertext``.
    """

    terms: Terms
    party: int
    of: bytes
    length: int
    summands: int
    arrays: tuple[np.ndarray, ...] = field(repr=False)

    def __post_init__(self) -> None:
        most = self.terms.encoding.summands
        set_field = object.__setattr__
        set_field(self, "party", whole("party", self.party, 1))
        set_field(self, "length", whole("length", self.length))
        set_field(self, "summands", whole("summands", self.summands, 1, most))
        if not isinstance(self.of, bytes) or len(self.of) != DIGEST_BYTES:
            raise ValueError(f"of must be the {DIGEST_BYTES} bytes of a ciphertext's digest")
        for array in self.arrays:
            array.flags.writeable = False

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; ``to_bytes`` adds about 150."""
        return sum(array.nbytes for array in self.arrays)

    def to_bytes(self) -> bytes:
        """The partial decryption as it travels; ``parse_partial`` reads it."""
        numbers = [self.length, self.summands, self.party, self.of]
        return _packed(self.terms, numbers, self.arrays)


def gathered(
    terms: Terms, partials: Sequence[PartialDecryption], threshold: int
) -> dict[int, PartialDecryption]:
    """Partial decryptions by party, in order, if they can be combined.

    Raises ValueError unless there are at least ``threshold`` of them, by different parties, of
    one ciphertext, under ``terms``.
    """
    found: dict[int, PartialDecryption] = {}
    for partial in partials:
        if not isinstance(partial, PartialDecryption):
            raise TypeError(f"a partial decryption is wanted, got {type(partial).__name__}")
        if partial.terms != terms:
            raise ValueError(f"the partial decryption of party {partial.party} is of another key")
        if partial.party in found:
            raise ValueError(
                f"partial decryptions must be by different parties, got two of party "
                f"{partial.party}"
            )
        found[partial.party] = partial
    if len(found) < threshold:
        raise ValueError(
            f"at least threshold={threshold} partial decryptions are needed, got {len(found)} "
            f"(parties {sorted(found)})"
        )
    if len({(partial.of, partial.length, partial.summands) for partial in partials}) > 1:
        raise ValueError("partial decryptions must be of one ciphertext, got several")
    return dict(sorted(found.items()))


def parse(data: bytes) -> Ciphertext:
    """What ``Ciphertext.to_bytes`` wrote, of any key: a scheme's ``from_bytes`` checks it further.

    Raises ValueError for bytes that are damaged, cut, too long, or no ciphertext at all.
    """
    try:
        terms, (length, summands), arrays = _unpacked(data)
        return Ciphertext(terms, length, summands, arrays)
    except _MALFORMED as error:
        raise ValueError(f"not a ciphertext: {error}") from error


def parse_partial(data: bytes) -> PartialDecryption:
    """What ``PartialDecryption.to_bytes`` wrote, of any key; ValueError as in ``parse``."""
    try:
        terms, (length, summands, party, of), arrays = _unpacked(data)
        return PartialDecryption(terms, party, of, length, summands, arrays)
    except _MALFORMED as error:
        raise ValueError(f"not a partial decryption: {error}") from error


def fingerprint(scheme: str, *numbers: int | bytes) -> bytes:
    """16 bytes that stand for a public key: different keys never agree, unless SHA-256 is broken.

    ``numbers``: all that makes up the key, in a fixed order.
    """
    parts = [scheme.encode()]
    for number in numbers:
        if isinstance(number, int):
            number = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
        parts.append(number)
    lengths = [len(parts), *map(len, parts)]
    prefix = b"".join(length.to_bytes(8, "little") for length in lengths)
    return hashlib.sha256(prefix + b"".join(parts)).digest()[:FINGERPRINT_BYTES]


def _digest(*parts: bytes) -> bytes:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part)
    return hashed.digest()[:DIGEST_BYTES]


def _packed(terms: Terms, numbers: list[Any], arrays: Sequence[np.ndarray]) -> bytes:
    encoding = terms.encoding
    head = msgpack.packb(
        [
            [terms.scheme, terms.key],
            [encoding.bound, encoding.bits, encoding.summands],
            numbers,
            [[array.dtype.str, array.shape] for array in arrays],
        ]
    )
    parts = [len(head).to_bytes(_LENGTH_BYTES, "little"), head]
    parts += [array.tobytes() for array in arrays]
    return b"".join([*parts, _digest(*parts)])


def _unpacked(data: bytes) -> tuple[Terms, list[Any], tuple[np.ndarray, ...]]:
    if not isinstance(data, bytes):
        raise ValueError(f"bytes are wanted, got {type(data).__name__}")
    body, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if len(data) < _LENGTH_BYTES + DIGEST_BYTES or _digest(body) != digest:
        raise ValueError(f"{len(data)} bytes whose digest does not fit: damaged, or cut")
    position = _LENGTH_BYTES + int.from_bytes(body[:_LENGTH_BYTES], "little")
    head = msgpack.unpackb(body[_LENGTH_BYTES:position])
    (scheme, key), (bound, bits, most), numbers, shapes = head
    if not isinstance(scheme, str) or not isinstance(key, bytes) or type(bound) is not float:
        raise ValueError("a scheme must be text, a key bytes, a bound a float")
    arrays = []
    for dtype, shape in shapes:
        arrays.append(_array(body, position, dtype, shape))
        position += arrays[-1].nbytes
    if position != len(body):
        raise ValueError(f"{len(body)} bytes, {position} of them used")
    return Terms(scheme, key, FixedPoint(bound, bits, most)), numbers, tuple(arrays)


def _array(body: bytes, position: int, name: Any, shape: Any) -> np.ndarray:
    """The array at ``position``, a copy only where its words lie unaligned."""
    if name not in _DTYPES:
        raise ValueError(f"an array of {name!r}")
    sides = tuple(whole("a side of an array", side) for side in shape)
    array = np.frombuffer(body, np.dtype(name), math.prod(sides), position).reshape(sides)
    return array if array.flags.aligned else array.copy()
