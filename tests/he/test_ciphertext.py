"""Ciphertexts as containers: what may be added, what travels, and what is refused."""

import hashlib
import struct

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he.ciphertext import (
    Ciphertext,
    PartialDecryption,
    Terms,
    fingerprint,
    gathered,
    parse,
    parse_partial,
)

TERMS = Terms("paillier", bytes(range(16)), FixedPoint(2.0, 16, 256))


def one(terms=TERMS, length=5, summands=3, arrays=None):
    words = (np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(4, dtype=np.uint64))
    return Ciphertext(terms, length, summands, words if arrays is None else arrays)


def sealed(head, rest=b""):
    """Bytes that a malicious sender could make: the digest is right, the rest is not."""
    packed = msgpack.packb(head)
    body = struct.pack("<I", len(packed)) + packed + rest
    return body + hashlib.sha256(body).digest()[:16]


HEAD = [["paillier", bytes(16)], [1.0, 16, 256], [3, 1], [["|u1", [3]]]]


def changed(index, value):
    head = list(HEAD)
    head[index] = value
    return sealed(head, b"abc")


def test_what_travels_comes_back():
    found = parse(one().to_bytes())
    assert (found.terms, found.length, found.summands) == (TERMS, 5, 3)
    assert [array.tolist() for array in found.arrays] == [
        [[0, 1, 2], [3, 4, 5]],
        [0, 1, 2, 3],
    ]
    assert not any(array.flags.writeable for array in found.arrays)
    assert all(array.flags.aligned for array in found.arrays)
    assert found.nbytes == 6 + 32
    assert parse(sealed(HEAD, b"abc")).length == 3  # so the refusals below have one cause each


def test_the_arrays_are_read_only_and_not_printed():
    ciphertext = one()
    with pytest.raises(ValueError, match="read-only"):
        ciphertext.arrays[0][0, 0] = 1
    assert "array" not in repr(ciphertext)


@given(st.data())
def test_any_one_damaged_byte_is_found(data):
    whole = bytearray(one().to_bytes())
    index = data.draw(st.integers(0, len(whole) - 1))
    whole[index] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="damaged"):
        parse(bytes(whole))


def test_any_cut_and_any_addition_is_found():
    whole = one().to_bytes()
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="damaged"):
            parse(whole[:length])
    with pytest.raises(ValueError, match="damaged"):
        parse(whole + b"\0")


@pytest.mark.parametrize(
    "data",
    [
        sealed(None),
        sealed([]),
        sealed(HEAD),  # the array is missing
        sealed(HEAD, b"ab"),
        sealed(HEAD, b"abcd"),
        changed(0, ["paillier", "text"]),
        changed(0, [1, bytes(16)]),
        changed(1, [float("nan"), 16, 256]),
        changed(1, [1.0, 1, 256]),
        changed(1, ["1.0", 16, 256]),
        changed(2, [-1, 1]),
        changed(2, [3, 0]),
        changed(2, [3, 257]),
        changed(2, [3, True]),
        changed(3, [["|O", [3]]]),
        changed(3, [["<f8", [3]]]),
        changed(3, [["|u1", [-3]]]),
        changed(3, [["|u1", [2**62, 2**62]]]),
        changed(3, [["|u1", 3]]),
        changed(3, [[["|u1"], [3]]]),
        changed(3, 7),
        struct.pack("<I", 2**32 - 1) + hashlib.sha256(b"\xff" * 4).digest()[:16],
    ],
)
def test_a_well_hashed_falsehood_is_refused(data):
    with pytest.raises(ValueError, match="not a ciphertext"):
        parse(data)


def test_only_bytes_are_parsed():
    with pytest.raises(ValueError, match="bytes are wanted, got str"):
        parse("text")


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        (Terms("rlwe", TERMS.key, TERMS.encoding), "is of rlwe, the key of paillier"),
        (Terms("paillier", bytes(16), TERMS.encoding), "another public key"),
        (Terms("paillier", TERMS.key, FixedPoint(2.0, 16, 255)), "summands=255.*agree on one"),
        (Terms("paillier", TERMS.key, FixedPoint(1.0, 16, 256)), "bound=1.0.*agree on one"),
    ],
)
def test_other_terms_are_refused(terms, complaint):
    with pytest.raises(ValueError, match=complaint):
        TERMS.total([one(), one(terms)])


def test_the_total_counts_every_vector_once():
    assert TERMS.total([one(summands=3), one(summands=4), one(summands=249)]) == 256
    with pytest.raises(ValueError, match=r"summands must be .* 256, got 257"):
        TERMS.total([one(summands=3), one(summands=4), one(summands=250)])


def test_what_cannot_be_added_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        TERMS.total([])
    with pytest.raises(ValueError, match=r"of one length, got \[4, 5\]"):
        TERMS.total([one(), one(length=4)])
    with pytest.raises(TypeError, match="got int"):
        TERMS.total([7])


def test_a_ciphertext_of_impossible_size_is_refused():
    for wrong in ({"length": -1}, {"length": 2.0}, {"summands": 0}, {"summands": 257}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            one(**wrong)


def test_a_fingerprint_tells_keys_apart():
    parts = [
        (5,),
        (-5,),
        (b"\x05",),
        (5, 0),
        (0, 5),
        (1280,),
        (b"",),
        (),
        (b"\x05\x00",),
        (b"a", b"bc"),
        (b"ab", b"c"),
    ]
    found = {fingerprint("paillier", *part) for part in parts} | {fingerprint("rlwe", 5)}
    # A byte string may stand for a number (b"\x05" for 5), within one scheme at one place.
    assert len(found) == len(parts)
    assert all(len(print) == 16 for print in found)
    assert fingerprint("paillier", 5) == fingerprint("paillier", 5)


# --- partial decryptions -----------------------------------------------------------------------


def part(party=1, of=None, terms=TERMS, length=5, summands=3):
    of = one().digest if of is None else of
    return PartialDecryption(terms, party, of, length, summands, (np.ones(3, np.uint8),))


def test_a_partial_decryption_travels_and_names_its_ciphertext():
    found = parse_partial(part(7).to_bytes())
    assert (found.party, found.of, found.length, found.summands) == (7, one().digest, 5, 3)
    assert (found.terms, found.nbytes, found.arrays[0].tolist()) == (TERMS, 3, [1, 1, 1])
    assert one().digest == one().digest != one(summands=4).digest


def test_neither_kind_passes_for_the_other():
    with pytest.raises(ValueError, match="not a ciphertext"):
        parse(part().to_bytes())
    with pytest.raises(ValueError, match="not a partial decryption"):
        parse_partial(one().to_bytes())
    with pytest.raises(ValueError, match=r"not a partial decryption.*damaged"):
        parse_partial(part().to_bytes()[:-1])
    with pytest.raises(ValueError, match="digest"):
        part(of=b"short")


def test_partial_decryptions_are_gathered_in_order():
    assert [*gathered(TERMS, [part(5), part(2), part(3)], 3)] == [2, 3, 5]


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ([], r"at least threshold=2 .* got 0"),
        ([part(4)], r"at least threshold=2 .* got 1 \(parties \[4\]\)"),
        ([part(4), part(4)], "two of party 4"),
        ([part(1), part(2, terms=Terms("paillier", bytes(16), TERMS.encoding))], "another key"),
        ([part(1), part(2, of=bytes(16))], "of one ciphertext"),
        ([part(1), part(2, length=6)], "of one ciphertext"),
    ],
)
def test_partial_decryptions_that_do_not_fit_are_refused(parts, complaint):
    with pytest.raises(ValueError, match=complaint):
        gathered(TERMS, parts, 2)


def test_only_partial_decryptions_are_gathered():
    with pytest.raises(TypeError, match="got Ciphertext"):
        gathered(TERMS, [one()], 1)
