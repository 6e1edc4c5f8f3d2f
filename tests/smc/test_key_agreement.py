"""Keys: published vectors, HKDF and its info written out by hand, and every wrong use refused."""

import copy
import hmac

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.arithmetic import field, randomness
from refimpl.smc import key_agreement
from refimpl.smc.key_agreement import KeyPair

# RFC 7748, section 6.1
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")

alice, bob = key_agreement.pair_of(ALICE), key_agreement.pair_of(BOB)
TERMS = {"round": 3, "names": ("alice", "bob"), "purpose": "mask", "context": "server"}


def hkdf(secret: bytes, info: bytes, length: int, salt: bytes = bytes(32)) -> bytes:
    """RFC 5869 by its two steps, extract and expand."""
    extracted = hmac.digest(salt, secret, "sha256")
    block, output = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([number]), "sha256")
        output += block
    return output[:length]


def framed(*parts: bytes) -> bytes:
    """Their number and lengths, 8 bytes each, and then the parts."""
    numbers = [len(parts), *(len(part) for part in parts)]
    return b"".join(number.to_bytes(8, "big") for number in numbers) + b"".join(parts)


def test_the_hkdf_of_these_tests_is_rfc_5869():
    """Appendix A.1."""
    output = hkdf(bytes.fromhex("0b" * 22), bytes(range(0xF0, 0xFA)), 42, salt=bytes(range(0x0D)))
    assert output.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_public_keys_are_rfc_7748():
    assert alice == KeyPair(ALICE, ALICE_PUBLIC)
    assert bob == KeyPair(BOB, BOB_PUBLIC)


@pytest.mark.parametrize(("purpose", "length"), [("mask", 16), ("channel", 32)])
def test_a_key_is_hkdf_of_the_shared_secret_bound_to_its_use(purpose, length):
    terms = {**TERMS, "purpose": purpose}
    parties = (b"alice", ALICE_PUBLIC, b"bob", BOB_PUBLIC)
    info = framed(b"refimpl key", purpose.encode(), b"server", b"3", *parties)
    expected = hkdf(SHARED, info, length)
    assert key_agreement.agree(alice, BOB_PUBLIC, **terms) == expected
    mirrored = {**terms, "names": ("bob", "alice")}
    assert key_agreement.agree(bob, ALICE_PUBLIC, **mirrored) == expected


def test_keys_of_different_uses_are_different():
    carol = key_agreement.generate(randomness.seeded(1, "carol"))
    keys = {key_agreement.agree(alice, BOB_PUBLIC, **TERMS)}
    for change in (
        {"round": 4},
        {"round": 33},
        {"purpose": "channel"},
        {"context": ""},
        {"context": "server3"},
        {"names": ("alice", "bobby")},
        {"names": ("bob", "alice")},  # who is who: the names belong to the keys
        {"names": ("alic", "ebob")},
    ):
        keys.add(key_agreement.agree(alice, BOB_PUBLIC, **{**TERMS, **change})[:16])
    keys.add(key_agreement.agree(alice, carol.public, **TERMS))
    assert len(keys) == 10


@settings(max_examples=50)
@given(
    st.lists(st.text(max_size=20), min_size=2, max_size=2, unique=True),
    st.integers(0, 2**70),
    st.sampled_from(["mask", "channel"]),
    st.text(max_size=20),
)
def test_both_sides_agree(names, number, purpose, context):
    terms = {"round": number, "purpose": purpose, "context": context}
    one = key_agreement.agree(alice, bob.public, names=(names[0], names[1]), **terms)
    other = key_agreement.agree(bob, alice.public, names=(names[1], names[0]), **terms)
    assert one == other


def test_fresh_pairs_come_from_the_generator():
    first, second = key_agreement.generate(), key_agreement.generate()
    assert first.private != second.private and first.public != second.public
    assert key_agreement.pair_of(first.private) == first
    again = [key_agreement.generate(randomness.seeded(5, "a")) for _ in range(2)]
    assert again[0] == again[1] and again[0].private == randomness.seeded(5, "a").bytes(32)
    identities = [key_agreement.generate_identity(randomness.seeded(5, "a")) for _ in range(2)]
    assert identities[0] == identities[1]
    assert key_agreement.generate_identity() != key_agreement.generate_identity()
    with pytest.raises(TypeError, match="rng must be a CryptoGenerator"):
        key_agreement.generate(np.random.default_rng(0))


def test_a_private_key_is_not_printed():
    for shown in (repr(alice), str(alice), f"{copy.copy(alice)}"):
        assert repr(ALICE)[2:10] not in shown and ALICE.hex() not in shown
        assert repr(ALICE_PUBLIC) in shown


# The points of small order that RFC 7748, section 6.1 speaks of, u = 0, 1, p - 1 and the two of
# order 8, from the table at https://cr.yp.to/ecdh.html ("Do I need to validate public keys?")
SMALL = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


@pytest.mark.parametrize("public", SMALL, ids=range(len(SMALL)))
def test_public_keys_of_small_order_are_refused(public):
    with pytest.raises(ValueError, match="the public key of 'bob' is of small order"):
        key_agreement.agree(alice, public, **TERMS)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"names": ("alice", "alice")}, "names must be those of two different parties"),
        ({"names": ("alice",)}, "names must be those of two different parties"),
        ({"purpose": "masks"}, "purpose must be 'mask' or 'channel', got 'masks'"),
        ({"round": -1}, "round must be a whole number"),
        ({"round": 1.0}, "round must be a whole number"),
        ({"round": True}, "round must be a whole number"),
    ],
)
def test_unclear_uses_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        key_agreement.agree(alice, BOB_PUBLIC, **{**TERMS, **change})


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), "x" * 32, None])
def test_keys_have_32_bytes(wrong):
    for call in (
        lambda: key_agreement.pair_of(wrong),
        lambda: key_agreement.agree(alice, wrong, **TERMS),
        lambda: key_agreement.sign(wrong, b"", purpose="p"),
        lambda: key_agreement.verify(wrong, bytes(64), b"", purpose="p"),
        lambda: key_agreement.seal(wrong, b"", b""),
        lambda: key_agreement.open_sealed(wrong, bytes(16), b""),
    ):
        with pytest.raises(ValueError, match=r"key must be 32 bytes, got"):
            call()


def test_sealing_is_aes_256_gcm_under_a_key_for_the_associated_data():
    key, text, associated = bytes(range(32)), b"a share", b"alice to bob"
    sealed = key_agreement.seal(key, text, associated)
    info = framed(b"refimpl seal", associated)
    own = hmac.digest(key, info + b"\x01", "sha256")  # HKDF-Expand of one block
    assert sealed == AESGCM(own).encrypt(bytes(12), text, None)
    assert len(sealed) == len(text) + key_agreement.TAG_BYTES
    assert key_agreement.open_sealed(key, sealed, associated) == text
    # The other direction has another key stream: the ciphertexts' difference is not the texts'.
    back = key_agreement.seal(key, bytes(7), b"bob to alice")
    there = key_agreement.seal(key, bytes(7), b"alice to bob")
    assert back[:7] != there[:7]


@settings(max_examples=60)
@given(st.binary(max_size=40), st.binary(max_size=20), st.data())
def test_every_change_of_a_sealed_message_is_found(text, associated, data):
    key = bytes(32)
    sealed = key_agreement.seal(key, text, associated)
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    cut = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    for attempt in (
        (key, bytes(changed), associated),
        (key, cut, associated),
        (key, sealed + b"\0", associated),
        (key, sealed, associated + b"\0"),
        (bytes(31) + b"\1", sealed, associated),
    ):
        with pytest.raises(ValueError, match="a sealed message failed its authentication"):
            key_agreement.open_sealed(*attempt)
    assert key_agreement.open_sealed(key, sealed, associated) == text


def test_identities_are_rfc_8032():
    """Section 7.1, test 2, through the public half and a signature that the library checks."""
    private = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    assert Ed25519PrivateKey.from_private_bytes(private).sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    signature = key_agreement.sign(private, b"\x72", purpose="key advert")
    assert len(signature) == key_agreement.SIGNATURE_BYTES
    framing = framed(b"refimpl signature", b"key advert", b"\x72")
    Ed25519PublicKey.from_public_bytes(public).verify(signature, framing)
    key_agreement.verify(public, signature, b"\x72", purpose="key advert")


def test_a_signature_serves_one_message_purpose_and_signer():
    own, other = key_agreement.generate_identity(), key_agreement.generate_identity()
    signature = key_agreement.sign(own.private, b"round 1: a, b", purpose="survivors")
    key_agreement.verify(own.public, signature, b"round 1: a, b", purpose="survivors")
    for public, tag, message, purpose in (
        (own.public, signature, b"round 2: a, b", "survivors"),
        (own.public, signature, b"round 1: a, b", "key advert"),
        (own.public, signature, b"round 1: a, b"[1:], "survivorsr"),
        (other.public, signature, b"round 1: a, b", "survivors"),
        (own.public, signature[:-1], b"round 1: a, b", "survivors"),
        (own.public, bytes(64), b"round 1: a, b", "survivors"),
    ):
        with pytest.raises(ValueError, match="the signature does not fit this"):
            key_agreement.verify(public, tag, message, purpose=purpose)


@given(st.binary(min_size=1, max_size=40))
def test_limbs_are_the_bytes_by_sevens(secret):
    split = key_agreement.to_limbs(secret)
    number = int.from_bytes(secret, "little")
    expected = [number >> 56 * i & (2**56 - 1) for i in range(-(-len(secret) // 7))]
    assert split.dtype == np.uint64 and split.tolist() == expected
    assert key_agreement.limbs(len(secret)) == len(expected)
    assert int(split.max()) < 2**56 < field.P
    assert key_agreement.from_limbs(split, len(secret)) == secret


def test_secrets_of_the_protocol():
    assert key_agreement.limbs(32) == 5 and key_agreement.limbs(16) == 3
    assert key_agreement.to_limbs(b"\xff" * 32).tolist() == [2**56 - 1] * 4 + [2**32 - 1]


@pytest.mark.parametrize("length", [7, 14, 16, 32])
def test_limbs_out_of_range_are_refused(length):
    split = key_agreement.to_limbs(bytes(length))
    last_bytes = (length - 1) % 7 + 1
    for value in (2**56, field.P - 1, 2**64 - 1):
        wrong = split.copy()
        wrong[0] = value
        with pytest.raises(ValueError, match="the limbs are too large"):
            key_agreement.from_limbs(wrong, length)
    wrong = split.copy()
    wrong[-1] = 2 ** (8 * last_bytes)
    with pytest.raises(ValueError, match=f"too large for a secret of {length} bytes"):
        key_agreement.from_limbs(wrong, length)
    wrong[-1] -= 1
    assert key_agreement.from_limbs(wrong, length)[-last_bytes:] == b"\xff" * last_bytes


@pytest.mark.parametrize(
    ("elements", "complaint"),
    [
        (np.zeros(4, np.uint64), r"has 5 limbs of uint64, got uint64 of shape \(4,\)"),
        (np.zeros(6, np.uint64), r"got uint64 of shape \(6,\)"),
        (np.zeros((5, 1), np.uint64), "got uint64 of shape"),
        (np.zeros(5, np.int64), "got int64"),
        (np.zeros(5), "got float64"),
        ([0] * 5, "got int64"),
    ],
)
def test_other_limbs_are_refused(elements, complaint):
    with pytest.raises(ValueError, match=complaint):
        key_agreement.from_limbs(elements, 32)


@pytest.mark.parametrize("length", [0, -1, 2.5])
def test_a_secret_has_a_length(length):
    with pytest.raises(ValueError, match="length must be a whole number of at least 1"):
        key_agreement.from_limbs(np.zeros(1, np.uint64), length)
    with pytest.raises(ValueError, match="length must be a whole number of at least 1"):
        key_agreement.to_limbs(b"")


def test_wrong_shares_mostly_fail_to_give_a_secret():
    """Five random elements pass by chance once in 2^(4*5 + 29): never in 1,000 draws (2^-39)."""
    rng = randomness.seeded(9)
    for _ in range(1_000):
        with pytest.raises(ValueError, match="were the shares wrong"):
            key_agreement.from_limbs(rng.below(field.P, 5), 32)
