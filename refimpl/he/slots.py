"""Several fixed-point values in one plaintext coefficient, above the room that the noise needs.

    a word:  | slot k-1 | ... | slot 0 | noise |        k * slot_bits + noise_bits = 64

A slot has the bits of the encoding's largest sum, so slots never run into each other. The message
is scaled by Δ = 2^noise_bits, and noise below Δ/2 in magnitude is rounded off without a trace.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import lattice_noise

Words = NDArray[np.uint64]

WORD = 64
TYPICAL_LENGTH = 1_000_000  # the vector for which slots are chosen


@dataclass(frozen=True)
class Slots:
    """``count`` slots of ``bits`` each in a word of 64 bits, for rows of ``row`` coefficients."""

    count: int
    bits: int
    row: int

    @property
    def noise_bits(self) -> int:
        """Bits below the slots: Δ = 2^noise_bits."""
        return WORD - self.count * self.bits

    @property
    def half(self) -> int:
        """Δ/2, which the noise must not reach."""
        return 1 << (self.noise_bits - 1)

    def rows(self, length: int) -> int:
        """Rows that hold ``length`` values."""
        return -(-length // (self.count * self.row))

    def coefficients(self, length: int) -> int:
        """Coefficients of those rows, each with noise of its own."""
        return self.rows(length) * self.row

    def pack(self, values: Words) -> Words:
        """Values (length,) as scaled coefficients (rows, row); what no value fills is zero.

        The first rows * row values are in slot 0, the next ones in slot 1, and so on.
        """
        packed = np.zeros((self.rows(values.size), self.row), np.uint64)
        flat = packed.reshape(-1)
        for slot in range(self.count):
            part = values[slot * flat.size : (slot + 1) * flat.size]
            flat[: part.size] |= part << np.uint64(self.noise_bits + slot * self.bits)
        return packed

    def unpack(self, packed: Words) -> Words:
        """Scaled coefficients, any noise rounded off by now, as values: (count, rows, row)."""
        shifts = np.arange(self.count, dtype=np.uint64) * self.bits + self.noise_bits
        parts = packed >> shifts.astype(np.uint64).reshape(-1, *[1] * packed.ndim)
        parts &= np.uint64((1 << self.bits) - 1)
        return parts


def choose(encoding: FixedPoint, variance: float, row: int) -> Slots:
    """As many slots as leave the noise its room, with failures below 2^-40 a vector.

    ``variance``: a bound on that of one summand's noise. The sum has ``encoding.summands`` times
    as much, in each coefficient of a vector of 10^6 values.
    Raises ValueError where not even one slot fits.
    """
    for count in range(WORD // encoding.sum_bits, 0, -1):
        slots = Slots(count, encoding.sum_bits, row)
        if slots.noise_bits > 1 and fits(slots, encoding, variance, TYPICAL_LENGTH):
            return slots
    raise ValueError(
        f"sums of {encoding.sum_bits} bits (bits={encoding.bits}, summands={encoding.summands}) "
        "leave no room for the noise in 64 bits; take fewer of either"
    )


def fits(slots: Slots, encoding: FixedPoint, variance: float, length: int) -> bool:
    """Whether the noise of the largest sum stays below Δ/2, but for 2^-40."""
    total = variance * encoding.summands
    return lattice_noise.limit(total, slots.coefficients(length)) < slots.half


def encoded(values: ArrayLike, encoding: FixedPoint) -> Words:
    """The fixed-point integers of a vector; ValueError or TypeError for anything else."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"vector must be real numbers in one dimension, got {array.dtype} of {array.shape}"
        )
    return encoding.encode(array)
