"""Integers modulo 2^k for 64 < k <= 128, as two words: arrays of shape (2, ...), low word first.

On the wire the low words are whole, and the high ones packed to k - 64 bits.
"""

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic import ring

Words = NDArray[np.uint64]


def add(total: Words, other: Words) -> None:
    """total += other, in place, modulo 2^128."""
    total[0] += other[0]
    total[1] += other[1]
    total[1] += total[0] < other[0]  # the carry


def add_small(total: Words, small: Words) -> None:
    """Add 64-bit words in two's complement, of shape (...), to ``total``, (2, ...), in place."""
    sign = (small.view(np.int64) >> 63).view(np.uint64)
    add(total, np.stack([small, sign]))


def pack(words: Words, bits: int) -> tuple[Words, NDArray[np.uint8]]:
    """Words (2, ..., n), modulo 2^bits, as low words (..., n) and bytes (..., n (bits-64) / 8).

    n must be a multiple of 8.
    """
    low, high = words
    packed = ring.pack(ring.reduce(high, bits - 64), bits - 64)
    return low, packed.reshape(*high.shape[:-1], high.shape[-1] * (bits - 64) // 8)


def unpack(low: Words, packed: NDArray[np.uint8], bits: int) -> Words:
    """What ``pack`` wrote: (2, ..., n)."""
    high = ring.unpack(packed.reshape(-1), bits - 64, low.size)
    return np.stack([low, high.reshape(low.shape)])
