"""Real numbers as small non-negative integers that can be added exactly.

Secret sharing, masking and encryption add integers. ``FixedPoint`` maps a real value v in
[-bound, bound] to the nearest of 2^bits - 1 evenly spaced levels:

    encode(v) = round(v * scale) + offset,   offset = 2^(bits-1) - 1,   scale = offset / bound

so an encoding lies in [0, 2 * offset], and -bound, 0 and bound are levels: zero costs no error.
The sum of k encodings is k * offset too large, and ``decode`` takes that off.

Why an offset and not two's complement: all encodings and all their sums are non-negative
integers below 2^sum_bits, so they mean the same in every place that holds sums: Z_2^b for any
b >= sum_bits, F_p with p = 2^61 - 1, a slot of a Paillier plaintext. No sign bit has to be carried
from one to the other. The price: who decodes must know how many values were added.

A sum can never wrap around: sum_bits = ceil(log2(summands * (2^bits - 1) + 1)), the formula of
secure aggregation (Bonawitz et al., CCS 2017), and sum_bits > 60 is refused.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic.checks import whole

_LARGEST_SUM_BITS = 60  # every such sum is below 2^61 - 1, hence also a field element
_MOST_BITS = 48  # beyond, the 53 bits of a double would add visibly to the rounding error


@dataclass(frozen=True)
class FixedPoint:
    """An encoding of reals in [-bound, bound], of which up to ``summands`` may be added.

    bound: the largest magnitude, in the unit of the values. bits: bits of one encoding, 2 to 48.
    summands: the most encodings that will ever be added. Raises ValueError for a bound that is
    not positive and finite, for bits or summands out of range, and when sum_bits exceeds 60.

    Rounding is to nearest, so one value is off by at most half a ``unit`` (computing in doubles
    adds at most 2^(bits-52) unit), and the sum of k values by at most k times that. Values that
    fall between levels at random are off by unit / sqrt(12) each on average, and the errors of
    independent values add up like sqrt(k).
    """

    bound: float = 1.0
    bits: int = 16
    summands: int = 256

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bound) and self.bound > 0):
            raise ValueError(f"bound must be positive and finite, got {self.bound}")
        set_field = partial(object.__setattr__, self)  # the class is frozen
        set_field("bound", float(self.bound))  # a numpy bound would set the precision
        set_field("bits", whole("bits", self.bits, 2, _MOST_BITS))
        set_field("summands", whole("summands", self.summands, 1))
        if not (math.isfinite(self.scale) and self.unit > 0):
            raise ValueError(f"bound={self.bound} is too small for {self.bits} bits in a double")
        if self.sum_bits > _LARGEST_SUM_BITS:
            raise ValueError(
                f"sum_bits must be at most {_LARGEST_SUM_BITS}, got {self.sum_bits} for "
                f"bits={self.bits}, summands={self.summands}; take fewer of either"
            )

    @property
    def offset(self) -> int:
        """The encoding of zero, and the number of units in ``bound``."""
        return 2 ** (self.bits - 1) - 1

    @property
    def scale(self) -> float:
        """Levels per 1.0 of value."""
        return self.offset / self.bound

    @property
    def unit(self) -> float:
        """Distance between neighbouring levels, in the unit of the values."""
        return self.bound / self.offset

    @property
    def sum_bits(self) -> int:
        """Bits that hold any sum of up to ``summands`` encodings of ``bits`` bits."""
        # ceil(log2(m + 1)) is the length of m in binary.
        return (self.summands * (2**self.bits - 1)).bit_length()

    def rounding_error(self, summands: int = 1) -> float:
        """The most that a sum of ``summands`` values is off by: half a unit for each value."""
        return self._checked_summands(summands) * self.unit / 2

    def encode(self, values: ArrayLike) -> NDArray[np.uint64]:
        """The nearest level of each value: ``uint64`` in [0, 2 * offset], shape kept.

        Raises ValueError naming the first value that is NaN, infinite or outside the bound, that
        is, whose nearest level lies beyond that of the bound. (So 0.1 in single precision, which
        is 0.1 + 1.5e-9, passes for bound=0.1.) Nothing is ever clipped: that is the caller's
        choice to make, with ``numpy.clip``.
        """
        levels = np.asarray(np.multiply(values, self.scale, dtype=np.float64))
        np.rint(levels, out=levels)
        if not (levels.min(initial=0) >= -self.offset and levels.max(initial=0) <= self.offset):
            array = np.asarray(values)  # a NaN is its own minimum, and fails both comparisons
            index = _first(~(np.abs(levels) <= self.offset))
            raise ValueError(
                f"values must lie in [-{self.bound}, {self.bound}], got {array[index]} at index "
                f"{index}; clip them or choose a larger bound"
            )
        levels += self.offset
        return levels.astype(np.uint64)

    def decode(self, total: ArrayLike, *, summands: int) -> NDArray[np.float64]:
        """The real sum that a sum of ``summands`` encodings stands for: ``float64``, same shape.

        Raises ValueError if ``summands`` is not in 1..self.summands, and if a total is larger
        than that many encodings can be, the sign of a wrong key, modulus or count. (A wrong total
        within the range cannot be told from a right one.)
        """
        array = np.asarray(total)
        if array.dtype.kind not in "ui" and array.size:
            raise TypeError(f"total must hold integers, got dtype {array.dtype}")
        summands = self._checked_summands(summands)
        largest = 2 * self.offset * summands
        if array.min(initial=0) < 0 or array.max(initial=0) > largest:
            index = _first((array < 0) | (array > largest))
            raise ValueError(
                f"total must lie in [0, {largest}] for summands={summands}, got {array[index]} "
                f"at index {index}; was it added in another ring, or damaged?"
            )
        signed = array.astype(np.int64) - summands * self.offset
        return np.asarray(signed / self.scale)

    def _checked_summands(self, summands: int) -> int:
        remedy = "choose a FixedPoint with more summands"
        return whole("summands", summands, 1, self.summands, remedy=remedy)


def _first(wrong: NDArray[np.bool_]) -> tuple[int, ...]:
    """The first index that is marked."""
    return tuple(map(int, np.argwhere(wrong)[0]))
