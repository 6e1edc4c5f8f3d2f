"""The prime field F_p with p = 2^61 - 1, on whole arrays.

An element is a ``uint64`` in [0, p). Functions take arrays of any shape, broadcast them as numpy
does, and return a new ``uint64`` array. A ``uint64`` array is taken at its word (checking it
would cost as much as adding it); anything else, such as a list or a Python int, is checked to lie
in [0, p). Put an array that comes from somebody else through ``elements`` once.

p is a Mersenne prime: 2^61 = 1 modulo p. So a large number is reduced without division, by adding
its bits from 61 upwards to its low 61 bits (Knuth, The Art of Computer Programming, vol. 2,
4.3.2). The last step from [0, 2p) to [0, p) is ``minimum(v, v - p)``: below p, v - p wraps around
to a huge number and the minimum is v.

Work goes in blocks that fit the processor's cache, so the temporaries of a formula cost little.
The time of an operation does not depend on the values, save for ``inverse`` of zero (an error).
"""

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic.checks import whole

Elements = NDArray[np.uint64]
Block = NDArray[Any]  # in a formula: uint64 too, which numpy's type hints lose at a shift

P = 2**61 - 1
_LOW32, _LOW31, _LOW30, _LOW29 = (2**bits - 1 for bits in (32, 31, 30, 29))
_BLOCK = 8192  # elements at a time: one temporary is 64 KiB


def elements(values: ArrayLike) -> Elements:
    """Integers that already lie in [0, p), as a ``uint64`` array; ValueError for any other."""
    array = np.asarray(values)
    _require_integers(array)
    below = array.dtype.kind == "i" and array.min(initial=0) < 0
    if below or array.max(initial=0) >= P:
        wrong = (array < 0) | (array >= P)
        where = f" at index {tuple(map(int, np.argwhere(wrong)[0]))}" if array.ndim else ""
        raise ValueError(
            f"field elements must lie in [0, 2^61 - 1), got {array[wrong][0]}{where}; "
            "use field.reduce"
        )
    return array.astype(np.uint64, copy=False)


def reduce(values: ArrayLike) -> Elements:
    """Any integers of up to 64 bits, signed or not, modulo p."""
    array = np.asarray(values)
    _require_integers(array)
    reduced = _blockwise(_reduced, array.astype(np.uint64, copy=False))
    if array.dtype.kind == "i":
        # As unsigned words negative numbers are 2^64 too large, and 2^64 = 8 modulo p.
        reduced = subtract(reduced, 8 * (array < 0).astype(np.uint64))
    return reduced


def to_signed(values: ArrayLike) -> NDArray[np.int64]:
    """The representatives nearest to zero, in [-(p-1)/2, (p-1)/2]."""
    signed = _operand(values).astype(np.int64)
    return np.where(signed > P // 2, signed - P, signed)


def add(a: ArrayLike, b: ArrayLike, *, out: Elements | None = None) -> Elements:
    """a + b."""
    return _blockwise(_add, a, b, out=out)


def subtract(a: ArrayLike, b: ArrayLike, *, out: Elements | None = None) -> Elements:
    """a - b."""
    return _blockwise(_subtract, a, b, out=out)


def negate(a: ArrayLike) -> Elements:
    """-a."""
    return _blockwise(_subtract, 0, a)


def multiply(a: ArrayLike, b: ArrayLike, *, out: Elements | None = None) -> Elements:
    """a * b."""
    return _blockwise(_multiply, a, b, out=out)


def power(base: ArrayLike, exponent: int) -> Elements:
    """base ** exponent, for an integer exponent >= 0, by squaring; 0 ** 0 is 1."""
    exponent = whole("exponent", exponent, remedy="invert the base for a negative one")
    square = _operand(base)
    result = np.ones(square.shape, np.uint64)
    while exponent:
        if exponent & 1:
            result = multiply(result, square)
        square = multiply(square, square)
        exponent >>= 1
    return result


def inverse(values: ArrayLike) -> Elements:
    """1 / values; ZeroDivisionError naming the first index that holds a zero.

    Montgomery's trick: 1/x = y * 1/(xy) and 1/y = x * 1/(xy). Halves are paired until one
    product is left, and only that one is inverted: three multiplications an element.
    """
    array = _operand(values)
    if not array.all():
        index = tuple(map(int, np.argwhere(array == 0)[0]))
        raise ZeroDivisionError(f"zero has no inverse modulo 2^61 - 1 (index {index})")
    return _inverse_of_nonzero(array.reshape(-1)).reshape(array.shape)


def sum(values: ArrayLike, axis: int = 0) -> Elements:
    """Sum along one axis, of fewer than 2^32 elements; an empty sum is 0."""
    array = _operand(values)
    # The two 32-bit halves are summed apart, so neither sum can reach 2^64.
    low = np.sum(array & _LOW32, axis=axis, dtype=np.uint64)
    high = np.sum(array >> 32, axis=axis, dtype=np.uint64)
    return add(reduce(low), multiply(reduce(high), 2**32))


def dot(a: ArrayLike, b: ArrayLike, axis: int = -1) -> Elements:
    """Sum of the products a * b along one axis."""
    return sum(multiply(a, b), axis)


def linear_combination(
    coefficients: Sequence[int], rows: Sequence[ArrayLike] | NDArray[Any]
) -> Elements:
    """c_1 row_1 + ... + c_k row_k, for rows of one shape and any integer coefficients."""
    arrays = [_operand(row) for row in rows]
    if len(coefficients) != len(arrays) or len({array.shape for array in arrays}) != 1:
        raise ValueError(
            "a linear combination needs at least one row, rows of one shape and a coefficient "
            f"for each, got {len(coefficients)} coefficients and rows of shapes "
            f"{[array.shape for array in arrays]}"
        )
    signed = [(int(coefficient) + P // 2) % P - P // 2 for coefficient in coefficients]
    small = builtins.sum(map(abs, signed)) <= 8
    flat = [array.reshape(-1) for array in arrays]
    result = np.empty(flat[0].size, np.uint64)
    for start in range(0, result.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        combine = _small_combination if small else _combination
        combine(signed, [row[block] for row in flat], result[block])
    return result.reshape(arrays[0].shape)


def _combination(coefficients: list[int], rows: list[Block], out: Block) -> None:
    """Products on limbs of 31 and 30 bits: those of four rows add up before they are reduced."""
    total = np.zeros(out.size, np.uint64)
    for start in range(0, len(rows), 4):
        high, middle, low = np.zeros((3, out.size), np.uint64)
        for coefficient, a in zip(coefficients[start : start + 4], rows[start:], strict=False):
            b1, b0 = map(np.uint64, divmod(coefficient % P, 2**31))
            a1, a0 = a >> 31, a & _LOW31
            high += a1 * b1  # below 4 * 2^60
            middle += a1 * b0 + a0 * b1  # below 4 * 2^62
            low += a0 * b0  # below 4 * 2^62
        # The sum is high 2^62 + middle 2^31 + low, and 2^62 = 2, 2^61 = 1 modulo p.
        total += (high << 1) + (middle >> 30) + ((middle & _LOW30) << 31)
        total = _folded(total + (low & P) + (low >> 61))
    _below_p(total, out)


def _small_combination(coefficients: list[int], rows: list[Block], out: Block) -> None:
    """For magnitudes that add up to 8 or less, as those of Lagrange at x = 1, 2, 3.

    p is added once for each unit below zero. Then the sum lies in [0, 8p], so it is right although
    its parts may wrap around modulo 2^64.
    """
    below_zero = -builtins.sum(c for c in coefficients if c < 0)
    total = np.full(out.size, below_zero * P, np.uint64)
    for coefficient, row in zip(coefficients, rows, strict=True):
        total += row * np.uint64(coefficient % 2**64)
    _reduced(total, out)


def _add(x: Block, y: Block, out: Block) -> None:
    np.add(x, y, out=out)
    _below_p(out, out)


def _subtract(x: Block, y: Block, out: Block) -> None:
    # A negative difference has wrapped around to a huge number, and adding p wraps it back.
    np.subtract(x, y, out=out)
    np.minimum(out, out + P, out=out)


def _multiply(x: Block, y: Block, out: Block) -> None:
    _reduced(_product(x, y), out)


def _reduced(v: Block, out: Block) -> Block:
    """Any word, modulo p."""
    return _below_p(_folded(v), out)


def _folded(v: Block) -> Block:
    """Any word, to a number below p + 8 that equals it modulo p."""
    return (v & P) + (v >> 61)


def _below_p(v: Block, out: Block) -> Block:
    """From [0, 2p) to [0, p)."""
    return np.minimum(v, v - P, out=out)


def _product(a: Block, b: Block | np.uint64) -> Block:
    """A number below 2^63 - 2^61 that equals a * b modulo p.

    With a = a1 2^32 + a0 and b = b1 2^32 + b0 (a1, b1 < 2^29; a0, b0 < 2^32):
    a b = a1 b1 2^64 + (a1 b0 + a0 b1) 2^32 + a0 b0, and 2^64 = 8, 2^61 = 1 modulo p.
    """
    a1, a0 = a >> 32, a & _LOW32
    b1, b0 = b >> 32, b & _LOW32
    middle = a1 * b0 + a0 * b1  # below 2^62
    low = a0 * b0  # below 2^64
    total = (a1 * b1) << 3  # below 2^61
    total += middle >> 29  # middle 2^32 = (middle >> 29) 2^61 + (middle & _LOW29) 2^32
    total += (middle & _LOW29) << 32  # below 2^61
    total += low & P
    total += low >> 61
    return total


def _inverse_of_nonzero(array: Elements) -> Elements:
    if array.size <= 1:
        return np.array([pow(int(x), -1, P) for x in array], np.uint64)
    half = array.size // 2
    left, right, rest = array[:half], array[half : 2 * half], array[2 * half :]
    of_products = _inverse_of_nonzero(multiply(left, right))
    parts = [multiply(of_products, right), multiply(of_products, left), _inverse_of_nonzero(rest)]
    return np.concatenate(parts)


def _blockwise(
    kernel: Callable[..., object], *operands: ArrayLike, out: Elements | None = None
) -> Elements:
    """kernel(block of each operand, block of out) along the broadcast operands."""
    arrays = [_operand(operand) for operand in operands]
    op_flags: Any = [["readonly", "overlap_assume_elementwise"]] * len(arrays)
    blocks = np.nditer(
        [*arrays, out],  # None asks for a new array
        flags=["external_loop", "buffered", "zerosize_ok", "copy_if_overlap"],
        op_flags=[*op_flags, ["writeonly", "allocate", "no_broadcast"]],
        op_dtypes=[np.uint64] * (len(arrays) + 1),
        buffersize=_BLOCK,
    )
    with blocks:
        result = blocks.operands[-1]
        for block in blocks:
            kernel(*block)
    return result if out is None else out


def _operand(values: ArrayLike) -> Elements:
    if isinstance(values, np.ndarray) and values.dtype == np.uint64:
        return values
    return elements(values)


def _require_integers(array: NDArray) -> None:
    if array.dtype.kind not in "bui" and array.size:  # numpy takes [] for doubles
        raise TypeError(
            f"field elements must be integers of at most 64 bits, got dtype {array.dtype}"
        )
