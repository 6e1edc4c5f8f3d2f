"""Pairwise keys, signatures, sealed messages, and secrets as field elements.

    key = HKDF-SHA256(X25519(own private, peer's public), info = purpose, context, round,
                      both names and both public keys)

Both sides derive the same key, because the names (each with its public key) are put in sorted
order. A key of another purpose, round, context or pair is unrelated, as HKDF's ``info`` differs.
Sources: RFC 7748 (X25519, section 6.1), RFC 5869 (HKDF), RFC 8032 (Ed25519), NIST SP 800-38D (GCM).

Adversary: one who reads every public key, ciphertext and signature learns no key and no plaintext,
and can neither change a sealed message nor sign, unless one of these algorithms is broken.
``agree`` alone does not say whose public key it was given. Against an adversary that puts its own
key in the place of another, advertise keys under signatures. What leaks: lengths of plaintexts.
Whoever learns a private key learns every key agreed with it, so make a new pair for each round.
"""

import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator, resolve

Purpose = Literal["mask", "channel"]

PRIVATE_BYTES = PUBLIC_BYTES = CHANNEL_KEY_BYTES = 32
TAG_BYTES = 16  # by which a sealed message is longer than its plaintext
SIGNATURE_BYTES = 64
LIMB_BYTES = 7  # 56 bits, below the 61 of the field
_HASH = SHA256()
_KEY_BYTES = {"mask": 16, "channel": CHANNEL_KEY_BYTES}  # a seed of masks; an AES-256 key


@dataclass(frozen=True)
class KeyPair:
    """A private key and its public half, 32 bytes each; the private one is never printed."""

    private: bytes = field(repr=False)
    public: bytes

    @cached_property
    def _exchange_key(self) -> X25519PrivateKey:
        # Reading a private key costs as much as an exchange, so it is read once for all peers.
        return X25519PrivateKey.from_private_bytes(self.private)


def generate(rng: CryptoGenerator | None = None) -> KeyPair:
    """A fresh X25519 pair. ``rng`` defaults to ``randomness.secure()``."""
    return pair_of(resolve(rng).bytes(PRIVATE_BYTES))


def pair_of(private: bytes) -> KeyPair:
    """The X25519 pair of a private key, such as one put together from shares.

    Compare its public half with the advertised one: they differ if a share was wrong.
    """
    key = X25519PrivateKey.from_private_bytes(_exact("private key", private, PRIVATE_BYTES))
    return KeyPair(private, key.public_key().public_bytes_raw())


def agree(
    own: KeyPair,
    peer_public: bytes,
    *,
    round: int,
    names: tuple[str, str],
    purpose: Purpose,
    context: str = "",
) -> bytes:
    """The key that ``own`` and the holder of ``peer_public`` share, the same on both sides.

    ``names``: one's own name and the peer's. ``purpose``: "mask" gives 16 bytes, a seed for
    ``masks``; "channel" gives 32 bytes, a key for ``seal``. ``context``: anything else that both
    sides know and that must be the same, such as the name of the collector.

    Raises ValueError for equal names, an unknown purpose, or a public key that is not 32 bytes or
    is of small order. One of those would give the same known secret with every private key.
    """
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"names must be those of two different parties, got {names!r}")
    if purpose not in _KEY_BYTES:
        raise ValueError(f"purpose must be 'mask' or 'channel', got {purpose!r}")
    peer = X25519PublicKey.from_public_bytes(_exact("public key", peer_public, PUBLIC_BYTES))
    try:
        shared = own._exchange_key.exchange(peer)
    except ValueError:  # RFC 7748, section 6.1: the all-zero value
        raise ValueError(f"the public key of {names[1]!r} is of small order: refuse it") from None
    parties = sorted([(names[0], own.public), (names[1], peer_public)])
    number = whole("round", round)
    info = _encoded("refimpl key", purpose, context, str(number), *parties[0], *parties[1])
    return HKDF(_HASH, _KEY_BYTES[purpose], None, info).derive(shared)


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Encrypt ``plaintext`` and authenticate it with ``associated``; 16 bytes longer.

    Let ``associated`` name the direction (sender and receiver) and what the message is: ONE
    PLAINTEXT ONLY may be sealed under a key and associated data. They make the AES-256-GCM key,
    HKDF-Expand(key, associated), so that its nonce can be zero and need not travel.
    """
    return _cipher(key, associated).encrypt(bytes(12), plaintext, None)


def open_sealed(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The plaintext of ``seal``; ValueError if the message or ``associated`` was changed or cut."""
    try:
        return _cipher(key, associated).decrypt(bytes(12), sealed, None)
    except InvalidTag:
        raise ValueError(
            "a sealed message failed its authentication: it was changed, cut, or sealed under "
            "another key, direction or purpose"
        ) from None


def generate_identity(rng: CryptoGenerator | None = None) -> KeyPair:
    """A fresh Ed25519 pair for ``sign`` and ``verify``. ``rng``: default ``secure()``."""
    private = resolve(rng).bytes(PRIVATE_BYTES)
    public = Ed25519PrivateKey.from_private_bytes(private).public_key()
    return KeyPair(private, public.public_bytes_raw())


def sign(private: bytes, message: bytes, *, purpose: str) -> bytes:
    """The Ed25519 signature, 64 bytes, of ``message`` as one of this ``purpose``."""
    key = Ed25519PrivateKey.from_private_bytes(_exact("private key", private, PRIVATE_BYTES))
    return key.sign(_encoded("refimpl signature", purpose, message))


def verify(public: bytes, signature: bytes, message: bytes, *, purpose: str) -> None:
    """Return if ``sign`` made this signature for ``message`` and ``purpose``; else ValueError."""
    key = Ed25519PublicKey.from_public_bytes(_exact("public key", public, PUBLIC_BYTES))
    try:
        key.verify(signature, _encoded("refimpl signature", purpose, message))
    except InvalidSignature:
        raise ValueError(f"the signature does not fit this {purpose} and public key") from None


def limbs(length: int) -> int:
    """How many field elements ``to_limbs`` makes of ``length`` bytes: 5 of 32, and 3 of 16."""
    return -(-whole("length", length, 1) // LIMB_BYTES)


def to_limbs(secret: bytes) -> NDArray[np.uint64]:
    """``secret`` as elements of F_(2^61-1), each below 2^56: its bytes by sevens, little-endian."""
    padded = secret.ljust(LIMB_BYTES * limbs(len(secret)), b"\0")
    words = np.zeros((len(padded) // LIMB_BYTES, 8), np.uint8)
    words[:, :LIMB_BYTES] = np.frombuffer(padded, np.uint8).reshape(-1, LIMB_BYTES)
    return words.view("<u8").reshape(-1).astype(np.uint64, copy=False)


def from_limbs(elements: ArrayLike, length: int) -> bytes:
    """The secret of ``length`` bytes that ``to_limbs`` split.

    Raises ValueError unless it could have made these elements: ``limbs(length)`` of them, without
    a bit beyond the secret's. Elements rebuilt from wrong shares mostly fail this check.
    """
    array, count = np.asarray(elements), limbs(length)
    if array.shape != (count,) or array.dtype != np.uint64:
        raise ValueError(
            f"a secret of {length} bytes has {count} limbs of uint64, "
            f"got {array.dtype} of shape {array.shape}"
        )
    data = array.astype("<u8").view(np.uint8).reshape(count, 8)
    secret = data[:, :LIMB_BYTES].tobytes()
    if data[:, LIMB_BYTES].any() or any(secret[length:]):
        raise ValueError(
            f"the limbs are too large for a secret of {length} bytes: were the shares wrong?"
        )
    return secret[:length]


def _cipher(key: bytes, associated: bytes) -> AESGCM:
    secret = _exact("channel key", key, CHANNEL_KEY_BYTES)
    return AESGCM(HKDFExpand(_HASH, 32, _encoded("refimpl seal", associated)).derive(secret))


def _encoded(*parts: str | bytes) -> bytes:
    """The lengths of the parts, then the parts: different parts never give the same bytes."""
    data = [part.encode() if isinstance(part, str) else part for part in parts]
    return struct.pack(f">{len(data) + 1}Q", len(data), *map(len, data)) + b"".join(data)


def _exact(name: str, value: bytes, length: int) -> bytes:
    """``value`` if it is ``length`` bytes; its content is never part of the message."""
    if not isinstance(value, bytes) or len(value) != length:
        got = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise ValueError(f"a {name} must be {length} bytes, got {got}")
    return value
