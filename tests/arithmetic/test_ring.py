"""Z_2^b against Python integers, and its packing against a bit-by-bit oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.arithmetic import ring

any_bits = st.integers(1, 64)
words = st.lists(
    st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]),
    min_size=1,
    max_size=8,
)


def array(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


def packed_bit_by_bit(values: np.ndarray, bits: int) -> np.ndarray:
    """The definition of the packed form, with one byte for each bit in between."""
    each = values[:, None] >> np.arange(bits, dtype=np.uint64) & np.uint64(1)
    return np.packbits(each.astype(np.uint8).reshape(-1), bitorder="little")


@given(words, words, any_bits)
def test_arithmetic_is_that_of_integers_modulo_a_power_of_two(a, b, bits):
    length = min(len(a), len(b))
    a, b = a[:length], b[:length]
    x, y = array(a), array(b)
    modulus = 2**bits
    assert ring.reduce(x, bits).tolist() == [i % modulus for i in a]
    assert ring.add(x, y, bits).tolist() == [(i + j) % modulus for i, j in zip(a, b, strict=True)]
    assert ring.subtract(x, y, bits).tolist() == [
        (i - j) % modulus for i, j in zip(a, b, strict=True)
    ]
    assert ring.multiply(x, y, bits).tolist() == [
        (i * j) % modulus for i, j in zip(a, b, strict=True)
    ]
    assert ring.negate(x, bits).tolist() == [-i % modulus for i in a]


def test_operations_leave_their_operands_alone_and_keep_shapes():
    a = array([[1, 2, 3], [4, 5, 6]])
    for result in (ring.reduce(a, 2), ring.add(a, 7, 2), ring.negate(a, 2), ring.reduce(a, 64)):
        assert result.shape == (2, 3)
        result[...] = 0
    assert a.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert ring.add(3, 2, bits=2) == 1
    assert ring.reduce(-1, 64) == 2**64 - 1


@given(st.data(), any_bits)
def test_signed_round_trip(data, bits):
    half = 2 ** (bits - 1)
    signed = data.draw(st.lists(st.integers(-half, half - 1), min_size=1, max_size=8))
    elements = ring.from_signed(np.array(signed, np.int64), bits)
    assert elements.tolist() == [v % 2**bits for v in signed]
    back = ring.to_signed(elements, bits)
    assert back.dtype == np.int64
    assert back.tolist() == signed


@pytest.mark.parametrize("bits", [1, 7, 32, 63])
def test_signed_values_out_of_range_are_refused(bits):
    half = 2 ** (bits - 1)
    for wrong in (half, -half - 1):
        with pytest.raises(ValueError, match=rf"got {wrong} at index \(1,\)"):
            ring.from_signed([0, wrong], bits)


def test_unsigned_words_of_half_the_ring_are_no_signed_values():
    with pytest.raises(ValueError, match="got 9223372036854775808"):
        ring.from_signed(np.array([2**63], np.uint64), 64)


def test_packing_known_answers():
    # 5 + 6 * 8 + 7 * 64 = 501 = 0x1f5; 0xabc + 0xdef * 2^12 = 0xdefabc
    assert ring.pack([5, 6, 7], 3).tobytes() == bytes.fromhex("f501")
    assert ring.pack([0xABC, 0xDEF], 12).tobytes() == bytes.fromhex("bcfade")
    assert ring.pack([1, 0, 0, 0, 0, 0, 0, 0, 1], 1).tobytes() == bytes.fromhex("0101")
    assert ring.pack([0x0123456789ABCDEF], 64).tobytes() == bytes.fromhex("efcdab8967452301")
    assert ring.unpack(np.frombuffer(bytes.fromhex("f501"), np.uint8), 3, 3).tolist() == [5, 6, 7]


@pytest.mark.parametrize("bits", range(1, 65))
@pytest.mark.parametrize("few", [0, ring._FEW], ids=["by columns", "by bits"])
def test_packing_every_width_against_the_bit_by_bit_oracle(bits, few, monkeypatch):
    monkeypatch.setattr(ring, "_FEW", few)
    random = np.random.default_rng(bits)
    for length in (1, 2, 63, 64, 65, 200):
        values = random.integers(0, 2**64, length, dtype=np.uint64) >> np.uint64(64 - bits)
        values[0] = 2**bits - 1
        packed = ring.pack(values, bits)
        assert packed.size == ring.packed_size(length, bits) == (bits * length + 7) // 8
        assert np.array_equal(packed, packed_bit_by_bit(values, bits))
        assert np.array_equal(ring.unpack(packed, bits, length), values)


@pytest.mark.parametrize("bits", [1, 5, 20, 32, 33, 61])
def test_packing_across_blocks(bits):
    values = np.random.default_rng(0).integers(0, 2**bits, (2, 66_001), dtype=np.uint64)
    packed = ring.pack(values, bits)
    assert np.array_equal(packed, packed_bit_by_bit(values.reshape(-1), bits))
    assert np.array_equal(ring.unpack(packed, bits, values.size), values.reshape(-1))


def test_packing_nothing():
    empty = np.empty(0, np.uint64)
    for bits in (1, 8, 20, 64):
        assert ring.pack(empty, bits).size == 0
        assert ring.unpack(ring.pack(empty, bits), bits, 0).size == 0


@pytest.mark.parametrize("bits", [1, 8, 20, 32, 63])
def test_a_value_that_does_not_fit_is_refused(bits):
    with pytest.raises(ValueError, match=rf"2\^{bits} .* got {2**bits} at index \(1, 0\)"):
        ring.pack(array([[0, 1], [2**bits, 2**bits]]), bits)


@pytest.mark.parametrize("bits", [8, 20])
def test_a_message_of_another_length_is_refused(bits):
    packed = ring.pack([1, 2, 3], bits)
    for wrong in (packed[:-1], np.append(packed, np.uint8(0))):
        with pytest.raises(ValueError, match=f"must hold {packed.size} bytes for length=3"):
            ring.unpack(wrong, bits, 3)
    with pytest.raises(ValueError, match="got uint16"):
        ring.unpack(packed.astype(np.uint16), bits, 3)


def test_stray_bits_after_the_last_element_are_refused():
    packed = ring.pack([1, 2, 3], 3)  # nine bits: seven are unused
    for bit in range(1, 8):
        stray = packed.copy()
        stray[-1] |= 1 << bit
        with pytest.raises(ValueError, match="zero bits after its 3 elements"):
            ring.unpack(stray, 3, 3)


@pytest.mark.parametrize("bits", [0, -1, 65])
def test_impossible_widths_are_refused(bits):
    for call in (
        lambda: ring.reduce([1], bits),
        lambda: ring.to_signed([1], bits),
        lambda: ring.pack([1], bits),
        lambda: ring.packed_size(1, bits),
    ):
        with pytest.raises(
            ValueError, match=f"bits must be a whole number between 1 and 64, got {bits}"
        ):
            call()


@pytest.mark.parametrize("bits", [8.0, 2.5, True])
def test_widths_and_lengths_are_whole_numbers(bits):
    for call in (
        lambda: ring.add([1], [1], bits),
        lambda: ring.pack([1], bits),
        lambda: ring.packed_size(bits, 8),
        lambda: ring.unpack(np.zeros(1, np.uint8), 8, bits),
    ):
        with pytest.raises(ValueError, match="must be a whole number"):
            call()


def test_widths_and_lengths_of_numpy_types_do_not_wrap():
    values = np.arange(200, dtype=np.uint64)
    packed = ring.pack(values, np.uint8(12))
    assert ring.unpack(packed, np.uint8(12), np.uint8(200)).tolist() == values.tolist()


@pytest.mark.parametrize("bits", [8, 64, np.uint8(8)])
def test_results_are_arrays_also_of_numbers_and_of_nothing(bits):
    for shape, a in (((), 3), ((0,), []), ((0, 2), np.zeros((0, 2)))):
        for result in (
            ring.add(a, a, bits),
            ring.subtract(a, a, bits),
            ring.multiply(a, a, bits),
            ring.negate(a, bits),
            ring.reduce(a, bits),
            ring.from_signed(a, bits),
        ):
            assert isinstance(result, np.ndarray)
            assert (result.dtype, result.shape) == (np.uint64, shape)
        signed = ring.to_signed(a, bits)
        assert isinstance(signed, np.ndarray) and signed.dtype == np.int64


def test_reals_are_refused():
    with pytest.raises(TypeError, match="as a numpy array of uint64"):
        ring.add([0, 2**63], [1])  # numpy would read this list as doubles
    with pytest.raises(TypeError, match="got dtype float64"):
        ring.add([0.5], [1])


EXTREMES = [0, 1, 2**21 - 1, 2**21, 2**22 - 1, 2**43 + 2**21, 2**63, 2**64 - 2**21, 2**64 - 1]


@given(st.data(), any_bits)
def test_a_matrix_product_is_that_of_integers(data, bits):
    m, k, n = (data.draw(st.integers(0, 4)) for _ in range(3))
    element = st.integers(0, 2**64 - 1) | st.sampled_from(EXTREMES)
    a, b = (
        np.array(
            data.draw(st.lists(element, min_size=r * c, max_size=r * c)), dtype=np.uint64
        ).reshape(r, c)
        for r, c in ((m, k), (k, n))
    )
    rows, columns = a.tolist(), b.T.tolist()
    exact = [
        [sum(p * q for p, q in zip(row, col, strict=True)) % 2**bits for col in columns]
        for row in rows
    ]
    product = ring.matmul(a, b, bits)
    assert (product.dtype, product.shape) == (np.uint64, (m, n))
    assert product.tolist() == exact


@pytest.mark.parametrize("inner", [682, 683, 2048, 2049, 6145])
def test_a_long_inner_dimension_stays_exact(inner):
    """Each limb as large as it can be, all of one sign: one product more would not fit a double."""
    for word in (EXTREMES[3], 2**21 + 2**43, 2**64 - 1):
        a, b = np.full((2, inner), word, np.uint64), np.full((inner, 3), word, np.uint64)
        assert ring.matmul(a, b).tolist() == [[word * word * inner % 2**64] * 3] * 2
    random = np.random.default_rng(inner)
    a, b = (random.integers(0, 2**64, shape, np.uint64) for shape in ((3, inner), (inner, 2)))
    a |= np.uint64(EXTREMES[3])
    assert np.array_equal(ring.matmul(a, b), a @ b)


def test_a_matrix_product_takes_transposes_and_signed_integers():
    a = np.arange(-6, 6).reshape(3, 4)
    assert np.array_equal(ring.to_signed(ring.matmul(a.T, a)), a.T @ a)
    assert np.array_equal(ring.to_signed(ring.matmul(a[::2], a.T[:, ::-1])), a[::2] @ a.T[:, ::-1])


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 3)), ((3,), (3, 1)), ((1, 2, 3), (3, 1))])
def test_matrices_that_do_not_fit_are_refused(a, b):
    with pytest.raises(ValueError, match=r"a must be \(m, k\) and b \(k, n\), got shapes"):
        ring.matmul(np.ones(a, np.uint64), np.ones(b, np.uint64))
