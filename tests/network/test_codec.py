"""Payloads to bytes and back."""

import tracemalloc
from collections import OrderedDict

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from refimpl.network import codec

numbers = st.one_of(
    st.booleans(), st.integers(), st.integers(-(2**200), 2**200), st.floats(allow_nan=False)
)
leaves = st.one_of(st.none(), numbers, st.text(), st.binary())
payloads = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.tuples(st.text())), inner),
    ),
    max_leaves=12,
)
dtypes = st.one_of(
    stn.boolean_dtypes(),
    stn.integer_dtypes(endianness="?"),
    stn.unsigned_integer_dtypes(endianness="?"),
    stn.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    stn.complex_number_dtypes(endianness="?", sizes=(64, 128)),
)
arrays = stn.arrays(dtypes, stn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


def over_the_wire(payload):
    return codec.decode(codec.encode(payload).join())


def in_process(payload):
    return codec.restore(codec.copy(codec.encode(payload)))


def same(one, other):
    """Equality that also looks at types: True is not 1, and a tuple is not a list."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return one == other


@given(payloads)
def test_a_payload_comes_back_with_its_types(payload):
    assert same(over_the_wire(payload), payload)
    assert same(in_process(payload), payload)


@given(arrays, st.sampled_from(["C", "F", "strided", "reversed"]))
def test_an_array_comes_back_bit_for_bit(array, layout):
    if array.ndim:
        views = {"strided": array[::2], "reversed": array[::-1]}
        array = views[layout] if layout in views else np.asarray(array, order=layout)
    for travel in (over_the_wire, in_process):
        name, (back,) = travel(["x" * array.ndim, (array,)])
        assert name == "x" * array.ndim
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.tobytes() == array.tobytes()  # bitwise, so that NaN counts too
        assert not back.flags.writeable and back.flags.aligned
        with pytest.raises(ValueError, match="cannot set WRITEABLE"):
            back.flags.writeable = True


@pytest.mark.parametrize("scalar", [np.float64(0.1), np.int8(-3), np.bool_(True), np.uint64(2**63)])
def test_a_numpy_scalar_keeps_its_type(scalar):
    for travel in (over_the_wire, in_process):
        assert type(travel(scalar)) is type(scalar) and travel(scalar) == scalar


@given(st.lists(st.one_of(payloads, arrays), max_size=4))
def test_the_size_is_the_length(payload):
    encoded = codec.encode(payload)
    assert encoded.size == len(encoded.join())


def test_the_format_is_the_one_documented():
    array = np.array([[1, 2]], dtype="<u2")
    specification = msgpack.packb(["<u2", [1, 2]])
    head = msgpack.packb(["a", msgpack.ExtType(1, specification)])
    expected = len(head).to_bytes(4, "little") + head + b"\x01\x00\x02\x00"
    assert codec.encode(["a", array]).join() == expected


def test_arrays_are_neither_copied_by_encode_nor_by_decode():
    array = np.arange(1000, dtype=np.uint8)  # aligned wherever it lies
    assert np.shares_memory(codec.encode([array]).arrays[0], array)
    data = codec.encode(array).join()
    assert np.shares_memory(codec.decode(data), np.frombuffer(data, np.uint8))


def test_copy_parts_from_the_sender():
    array = np.zeros(3)
    copied = codec.copy(codec.encode([array]))
    array[:] = 1
    assert codec.restore(copied)[0].tolist() == [0, 0, 0]


class Unknown:
    pass


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (Unknown(), "got Unknown"),
        ([{"a": {1, 2}}], "got set"),
        (OrderedDict(a=1), "got OrderedDict"),
        (np.array([Unknown()]), "got dtype object"),
        (np.array(["text"]), "got dtype <U4"),
        (np.datetime64("2026-01-01"), "got dtype datetime64"),
        (np.zeros(2, dtype=[("a", "f8")]), "got dtype"),
        (np.longdouble(1), "got dtype"),
        (msgpack.Timestamp(1), "got Timestamp"),
        ({(1, msgpack.Timestamp(1)): 2}, "got Timestamp"),
        ([{"a": (msgpack.ExtType(5, b""),)}], "got ExtType"),
        (codec.TUPLE_MARK, "got ExtType"),
        (np.ma.masked_array([1.0], mask=[True]), "masked"),
    ],
)
def test_what_is_not_a_payload_is_refused(payload, text):
    with pytest.raises(TypeError, match=text):
        codec.encode(payload)


@given(st.binary(max_size=200))
def test_random_bytes_are_an_error_or_a_payload(data):
    try:
        codec.decode(data)
    except ValueError as error:
        assert "not an encoded payload" in str(error)


@given(st.lists(st.one_of(leaves, arrays), max_size=3), st.data())
def test_changed_encodings_are_an_error_or_a_payload(payload, data):
    encoded = bytearray(codec.encode(payload).join())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(encoded) - 1))
        encoded[position] = data.draw(st.integers(0, 255))
    try:
        codec.decode(bytes(encoded))
    except ValueError as error:
        assert "not an encoded payload" in str(error)


@given(st.one_of(payloads, arrays), st.data())
def test_an_encoding_that_is_cut_or_continued_is_refused(payload, data):
    encoded = codec.encode(payload).join()
    with pytest.raises(ValueError, match="not an encoded payload"):
        codec.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(ValueError, match="not an encoded payload"):
        codec.decode(encoded + b"\0")


def forged(head, body=b""):
    return len(head).to_bytes(4, "little") + head + body


def array_head(dtype, shape):
    return msgpack.packb(msgpack.ExtType(1, msgpack.packb([dtype, shape])))


HOSTILE = [
    array_head("<f8", [2**40]),
    array_head("<f8", [2**63, 2**63]),
    array_head("<f8", [2**64 - 1, 0]),
    array_head("<f8", [-1]),
    array_head("<f8", [-1, -1]),
    array_head("<f8", [1.5]),
    array_head("<f8", 3),
    array_head("|O", [1]),
    array_head("O", [0]),
    array_head("|V8", [1]),
    array_head("f8,f8", [0]),
    array_head("100000000f8", [0]),
    array_head(None, [0]),
    array_head([["a", "f8"]], [0]),
    msgpack.packb({codec.TUPLE_MARK: 5}),  # a tuple that is a number
    msgpack.packb({codec.TUPLE_MARK: "text"}),
    msgpack.packb({codec.TUPLE_MARK: [], "a": 1}),
    msgpack.packb(codec.TUPLE_MARK),
    msgpack.packb({msgpack.ExtType(codec.TUPLE, b"more"): []}),
    msgpack.packb(msgpack.ExtType(99, b"")),
    msgpack.packb([{"a": msgpack.Timestamp(1)}]),
    msgpack.packb({msgpack.Timestamp(1, 5): 1}),
    msgpack.packb({"a": 1})[:-1],
    b"\xdd\xff\xff\xff\xff",  # a list of 2^32 - 1 items
    b"\xc6\xff\xff\xff\xff",  # a string of 2^32 - 1 bytes
    b"\x91" * 100_000,  # lists in lists
    b"\x81\x90\x01",  # a list as a key
]


@pytest.mark.parametrize("body", [b"", bytes(8)])
@pytest.mark.parametrize("head", HOSTILE)
def test_hostile_heads_are_refused_without_allocating(head, body):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="not an encoded payload"):
            codec.decode(forged(head, body))
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [1, 2])  # an array, a scalar
def test_a_boolean_is_0_or_1(kind):
    head = msgpack.packb(msgpack.ExtType(kind, msgpack.packb(["|b1", []])))
    assert [bool(codec.decode(forged(head, bytes([byte])))) for byte in (0, 1)] == [False, True]
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        codec.decode(forged(head, b"\2"))


def test_tuples_nested_deeply_are_refused():
    head = b"\x81" + msgpack.packb(codec.TUPLE_MARK) + b"\x91"
    with pytest.raises(ValueError, match="not an encoded payload"):
        codec.decode(forged(head * 50_000 + b"\xc0"))
