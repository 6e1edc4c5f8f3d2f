"""The channel: known answers from the standards, and that nothing changed gets through."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.network import channel

# RFC 7748, section 6.1
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")


def hkdf(secret, salt, info, length):
    """RFC 5869 from its text: extract, then expand."""
    key = hmac.digest(salt, secret, hashlib.sha256)
    output, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), hashlib.sha256)
        output += block
    return output[:length]


def test_the_oracle_meets_rfc_5869_test_case_1():
    output = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert output.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_identities_meet_rfc_7748():
    assert channel.public_key(ALICE) == ALICE_PUBLIC
    assert channel.public_key(BOB) == BOB_PUBLIC
    private, public = channel.generate_identity()
    assert channel.public_key(private) == public
    assert channel.generate_identity()[0] != private


@pytest.mark.parametrize(
    ("sender", "receiver", "info"),  # info is MessagePack, written out
    [
        ("alice", "bob", b"\x93\xb7refimpl.network.channel\xa5alice\xa3bob"),
        ("bob", "alice", b"\x93\xb7refimpl.network.channel\xa3bob\xa5alice"),
    ],
)
def test_direction_keys_are_hkdf_of_the_x25519_secret(sender, receiver, info):
    names = {"sender": sender, "receiver": receiver, "salt": b"s" * 32}
    expected = hkdf(SHARED, b"s" * 32, info, 32)
    assert channel.direction_key(ALICE, BOB_PUBLIC, **names) == expected
    assert channel.direction_key(BOB, ALICE_PUBLIC, **names) == expected


def test_both_ends_derive_the_same_keys_and_no_two_channels_share_one():
    salts = b"a" * 16, b"b" * 16
    there, back = channel.keys(ALICE, BOB_PUBLIC, "alice", "bob", *salts)
    assert channel.keys(BOB, ALICE_PUBLIC, "bob", "alice", *reversed(salts)) == (back, there)
    others = [
        *channel.keys(ALICE, BOB_PUBLIC, "alice", "bob", b"a" * 16, b"c" * 16),
        *channel.keys(ALICE, BOB_PUBLIC, "alice", "bob", b"c" * 16, b"b" * 16),
        *channel.keys(ALICE, BOB_PUBLIC, "alice", "carol", *salts),
        *channel.keys(ALICE, channel.generate_identity()[1], "alice", "bob", *salts),
    ]
    assert len({there, back, *others}) == 10


def test_sealing_meets_test_case_16_of_the_gcm_specification():
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    head = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    body = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24"
        "49a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
        "56828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    number = int("cafebabefacedbaddecaf888", 16)
    assert channel.seal(key, head, number, body).hex() == sealed
    assert channel.open_sealed(key, head, number, bytes.fromhex(sealed)) == body


@given(st.binary(max_size=60), st.binary(max_size=20), st.integers(0, 2**64))
def test_what_is_sealed_opens_and_is_as_long_as_said(body, head, number):
    key = bytes(32)
    sealed = channel.seal(key, head, number, body)
    assert channel.open_sealed(key, head, number, sealed) == body
    frame = 2 * channel.LENGTH_BYTES + len(head) + len(sealed)
    assert channel.frame_size(len(head), len(body)) == frame


def test_no_byte_can_be_changed_cut_or_moved():
    key, head, body = bytes(32), channel.envelope("topic", 3, 7), b"payload"
    sealed = channel.seal(key, head, 7, body)

    def refused(key, head, number, sealed):
        with pytest.raises(ValueError, match="authentication tag"):
            channel.open_sealed(key, head, number, sealed)

    for position in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[position] ^= 1 << bit
            refused(key, head, 7, bytes(changed))
        refused(key, head, 7, sealed[:position])
    for position in range(len(head)):
        changed = bytearray(head)
        changed[position] ^= 1
        refused(key, bytes(changed), 7, sealed)
    refused(key, head, 8, sealed)
    refused(bytes(31) + b"\1", head, 7, sealed)


@given(st.text(), st.integers(0, 2**40), st.integers(0, 2**60))
def test_an_envelope_can_be_read(topic, round, sequence):
    head = channel.envelope(topic, round, sequence)
    assert channel.read_envelope(head) == (topic, round, sequence)
    assert head != channel.GOODBYE


@given(st.binary(max_size=20))
def test_what_is_no_envelope_is_refused(head):
    try:
        topic, round, sequence = channel.read_envelope(head)
    except ValueError as error:
        assert "not an envelope" in str(error)
    else:
        assert isinstance(topic, str) and isinstance(round, int) and isinstance(sequence, int)


@pytest.mark.parametrize("head", [channel.GOODBYE, b"", b"\x93\xa1x\x01", b"\x93\x01\x01\x01"])
def test_goodbyes_and_fragments_are_no_envelopes(head):
    with pytest.raises(ValueError, match="not an envelope"):
        channel.read_envelope(head)
