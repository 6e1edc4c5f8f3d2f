"""Cryptographic random arrays: AES in counter mode, keyed by the operating system.

    stream = AES_key(counter) || AES_key(counter + 1) || ...      (NIST SP 800-38A, section 6.5)

Whoever does not know the key cannot tell this stream from random bits, nor predict any part of it
from the rest, unless AES is broken. On a processor with AES instructions it is also faster than
the usual simulation generators, so nothing is gained by a weaker one. ``secure()`` is what every
key, share, mask and noise uses by default; ``seeded(seed)`` repeats itself and protects nobody.

Integers are read from the stream in little-endian order, so a seeded stream is the same on every
machine. The stream is not a function of the time or of what is drawn, but rejection makes the
number of bytes that ``below`` reads, and so its time, depend on discarded draws. Those are
independent of the values kept.
"""

import hashlib
import os
import threading
from typing import Any, NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from refimpl.arithmetic.checks import whole

Shape = int | tuple[int, ...]

_ZEROS = bytes(1 << 17)  # encrypting zeros yields the bare stream; 128 KiB stay in the cache


class CryptoGenerator:
    """Random values from the AES-CTR stream of a key (16, 24 or 32 bytes).

    ``counter`` is the 128-bit number of the first block. Most callers want ``secure()``.

    A stream must never be used twice: two parties with the same mask have no mask. So a
    generator refuses to be copied or pickled, and refuses to work in a forked process, which
    would hold a copy. It is safe to share between threads: each draw gets a part of the stream
    of its own, but which part depends on timing, so give each thread its own generator where a
    run must repeat itself.
    """

    def __init__(self, key: bytes, *, counter: int = 0) -> None:
        if len(key) not in (16, 24, 32):
            raise ValueError(f"key must be 16, 24 or 32 bytes, got {len(key)}")
        number = whole("counter", counter, 0, 2**128 - 1)
        mode = modes.CTR(number.to_bytes(16, "big"))
        self._encryptor = Cipher(algorithms.AES(key), mode).encryptor()
        self._lock = threading.Lock()
        self._process = os.getpid()

    def bytes(self, length: int) -> bytes:
        """The next ``length`` bytes of the stream."""
        buffer = np.empty(whole("length", length), np.uint8)
        self._fill(buffer)
        return buffer.tobytes()

    def uint64(
        self, shape: Shape = (), *, out: NDArray[np.uint64] | None = None
    ) -> NDArray[np.uint64]:
        """Uniform 64-bit words. ``out``, a C-contiguous ``uint64`` array, is filled instead."""
        if out is None:
            return self._words(8, shape)
        if out.dtype != np.dtype("<u8") or not out.flags.c_contiguous:
            raise ValueError(f"out must be a C-contiguous uint64 array, got {out.dtype}")
        if shape not in ((), out.shape, out.size):
            raise ValueError(f"shape must be that of out={out.shape} or left out, got {shape}")
        self._fill(out)
        return out

    def bits(self, bits: int, shape: Shape = ()) -> NDArray[np.uint64]:
        """Uniform elements of [0, 2^bits), 1 <= bits <= 64, as ``uint64``."""
        bits = whole("bits", bits, 1, 64)
        size = 1 << max(0, (bits - 1).bit_length() - 3)  # the smallest of 1, 2, 4, 8 bytes
        words = self._words(size, shape)
        if bits < 8 * size:
            words &= words.dtype.type((1 << bits) - 1)
        return words.astype(np.uint64, copy=False)

    def below(self, bound: int, shape: Shape = ()) -> NDArray[np.uint64]:
        """Uniform elements of [0, bound), exactly, for 1 <= bound <= 2^64, as ``uint64``.

        Draws are cut to the bits of ``bound - 1`` and drawn again while they reach ``bound``.
        That takes at most two draws an element on average, and practically one for
        ``below(2**61 - 1)``, the field elements. A remainder modulo ``bound`` would favour the
        small values.
        """
        bound = whole("bound", bound, 1, 2**64)
        bits = max(1, (bound - 1).bit_length())
        values = self.bits(bits, shape)
        flat = values.reshape(-1)
        again = np.flatnonzero(flat > np.uint64(bound - 1))
        while again.size:
            fresh = self.bits(bits, again.size)
            flat[again] = fresh
            again = again[fresh > np.uint64(bound - 1)]
        return values

    def uniform(self, shape: Shape = ()) -> NDArray[np.float64]:
        """Doubles k / 2^53 in [0, 1), each k equally likely.

        Not for noise that protects somebody: noise computed in doubles has gaps that reveal the
        value beneath it (Mironov, CCS 2012).
        """
        return np.asarray((self.uint64(shape) >> np.uint64(11)) * 2.0**-53, np.float64)

    def _words(self, size: int, shape: Shape) -> NDArray[Any]:
        """Uniform unsigned integers of ``size`` bytes; always an array, also for shape ()."""
        little_endian = np.empty(shape, f"<u{size}")
        self._fill(little_endian)
        return little_endian.astype(f"u{size}", copy=False)

    def _fill(self, array: NDArray[Any]) -> None:
        """Write the next bytes of the stream over a C-contiguous array."""
        if os.getpid() != self._process:
            raise RuntimeError(
                "this generator belongs to the process that made it, and a forked process would "
                "repeat its stream; make a new one with randomness.secure()"
            )
        target = array.reshape(-1).view(np.uint8).data
        with self._lock:
            for start in range(0, len(target), len(_ZEROS)):
                chunk = target[start : start + len(_ZEROS)]
                self._encryptor.update_into(memoryview(_ZEROS)[: len(chunk)], chunk)

    def __copy__(self) -> NoReturn:
        raise TypeError("a CryptoGenerator cannot be copied or pickled: a stream is used once")

    def __deepcopy__(self, memo: dict) -> NoReturn:
        self.__copy__()

    def __reduce__(self) -> NoReturn:
        self.__copy__()


def secure() -> CryptoGenerator:
    """A fresh generator, keyed with 128 bits from the operating system."""
    return CryptoGenerator(os.urandom(16))


def seeded(seed: int, label: str = "") -> CryptoGenerator:
    """A generator that repeats itself, for teaching and tests. IT PROTECTS NOBODY.

    Whoever knows or guesses the seed knows every value. Different labels give independent
    streams of one seed, such as one for each party of an example.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an integer, got {type(seed).__name__}")
    name = f"teaching seed {int(seed)}, stream {label}"
    return CryptoGenerator(hashlib.sha256(name.encode()).digest()[:16])


def expand(key: bytes, length: int, *, domain: int = 0) -> bytes:
    """``length`` bytes from a secret key, the same for all who hold it: masks from short seeds.

    ``domain`` in [0, 2^64) names the purpose or round. It is the upper half of the counter, so
    streams of different domains never meet. Use each (key, domain) for one purpose only.
    """
    return expander(key, domain=domain).bytes(length)


def expander(key: bytes, *, domain: int = 0) -> CryptoGenerator:
    """The generator whose bytes ``expand`` returns, to draw words or bits from them."""
    return CryptoGenerator(key, counter=whole("domain", domain, 0, 2**64 - 1) << 64)


def resolve(rng: CryptoGenerator | None = None) -> CryptoGenerator:
    """The generator to use for an argument ``rng=None``: the one given, or a secure one."""
    if rng is None:
        return secure()
    if not isinstance(rng, CryptoGenerator):
        raise TypeError(
            f"rng must be a CryptoGenerator or None, got {type(rng).__name__}; "
            "randomness.seeded(seed) makes one that repeats itself"
        )
    return rng
