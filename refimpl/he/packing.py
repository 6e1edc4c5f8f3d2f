"""Many small non-negative integers side by side in one large integer, so that one sum adds all.

    packed = v_0 + v_1 2^b + v_2 2^(2 b) + ...        with b = encoding.sum_bits

A slot of b bits holds the sum of ``encoding.summands`` encodings, so no sum ever carries into the
next slot: with 16-bit values and 256 summands b is 24, and a 2048-bit Paillier plaintext holds 85
values. Slots that no value fills hold 0, in every sum.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic import ring
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he.integers import Integer, from_rows, to_rows


def slots(encoding: FixedPoint, capacity: int) -> int:
    """How many values fit in a plaintext of ``capacity`` bits, at least one; else ValueError."""
    fitting = whole("capacity", capacity) // encoding.sum_bits
    if not fitting:
        raise ValueError(
            f"a plaintext of {capacity} bits holds no slot of sum_bits={encoding.sum_bits}; take a "
            "longer key, or an encoding of fewer bits or summands"
        )
    return fitting


def packed_count(length: int, slots: int) -> int:
    """How many plaintexts ``length`` values take."""
    return -(-length // slots)


def pack(values: NDArray[np.uint64], bits: int, slots: int) -> list[Integer]:
    """Values below 2^bits, of shape (length,), as ``packed_count`` integers below 2^(bits slots).

    Raises ValueError for a value that does not fit.
    """
    count, spaced = packed_count(values.size, slots), _whole_bytes(slots)
    filled = np.zeros((count, slots), np.uint64)
    filled.reshape(-1)[: values.size] = values
    rows = np.zeros((count, spaced), np.uint64)
    rows[:, :slots] = filled
    return from_rows(ring.pack(rows, bits).reshape(count, spaced * bits // 8))


def unpack(numbers: Sequence[Integer], bits: int, slots: int, length: int) -> NDArray[np.uint64]:
    """The ``length`` values in ``packed_count`` integers: what ``pack`` wrote, or a sum of such.

    Raises ValueError for integers of another number, or with anything in a slot that no value
    fills: then they are no such sum.
    """
    count, spaced = packed_count(length, slots), _whole_bytes(slots)
    if len(numbers) != count:
        raise ValueError(f"{length} values take {count} plaintexts, got {len(numbers)}")
    if not all(0 <= number >> (bits * slots) == 0 for number in numbers):
        raise ValueError(f"a plaintext is no sum of packed values: it exceeds {slots} slots")
    rows = to_rows(numbers, spaced * bits // 8).reshape(-1)
    values = ring.unpack(rows, bits, count * spaced).reshape(count, spaced)[:, :slots].reshape(-1)
    if values[length:].any():
        raise ValueError("a plaintext is no sum of packed values: there is something past its end")
    return values[:length]


def _whole_bytes(slots: int) -> int:
    """Slots, and empty ones, so that they fill whole bytes for any width."""
    return -(-slots // 8) * 8
