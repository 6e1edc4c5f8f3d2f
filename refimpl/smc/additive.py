"""Additive secret sharing over Z_2^64: a secret is the sum of all its shares.

    s = s_1 + s_2 + ... + s_n  modulo 2^64,    s_1 ... s_(n-1) uniform

Any n-1 shares together are uniform and independent of the secret, so they say nothing about it,
whatever computing power looks at them. (So the theorem. ``CryptoGenerator`` draws from AES-CTR, so
these shares, from seeds or not, hide as well as that.) Shares may be added: the sum of shares is a
share of the sum.

Adversary: withstands n-1 honest-but-curious parties who pool their shares. A lying party is not
detected: whoever adds d to its share adds d to the secret. A lost share loses the secret;
``shamir`` does not need them all.
Source: Cramer, Damgård and Nielsen, Secure Multiparty Computation and Secret Sharing, Cambridge
University Press 2015, chapter 1, which computes modulo a prime.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic import randomness
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator

Words = NDArray[np.uint64]

SEED_BYTES = 16
_BLOCK = 1 << 15  # words at a time: 256 KiB, so that a running sum stays in the cache
_ALONE = "a single share is the secret itself"


def share(
    secret: ArrayLike,
    parties: int,
    *,
    rng: CryptoGenerator | None = None,
    out: Words | None = None,
) -> Words:
    """Split ``secret`` into one share a party: ``uint64`` of shape ``(parties, *secret.shape)``.

    ``secret``: integers of up to 64 bits, negative ones as two's complement. ``parties``: at
    least 2. ``out``: a C-contiguous ``uint64`` array of the result's shape, filled and returned.
    Raises TypeError for a secret that is not of integers (encode reals with ``FixedPoint``).
    """
    words, parties = _integers(secret), whole("parties", parties, 2, remedy=_ALONE)
    shares = destination(out, (parties, *words.shape), words)
    rng = randomness.resolve(rng)
    flat, rows = words.reshape(-1), shares.reshape(parties, -1)
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        last = rows[-1, block]
        last[:] = flat[block]
        for row in rows[:-1]:
            last -= rng.uint64(out=row[block])  # s_n = s - s_1 - ... - s_(n-1)
    return shares


def reconstruct(shares: Sequence[ArrayLike] | Words, *, parties: int | None = None) -> Words:
    """The secret, a ``uint64`` array: the sum of all shares modulo 2^64.

    ``shares``: the rows of ``share``, in any order. A missing share makes the result uniformly
    random, one changed by d makes it larger by d, and nothing here can tell; ``parties``, if
    given, is how many there must be.
    Raises ValueError for fewer than two shares, a number other than ``parties``, or shares that
    are not ``uint64`` arrays of one shape.
    """
    rows = [_row(row, number) for number, row in enumerate(shares)]
    if parties is not None and len(rows) != whole("parties", parties, 2, remedy=_ALONE):
        raise ValueError(f"shares must be those of all parties={parties}, got {len(rows)} of them")
    if len(rows) < 2 or len({row.shape for row in rows}) != 1:
        raise ValueError(
            "shares must be two or more arrays of one shape, got shapes "
            f"{[row.shape for row in rows]}"
        )
    total = np.zeros(rows[0].shape, np.uint64)
    flat, parts = total.reshape(-1), [row.reshape(-1) for row in rows]
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        for part in parts:
            flat[block] += part[block]
    return total


def share_from_seeds(
    secret: ArrayLike, parties: int, *, rng: CryptoGenerator | None = None
) -> tuple[list[bytes], Words]:
    """Shares of which all but one are short: ``(seeds, last)``.

    ``seeds``: parties - 1 of 16 bytes; ``expand(seed, secret.shape)`` is the share that a seed
    stands for. ``last``: the remaining share, an array like the secret. So a sender transmits
    one array instead of parties - 1 of them. The secret is hidden as well as AES-CTR hides, however
    the seeds were drawn. Use each seed once.
    """
    words, parties = _integers(secret), whole("parties", parties, 2, remedy=_ALONE)
    rng = randomness.resolve(rng)
    seeds = [rng.bytes(SEED_BYTES) for _ in range(parties - 1)]
    return seeds, words - sum_of_seeds(seeds, words.shape)


def expand(seed: bytes, shape: int | tuple[int, ...]) -> Words:
    """The share that a seed of ``share_from_seeds`` stands for: ``uint64`` of ``shape``."""
    return sum_of_seeds([seed], shape)


def sum_of_seeds(seeds: Iterable[bytes], shape: int | tuple[int, ...]) -> Words:
    """The sum of the shares that ``seeds`` stand for, without holding more than one block of each.

    Raises ValueError for a seed that is not 16 bytes.
    """
    streams = [randomness.expander(_seed(seed)) for seed in seeds]
    total = np.zeros(shape, np.uint64)
    flat, buffer = total.reshape(-1), np.empty(_BLOCK, np.uint64)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        for stream in streams:
            block += stream.uint64(out=buffer[: block.size])
    return total


def destination(out: Words | None, shape: tuple[int, ...], secret: NDArray[Any]) -> Words:
    """``out`` if shares of ``shape`` can be written there, a new array if it is None."""
    if out is None:
        return np.empty(shape, np.uint64)
    if not isinstance(out, np.ndarray) or out.dtype != np.uint64 or out.shape != shape:
        found = f"{getattr(out, 'dtype', type(out).__name__)} of shape {np.shape(out)}"
        raise ValueError(f"out must be uint64 of shape {shape}, got {found}")
    if not (out.flags.c_contiguous and out.flags.writeable) or np.may_share_memory(out, secret):
        raise ValueError("out must be C-contiguous, writeable and apart from the secret")
    return out


def _integers(secret: ArrayLike) -> Words:
    array = np.asarray(secret)
    if array.dtype.kind not in "bui" and array.size:  # numpy takes [] for doubles
        raise TypeError(
            f"secret must hold integers of at most 64 bits, got dtype {array.dtype}; encode reals "
            "with FixedPoint"
        )
    return array.astype(np.uint64, copy=False)


def _row(row: ArrayLike, number: int) -> Words:
    array = np.asarray(row)
    if array.dtype != np.uint64:
        raise ValueError(f"share {number} must be an array of uint64, got dtype {array.dtype}")
    return array


def _seed(seed: bytes) -> bytes:
    if not isinstance(seed, bytes) or len(seed) != SEED_BYTES:
        found = f"{len(seed)} bytes" if isinstance(seed, bytes) else type(seed).__name__
        raise ValueError(f"a seed must be {SEED_BYTES} bytes, got {found}")
    return seed
