"""Masks that cancel: long pseudorandom vectors, expanded from short seeds by AES in counter mode.

    masked = x + PRG(b) + sum over later peers of PRG(s) - sum over earlier peers of PRG(s)

is what a client of secure aggregation sends (Bonawitz et al., CCS 2017, section 4.1). A pair
shares the seed s and gives its mask opposite signs, so that it cancels in the sum. The seed b is
the client's own. PRG(seed) is the AES-128 stream of the key ``seed`` from counter 0 (NIST SP
800-38A, section 6.5), read as little-endian 32-bit words.

Vectors are ``uint32`` arrays, which wrap modulo 2^32. For the ring Z_2^b with b <= 32, add in
``uint32`` and cut the result to its low b bits: 2^b divides 2^32, so this gives the sum modulo
2^b, and the low b bits of a uniform word are uniform.

Adversary: whoever does not hold a seed cannot tell its mask from random words unless AES is broken.
What leaks: a seed used for two vectors reveals their difference, so use each seed once. A mask
hides a vector but does not protect it from change.
"""

import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from refimpl.arithmetic.checks import whole

Words = NDArray[np.uint32]
Sign = Literal[1, -1]

SEED_BYTES = 16  # an AES-128 key
_BLOCK = 1 << 15  # words at a time: 128 KiB of stream stay in the cache until they are added
_SHARE = 1 << 20  # words of masks that are worth a thread of their own
_ZEROS = memoryview(bytes(4 * _BLOCK))  # encrypting zeros yields the bare stream
_FROM_ZERO = modes.CTR(bytes(16))


class _Buffer(threading.local):
    """A block of each thread's own, because a fresh one for each mask may cost as much as AES."""

    def __init__(self) -> None:
        self.words = np.empty(_BLOCK, "<u4")
        self.data = self.words.view(np.uint8).data


_BUFFER = _Buffer()


def add(total: Words, seed: bytes, *, sign: Sign = 1) -> None:
    """Add ``sign`` times the mask of ``seed`` to ``total``, in place, modulo 2^32.

    ``total`` is a ``uint32`` array of shape (length,). Raises ValueError for any other array,
    for one that is read-only, for a seed that is not 16 bytes, and for a sign other than 1 or -1.
    """
    add_each(total, [(seed, sign)])


def add_each(total: Words, signed: Iterable[tuple[bytes, Sign]]) -> None:
    """``add`` for each (seed, sign); threads share the work where there is much of it."""
    _check_total(total)
    streams = [(_stream(seed), _combine(sign)) for seed, sign in signed]
    threads = _threads(total.size * len(streams))
    if threads == 1:
        return _add_streams(total, streams)
    parts = [streams[first::threads] for first in range(threads)]
    sums = np.zeros((threads - 1, total.size), np.uint32)
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(_add_streams, *work) for work in zip(sums, parts[1:], strict=True)]
        _add_streams(total, parts[0])
    for other, sum_of_part in zip(others, sums, strict=True):
        other.result()
        total += sum_of_part
    return None


def _add_streams(total: Words, streams: Sequence[tuple[CipherContext, np.ufunc]]) -> None:
    """Add all streams to ``total``, block by block, so that a block stays in the cache."""
    for start in range(0, total.size, _BLOCK):
        block = total[start : start + _BLOCK]
        zeros, words = _ZEROS[: block.nbytes], _BUFFER.words[: block.size]
        data = _BUFFER.data[: block.nbytes]
        for stream, combine in streams:
            stream.update_into(zeros, data)
            combine(block, words, out=block)


def mask(length: int, seed: bytes) -> Words:
    """The mask of ``seed``: ``length`` words, uniform for whoever does not know the seed."""
    words = np.zeros(whole("length", length), np.uint32)
    add(words, seed)
    return words


def _threads(words: int) -> int:
    """How many threads to share ``words`` words of masks: AES and the sum release the lock."""
    return max(1, min(os.cpu_count() or 1, words // _SHARE))


def _check_total(total: Words) -> None:
    if not isinstance(total, np.ndarray) or total.dtype != np.uint32 or total.ndim != 1:
        got = f"{total.dtype} {total.shape}" if isinstance(total, np.ndarray) else type(total)
        raise ValueError(f"total must be a uint32 array of one dimension, got {got}")
    if not total.flags.writeable:
        raise ValueError("total must be writeable, got a read-only array; add to a copy of it")


def _stream(seed: bytes) -> CipherContext:
    if not isinstance(seed, bytes) or len(seed) != SEED_BYTES:
        # Not the value itself: a seed does not belong into a message that may be logged.
        got = f"{len(seed)} bytes" if isinstance(seed, bytes) else type(seed).__name__
        raise ValueError(f"seed must be {SEED_BYTES} bytes, got {got}")
    return Cipher(algorithms.AES(seed), _FROM_ZERO).encryptor()


def _combine(sign: Sign) -> np.ufunc:
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1, got {sign!r}")
    return np.add if sign == 1 else np.subtract
