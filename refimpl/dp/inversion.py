"""Tables from which a two-sided discrete distribution is drawn fast, and exactly.

The distribution is P(h) proportional to exp(-a |h|^power), on the integers h. Its outcomes stand
in the order 0, 1, -1, 2, -2, ..., and F_j is the chance of the first j + 1 of them. A uniform
number U in [0, 1) stands for the first outcome j with U < F_j. U is revealed bit by bit, and no
further than needed:

- 16 bits look up a guide. Most of its cells lie between two neighbours of the F_j.
- 64 bits are searched for in the table of floor(2^64 F_j).
- Where U agrees with an F_j, or passes the end of the table, 64 more bits are drawn and the F_j
  computed to as many, until U is clear of them all (about 40 standard deviations * 2^-64 draws).

So the outcome is distributed as stated: nothing is rounded, no tail is cut off. The F_j come from
integer arithmetic with stated errors. Inversion with a guide table is Chen and Asau's (AIIE
Transactions 6(2), 1974).

Side channel: time depends on how many bits were needed, which tells something of the outcome. Do
not let the adversary measure it.
"""

from bisect import bisect_right
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.dp import coins

_GUIDE = 16  # bits that look up the guide
_OPEN = -(2**15)  # marks a cell of the guide that more than one outcome shares
_GUARD = 80  # bits computed beyond those kept
_LARGEST = 2**14  # more outcomes on a side would outgrow the 16-bit guide


class Table:
    """P(h) proportional to exp(-a |h|^power), ``power`` 1 or 2, for h in the integers.

    With ``both_zeros``, the magnitude and the sign of a distribution on h >= 0 are drawn: there is
    a zero of either sign, and the negative h is encoded as its complement -1 - h.
    """

    def __init__(self, a: Fraction, power: int, *, both_zeros: bool = False) -> None:
        self.a, self.power, self.both_zeros = a, power, both_zeros
        first = self._cumulative(64)
        if len(first) > 2 * _LARGEST:
            raise ValueError(f"a must be larger: {len(first)} outcomes are too many for a table")
        self._table = np.array(first, np.uint64)
        self._outcomes = np.array([self.outcome(j) for j in range(len(first))], np.int16)
        self._guide = self._make_guide()

    def outcome(self, j: int) -> int:
        """The outcome at place j of the order 0, 1, -1, 2, -2, ... (or 0, -1, 1, -2, 2, ...)."""
        if self.both_zeros:
            return j // 2 if j % 2 == 0 else -1 - j // 2
        return (j + 1) // 2 if j % 2 else -(j // 2)

    def draw(self, size: int, rng: CryptoGenerator) -> NDArray[np.int16]:
        """``size`` independent outcomes."""
        prefixes = rng.uint64(-(-size // 4)).view(np.uint16)[:size]
        drawn = self._guide.take(prefixes)
        rest = np.flatnonzero(drawn == _OPEN)
        words = rng.bits(64 - _GUIDE, rest.size)
        words |= prefixes[rest].astype(np.uint64) << np.uint64(64 - _GUIDE)
        places, certain = self._search(words)
        drawn[rest] = self._outcomes[np.minimum(places, len(self._table) - 1)]
        for i in np.flatnonzero(~certain):
            drawn[rest[i]] = self.outcome(self._refine(int(words[i]), rng))
        return drawn

    def _make_guide(self) -> NDArray[np.int16]:
        """For each 16-bit prefix its outcome, where there is only one."""
        first = np.arange(2**_GUIDE, dtype=np.uint64) << np.uint64(64 - _GUIDE)
        low, certain = self._search(first)
        high, _ = self._search(first + np.uint64(2 ** (64 - _GUIDE) - 1))
        closed = certain & (low == high) & (high < len(self._table))
        return np.where(closed, self._outcomes[np.minimum(low, len(self._table) - 1)], _OPEN)

    def _search(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The places of U, given as its first 64 bits, and whether those decide."""
        places = np.searchsorted(self._table, words, side="right")
        below = np.append(np.uint64(0), self._table)[places]  # the last entry <= U
        clear = (places == 0) | (words - below >= 2)  # c <= 2^64 F < c + 2
        return places, clear & (places < len(self._table))

    def _refine(self, prefix: int, rng: CryptoGenerator) -> int:
        """The place of the number that starts with these 64 bits and goes on at random."""
        bits = 64
        while True:
            bits += 64
            prefix = prefix << 64 | int(rng.uint64())
            table = self._cumulative(bits)
            place = bisect_right(table, prefix)
            if place < len(table) and (place == 0 or prefix - table[place - 1] >= 2):
                return place

    def _cumulative(self, bits: int) -> list[int]:
        """Integers c_j with c_j <= 2^bits F_j < c_j + 2, for all but a tail of 2^-bits.

        Weights are integers in units of 2^-width, rounded down. Of the k-th one, the error is at
        most (k + 1)^2 units, so that of their sum at most (k + 1)^3.
        """
        width = bits + _GUARD
        ratio = self._exponential(self.a, width)  # w_1 / w_0
        change = self._exponential(2 * self.a, width) if self.power == 2 else 1 << width
        weight, total, sums = 1 << width, 0, [0] * 0
        while weight >> (width - bits - 16):
            copies = 1 if not sums and not self.both_zeros else 2
            for _ in range(copies):
                total += weight
                sums.append(total)
            weight = weight * ratio >> width
            ratio = ratio * change >> width
        tail = 4 * (weight + 1) * (1 << width) // max(1, (1 << width) - ratio)
        most = total + tail + 4 * len(sums) ** 3
        return [(s << bits) // most for s in sums]

    @staticmethod
    def _exponential(exponent: Fraction, width: int) -> int:
        """floor(2^width e^-exponent), or one less."""
        low, _ = coins.exponential(exponent, width // 3 + 5)
        return int(low * (1 << width))


@lru_cache(maxsize=16)
def table(a: Fraction, power: int, *, both_zeros: bool = False) -> Table:
    """The table of this distribution; building one takes some milliseconds, so some are kept."""
    return Table(a, power, both_zeros=both_zeros)
