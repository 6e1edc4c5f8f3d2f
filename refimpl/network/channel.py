"""An authenticated channel between two parties: AES-256-GCM under a pairwise key.

Keys come from X25519 between long-term identities, whose public halves every party has before
the run (who hands them out is for the protocol to say), and HKDF-SHA256 over both names and
a random number from each side, so that a key serves one direction of one run.

Adversary: it owns the network. It may read, change, drop, repeat and reorder frames, and holds
no identity. It learns who talks to whom, when, and the length of each frame; a changed, cut or
repeated frame is refused. A stolen identity opens recorded runs: there is no forward secrecy.
Sources: RFC 7748 (X25519), RFC 5869 (HKDF), NIST SP 800-38D (GCM).
"""

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES, NONCE_BYTES, TAG_BYTES, LENGTH_BYTES, SALT_BYTES = 32, 12, 16, 8, 16
GOODBYE = msgpack.packb(None)  # the head of the last frame of a channel, in place of an envelope


def generate_identity() -> tuple[bytes, bytes]:
    """A fresh X25519 identity: ``(private, public)``, 32 bytes each."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def public_key(private: bytes) -> bytes:
    """The public half of an identity."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def direction_key(
    private: bytes, peer_public: bytes, *, sender: str, receiver: str, salt: bytes
) -> bytes:
    """The 32-byte key of the channel from ``sender`` to ``receiver`` (one of them is oneself).

    ``salt`` holds both sides' random numbers, the sender's first; it must be new in each run.
    """
    shared = X25519PrivateKey.from_private_bytes(private).exchange(
        X25519PublicKey.from_public_bytes(peer_public)
    )
    info = msgpack.packb(["refimpl.network.channel", sender, receiver])
    return HKDF(SHA256(), KEY_BYTES, salt, info).derive(shared)


def keys(
    private: bytes, peer_public: bytes, name: str, peer: str, salt: bytes, peer_salt: bytes
) -> tuple[bytes, bytes]:
    """The keys of the channels from ``name``, whose ``private`` key it is, to ``peer`` and back."""
    there = direction_key(private, peer_public, sender=name, receiver=peer, salt=salt + peer_salt)
    back = direction_key(private, peer_public, sender=peer, receiver=name, salt=peer_salt + salt)
    return there, back


def envelope(topic: str, round: int, sequence: int) -> bytes:
    """The head of a frame, authenticated but not encrypted."""
    return msgpack.packb([topic, round, sequence])


def read_envelope(head: bytes) -> tuple[str, int, int]:
    """``(topic, round, sequence)`` of ``envelope``; ``ValueError`` if it is none."""
    try:
        topic, round, sequence = msgpack.unpackb(head)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"not an envelope: {error}") from error
    if type(topic) is not str or type(round) is not int or type(sequence) is not int:
        raise ValueError("not an envelope: it must hold a topic, a round and a sequence number")
    return topic, round, sequence


def frame_size(envelope_bytes: int, payload_bytes: int) -> int:
    """Bytes of a frame on the wire: two lengths, the envelope, the payload and its tag."""
    return 2 * LENGTH_BYTES + envelope_bytes + payload_bytes + TAG_BYTES


def seal(key: bytes, head: bytes, sequence: int, body: bytes) -> bytes:
    """Encrypt ``body`` and authenticate it with ``head``; a ``sequence`` is used once a key."""
    return AESGCM(key).encrypt(sequence.to_bytes(NONCE_BYTES, "big"), body, head)


def open_sealed(key: bytes, head: bytes, sequence: int, sealed: bytes | memoryview) -> bytes:
    """The ``body`` of ``seal``; ``ValueError`` if anything was changed, cut or reordered."""
    try:
        return AESGCM(key).decrypt(sequence.to_bytes(NONCE_BYTES, "big"), sealed, head)
    except InvalidTag:
        raise ValueError("the message failed its authentication tag") from None
