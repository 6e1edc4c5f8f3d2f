"""Large integers: powers, inverses, primes, and rows of bytes. With gmpy2 where it is installed.

gmpy2 makes all of it about ten times faster and changes no result. Nothing here takes the same time
for all values: whoever can time a key holder closely may learn of the key. (phe and gmpy2 do not
protect against that either.)
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator

gmpy2: Any
try:
    gmpy2 = import_module("gmpy2")
except ImportError:
    gmpy2 = None

Integer = Any  # int or gmpy2.mpz, which compute alike

_ROUNDS = 40  # of Miller and Rabin's test: each lets a composite pass with a chance below 1/4
_SMALL = 1 << 16  # candidates are first divided by the primes below this
_WINDOW = 1 << 17  # neighbours sieved together for safe primes


def integer(value: int) -> Integer:
    """``value`` in the fastest type at hand."""
    return value if gmpy2 is None else gmpy2.mpz(value)


def power(base: Integer, exponent: Integer, modulus: Integer) -> Integer:
    """base^exponent modulo modulus; a negative exponent needs an invertible base."""
    if gmpy2 is None:
        return pow(base, exponent, modulus)
    return gmpy2.powmod(base, exponent, modulus)


def powers(bases: Sequence[Integer], exponent: Integer, modulus: Integer) -> list[Integer]:
    """``power`` for each base, on all processors: gmpy2 computes without holding up others."""
    if gmpy2 is None:
        return [pow(base, exponent, modulus) for base in bases]
    workers = max(1, min(os.cpu_count() or 1, len(bases)))
    parts = [list(bases[start::workers]) for start in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(lambda part: gmpy2.powmod_base_list(part, exponent, modulus), parts)
        found: list[Integer] = [None] * len(bases)
        for start, part in enumerate(done):
            found[start::workers] = part
    return found


def inverse(value: Integer, modulus: Integer) -> Integer:
    """1 / value modulo modulus; ZeroDivisionError or ValueError where there is none."""
    return pow(value, -1, modulus) if gmpy2 is None else gmpy2.invert(value, modulus)


def to_rows(values: Sequence[Integer], width: int) -> NDArray[np.uint8]:
    """Each value as a row of ``width`` bytes, little-endian."""
    data = b"".join([int(value).to_bytes(width, "little") for value in values])
    return np.frombuffer(data, np.uint8).reshape(len(values), width)


def from_rows(rows: NDArray[np.uint8]) -> list[Integer]:
    """The values that ``to_rows`` wrote."""
    return [integer(int.from_bytes(row.tobytes(), "little")) for row in rows]


def below(bound: int, rng: CryptoGenerator) -> int:
    """A uniform integer in [0, bound), by drawing again."""
    bits = (bound - 1).bit_length()
    while True:
        drawn = int.from_bytes(rng.bytes(-(-bits // 8)), "little") & ((1 << bits) - 1)
        if drawn < bound:
            return drawn


def unit(modulus: int, rng: CryptoGenerator) -> int:
    """A uniform invertible integer modulo ``modulus``."""
    while True:
        drawn = below(modulus, rng)
        if gcd(drawn, modulus) == 1:
            return drawn


def is_prime(number: int, rng: CryptoGenerator) -> bool:
    """Whether a ``number`` is prime: Miller and Rabin's test with 40 random bases.

    A prime always passes; a composite does with a chance below 4^-40, whichever it is.
    """
    if number < _SMALL:
        return number in _small_primes()
    if gcd(number, _primorial()) > 1:
        return False
    twos = ((number - 1) & -(number - 1)).bit_length() - 1
    return all(_passes(number, twos, 2 + below(number - 3, rng)) for _ in range(_ROUNDS))


def small_factors(number: int) -> list[int]:
    """The primes below 2^16 that divide ``number``."""
    large = integer(number)
    return sorted(prime for prime in _small_primes() if large % prime == 0)


def blum_prime(bits: int, rng: CryptoGenerator) -> int:
    """A random prime p ≡ 3 modulo 4 of ``bits`` bits, the top two set: p q has 2 bits exactly."""
    bits = whole("bits", bits, 8)
    while True:
        drawn = below(1 << bits, rng) | 3 | 3 << (bits - 2)
        if is_prime(drawn, rng):
            return drawn


def safe_prime(bits: int, rng: CryptoGenerator) -> int:
    """A random prime p = 2 p' + 1 with p' prime, of ``bits`` bits, the top two set.

    One odd number of 1024 bits in some 200,000 is one, so neighbours are sieved together, and the
    first found after a random start is taken. (Those after a long gap are a little likelier.)
    """
    bits = whole("bits", bits, 8)
    while True:
        start = below(1 << (bits - 1), rng) | 1 | 3 << (bits - 3)
        count = min(_WINDOW, ((1 << (bits - 1)) - start + 1) // 2)
        for index in np.flatnonzero(_sieved(start, count)):
            half = start + 2 * int(index)
            if is_prime(half, rng) and is_prime(2 * half + 1, rng):
                return 2 * half + 1


def _passes(number: int, twos: int, base: int) -> bool:
    """Whether ``number`` looks prime to one base: base^(d 2^i) is -1 for some i, or starts at 1."""
    value = power(base, (number - 1) >> twos, number)
    if value in (1, number - 1):
        return True
    for _ in range(twos - 1):
        value = value * value % number
        if value == number - 1:
            return True
    return False


def _sieved(start: int, count: int) -> NDArray[np.bool_]:
    """Which of h = start + 2 i, i < count, have no small factor, and neither has 2 h + 1."""
    left = np.ones(count, bool)
    large = integer(start)
    for prime in sorted(_small_primes())[1:]:
        if prime * prime > start:  # of small numbers it might strike out the prime itself
            break
        residue = int(large % prime)
        left[-residue * pow(2, -1, prime) % prime :: prime] = False
        left[-(2 * residue + 1) * pow(4, -1, prime) % prime :: prime] = False
    return left


@cache
def _small_primes() -> frozenset[int]:
    is_composite = np.zeros(_SMALL, bool)
    is_composite[:2] = True
    for number in range(2, int(_SMALL**0.5) + 1):
        is_composite[number * number :: number] |= not is_composite[number]
    return frozenset(np.flatnonzero(~is_composite).tolist())


@cache
def _primorial() -> int:
    return prod(prime for prime in _small_primes() if prime < 2**12)
