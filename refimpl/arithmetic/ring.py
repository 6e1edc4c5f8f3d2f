"""Integers modulo 2^b, for b from 1 to 64, and their dense packing for the wire.

An element of Z_2^b is a ``uint64`` in [0, 2^b). All functions take whole arrays of any shape and
return a new ``uint64`` array of that shape (two operands broadcast as in numpy). They also take
any other integers, and read them modulo 2^64, so that -1 means 2^b - 1. Floats are an error.

Addition and multiplication of ``uint64`` arrays already wrap modulo 2^64. Because 2^b divides
2^64, one mask afterwards gives the result modulo 2^b.

Packed form: element i takes bits i*b to i*b + b - 1 of the message, and bit k of the message is
bit k % 8 of byte k // 8. So n elements take exactly ceil(b*n / 8) bytes, and the unused top bits
of the last byte are zero. For b = 8, 16, 32 and 64 this is the little-endian array itself.

Nothing here depends on secret values except through numpy's own arithmetic.
"""

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic.checks import whole

Words = NDArray[np.uint64]

WORD = 64  # bits in the machine word that holds an element
_BLOCK = 1 << 17  # elements packed at a time, so that the work stays in the processor's cache
_FEW = 1 << 11  # elements for which single bits are moved faster than columns of words
_LIMB = 22  # bits of a limb, three of which hold a word, see matmul
_INNER = 1 << 53 - 2 * (_LIMB - 1)  # products of two limbs whose sum is exact in a double


def reduce(values: ArrayLike, bits: int) -> Words:
    """Any integers modulo 2^bits; negative ones as their two's complement."""
    return _masked(_words(values).copy(), bits)


def add(a: ArrayLike, b: ArrayLike, bits: int = WORD) -> Words:
    """a + b modulo 2^bits."""
    return _masked(np.add(_words(a), _words(b)), bits)


def subtract(a: ArrayLike, b: ArrayLike, bits: int = WORD) -> Words:
    """a - b modulo 2^bits."""
    return _masked(np.subtract(_words(a), _words(b)), bits)


def negate(a: ArrayLike, bits: int = WORD) -> Words:
    """-a modulo 2^bits."""
    return _masked(np.negative(_words(a)), bits)


def multiply(a: ArrayLike, b: ArrayLike, bits: int = WORD) -> Words:
    """a * b modulo 2^bits."""
    return _masked(np.multiply(_words(a), _words(b)), bits)


def matmul(a: ArrayLike, b: ArrayLike, bits: int = WORD) -> Words:
    """The matrix product of ``a``, shape (m, k), and ``b``, shape (k, n), modulo 2^bits: (m, n).

    Exact, by the processor's fast product of doubles. Each word is three limbs of 22 bits,
    a = Σ a_i 2^(22 i) modulo 2^64, and so is b, hence

        a b = Σ_s 2^(22 s) Σ_(i+j=s) a_i b_j,   s = 0, 1, 2   (from s = 3 on, 2^66 divides it)

    A limb is signed, at most 2^21 in magnitude, and a product of two at most 2^42. So sums of up
    to 2^11 of them stay within 2^53, and doubles hold them exactly in any order; a longer inner
    dimension is cut into blocks of that length. Raises ValueError for shapes that do not fit.
    """
    x, y = _words(a), _words(b)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[0]:
        raise ValueError(f"a must be (m, k) and b (k, n), got shapes {x.shape} and {y.shape}")
    (m, k), n = x.shape, y.shape[1]
    rows, columns = np.empty((m, 3, k)), np.empty((3, k, n))
    _cut(x, rows.swapaxes(0, 1))  # a row of a_0, a_1, a_2
    _cut(y, columns[::-1])  # over each other, b_2, b_1, b_0
    product = np.zeros((m, n), np.uint64)
    for s in (2, 1, 0):  # [a_0 .. a_s] times [b_s; ..; b_0] is the inner sum of the formula
        left = rows.reshape(m, 3 * k)[:, : (s + 1) * k]
        right = columns.reshape(3 * k, n)[(2 - s) * k :]
        product <<= np.uint64(_LIMB)
        for start in range(0, len(right), _INNER):
            block = slice(start, start + _INNER)
            product += (left[:, block] @ right[block]).astype(np.int64).view(np.uint64)
    return _masked(product, bits)


def from_signed(values: ArrayLike, bits: int = WORD) -> Words:
    """Two's complement: the element of Z_2^bits that stands for a signed integer.

    Raises ValueError if a value is not in [-2^(bits-1), 2^(bits-1)).
    """
    words = _words(values)
    elements = _masked(words.copy(), bits)
    # An unsigned array may hold values of 2^63 and more, which the round trip maps below zero.
    wrong = to_signed(elements, bits) != np.asarray(values)
    if wrong.any():
        raise ValueError(
            f"values must lie in [-2^{bits - 1}, 2^{bits - 1}) for bits={bits}, "
            f"got {np.asarray(values)[wrong][0]}{_where(wrong)}"
        )
    return elements


def to_signed(elements: ArrayLike, bits: int = WORD) -> NDArray[np.int64]:
    """The signed integers, ``int64`` in [-2^(bits-1), 2^(bits-1)), that elements stand for."""
    # Move the sign bit to the top of the word; the signed shift back copies it downwards.
    spare = WORD - _checked_bits(bits)
    return np.asarray((_words(elements) << spare).view(np.int64) >> spare)


def packed_size(length: int, bits: int) -> int:
    """Bytes that ``length`` elements of Z_2^bits take on the wire: ceil(bits * length / 8)."""
    return -(-_checked_bits(bits) * whole("length", length) // 8)


def pack(values: ArrayLike, bits: int) -> NDArray[np.uint8]:
    """Elements, in C order, as ``packed_size(values.size, bits)`` bytes.

    Raises ValueError if an element does not fit in ``bits`` bits.
    """
    words, bits = _words(values), _checked_bits(bits)
    if int(words.max(initial=0)) >> bits:
        wrong = words >= np.uint64(1 << bits)
        raise ValueError(
            f"values must be below 2^{bits} to be packed in bits={bits}, "
            f"got {words[wrong][0]}{_where(wrong)}"
        )
    words = words.reshape(-1)
    if bits in (8, 16, 32, 64):
        return words.astype(f"<u{bits // 8}").view(np.uint8)
    packed = np.empty(packed_size(words.size, bits), np.uint8)
    for start in range(0, words.size, _BLOCK):  # a block fills whole bytes, as 8 divides _BLOCK
        block = _pack_block(words[start : start + _BLOCK], bits)
        at = packed_size(start, bits)
        packed[at : at + block.size] = block[: packed.size - at]
    return packed


def unpack(packed: ArrayLike, bits: int, length: int) -> Words:
    """The ``length`` elements of Z_2^bits that ``pack`` wrote, as a one-dimensional array.

    Raises ValueError unless ``packed`` has exactly the bytes that ``pack`` would have written:
    a message that is too long, too short, or has stray bits at its end is refused.
    """
    data, bits, length = np.ascontiguousarray(packed), _checked_bits(bits), whole("length", length)
    size = packed_size(length, bits)
    if data.dtype != np.uint8 or data.shape != (size,):
        raise ValueError(
            f"packed must hold {size} bytes for length={length}, bits={bits}, "
            f"got {data.dtype} of shape {data.shape}"
        )
    if size and int(data[-1]) >> (bits * length - 8 * (size - 1)):
        raise ValueError(f"packed must end in zero bits after its {length} elements, got others")
    if bits in (8, 16, 32, 64):
        return data.view(f"<u{bits // 8}").astype(np.uint64)
    words = np.empty(length, np.uint64)
    for start in range(0, length, _BLOCK):
        count = min(_BLOCK, length - start)
        at = packed_size(start, bits)
        words[start : start + count] = _unpack_block(data[at:], bits, count)
    return words


def _pack_block(words: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """At least the bytes of one block; those past its end are zero."""
    if len(words) < _FEW:
        single = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
        return np.packbits(single.reshape(-1, WORD)[:, :bits], bitorder="little")
    words = _padded(words, WORD)
    while 2 * bits <= WORD:  # two neighbours that fit in one word become one element
        words, bits = words[0::2] | words[1::2] << bits, 2 * bits
    group, filled = _group(bits)
    columns = words.reshape(-1, group)
    packed = np.zeros((len(columns), filled), np.uint64)
    for column in range(group):
        word, shift = divmod(column * bits, WORD)
        packed[:, word] |= columns[:, column] << shift
        if shift + bits > WORD:  # the element's top bits begin the next word
            packed[:, word + 1] = columns[:, column] >> (WORD - shift)
    return packed.astype("<u8", copy=False).reshape(-1).view(np.uint8)


def _unpack_block(data: NDArray[np.uint8], bits: int, length: int) -> Words:
    """The inverse of ``_pack_block``: undo the grouping, then split the doubled elements."""
    if length < _FEW:
        single = np.zeros((length, WORD), np.uint8)
        single[:, :bits] = np.unpackbits(data, count=bits * length, bitorder="little").reshape(
            length, bits
        )
        return np.packbits(single, bitorder="little").view("<u8").astype(np.uint64, copy=False)
    doublings = (WORD // bits).bit_length() - 1
    wide = bits << doublings
    group, filled = _group(wide)
    groups = -(-length // (group << doublings))
    packed = _padded(data[: packed_size(length, bits)], 8 * groups * filled)
    source = packed.view("<u8").astype(np.uint64, copy=False).reshape(groups, filled)
    columns = np.empty((groups, group), np.uint64)
    for column in range(group):
        word, shift = divmod(column * wide, WORD)
        columns[:, column] = source[:, word] >> shift
        if shift + wide > WORD:
            columns[:, column] |= source[:, word + 1] << (WORD - shift)
    words = _masked(columns.reshape(-1), wide)
    for level in reversed(range(doublings)):
        narrow = bits << level
        words = np.stack([_masked(words.copy(), narrow), words >> narrow], axis=1).reshape(-1)
    return words[:length]


def _cut(words: Words, limbs: NDArray[np.float64]) -> None:
    """Fill ``limbs``, shape (3, *words.shape), with integers in [-2^21, 2^21).

    words = Σ_i limbs[i] 2^(22 i). Half a limb is added before the cut and taken off after it: that
    makes a limb signed. (For the last one it is 2^65, which is 0 modulo 2^64.)
    """
    half = 1 << (_LIMB - 1)
    raised = words + np.uint64(half + (half << _LIMB))
    for limb in limbs:
        limb[...] = raised & np.uint64(2 * half - 1)
        limb -= half
        raised >>= _LIMB


def _group(bits: int) -> tuple[int, int]:
    """The fewest elements that fill whole words, and the number of those words."""
    common = gcd(bits, WORD)
    return WORD // common, bits // common


def _padded(array: NDArray, multiple: int) -> NDArray:
    """The array, with zeros appended up to the next multiple of ``multiple`` entries."""
    missing = -len(array) % multiple
    return np.concatenate([array, np.zeros(missing, array.dtype)]) if missing else array


def _words(values: ArrayLike) -> Words:
    """Integers as ``uint64``, modulo 2^64."""
    array = np.asarray(values)
    if array.dtype.kind not in "bui" and array.size:  # numpy takes [] for doubles
        raise TypeError(
            f"values must be integers of at most 64 bits, got dtype {array.dtype}; "
            "give integers of 2^63 and more as a numpy array of uint64"
        )
    return array.astype(np.uint64, copy=False)


def _masked(words: Words, bits: int) -> Words:
    """The low ``bits`` bits, in place; numpy's scalar as an array of no dimensions."""
    array, bits = np.asarray(words), _checked_bits(bits)
    return array if bits == WORD else np.bitwise_and(array, np.uint64((1 << bits) - 1), out=array)


def _checked_bits(bits: int) -> int:
    return whole("bits", bits, 1, WORD)


def _where(wrong: NDArray[np.bool_]) -> str:
    """The first marked index, as the end of an error message."""
    return f" at index {tuple(map(int, np.argwhere(wrong)[0]))}" if wrong.ndim else ""
