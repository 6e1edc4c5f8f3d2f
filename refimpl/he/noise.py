"""What hides a Paillier plaintext: a random n-th power, from a table of powers of one base.

    noise = h_n^s modulo n^2,   h_n = h^n modulo n^2,   h = -x^2 modulo n,   s < 2^k uniform

If p ≡ q ≡ 3 modulo 4 and gcd(p-1, q-1) = 2, the numbers of Jacobi symbol 1 modulo n = p q form a
cyclic group of order (p-1)(q-1)/2. h generates all of it, or nearly: ``noise_base`` sees to it
that no prime below 2^16 is missing from its order. With k = 64 + bits of n the noise is within
2^-64 of uniform among the n-th powers of what h generates.
Source: Damgård, Jurik and Nielsen, A Generalization of Paillier's Public-Key System with
Applications to Electronic Voting, International Journal of Information Security 9, 2010. They show
that s of half the length of n cannot be told from s of the full length unless n can be factored.

With s in bytes s_0, s_1, ..., the noise is a product of one entry from each row of the table
h_n^(d 256^i), d < 256. It takes no squarings, and the table is public, like h.

An entry is kept as a (1 + c n), with a and c below n. Because (1 + c n)(1 + c' n) = 1 + (c + c') n
modulo n^2, the product of entries is the product of the a times 1 + n times the sum of the c. A
product by a number of half the length takes about half the time.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import gcd
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he.integers import Integer, integer, inverse, power, small_factors, unit

Row = tuple[list[Integer], list[Integer]]

Noise = Literal["half", "full"] | int

_DIGITS = 256  # a byte of the exponent
_SURPLUS = 64  # bits of a full exponent beyond n's, so that it is all but uniform modulo h's order


def noise_base(p: int, q: int, rng: CryptoGenerator) -> int:
    """h = -x^2 modulo p q, x random, whose order no prime factor below 2^16 is missing from.

    A third of all h would miss a factor 3 of p-1, say. For safe primes every h will do. Raises
    ValueError unless p ≡ q ≡ 3 modulo 4, gcd(p-1, q-1) = 2 and gcd(p q, (p-1)(q-1)) = 1.
    """
    if p % 4 != 3 or q % 4 != 3 or gcd(p - 1, q - 1) != 2 or gcd(p * q, (p - 1) * (q - 1)) != 1:
        raise ValueError(
            "p and q must be 3 modulo 4 with gcd(p-1, q-1) = 2 and gcd(p q, (p-1)(q-1)) = 1; draw "
            "other primes"
        )
    factors = [(prime, factor) for prime in (p, q) for factor in small_factors(prime - 1)]
    while True:
        h = -(unit(p * q, rng) ** 2) % (p * q)
        if all(power(h, (prime - 1) // factor, prime) != 1 for prime, factor in factors):
            return h


def exponent_bits(noise: Noise, bits: int) -> int:
    """The length of the exponent that ``noise`` means for an n of ``bits`` bits, in whole bytes."""
    if isinstance(noise, str) and noise not in ("half", "full"):
        raise ValueError(f"noise must be 'half', 'full' or a number of bits, got {noise!r}")
    if isinstance(noise, str):
        noise = -(-bits // 2) if noise == "half" else bits + _SURPLUS
    return -(-whole("noise", noise, 1) // 8) * 8


class NoiseTable:
    """Powers of h_n for exponents of ``length`` bytes, modulo the square of ``n``."""

    def __init__(self, n: int, h: int, length: int) -> None:
        self.n = integer(n)
        self.n_square = self.n * self.n
        self.rows: list[Row] = []
        base = power(integer(h), self.n, self.n_square)
        for _ in range(length):
            row, base = self._row(base)
            self.rows.append(row)

    def encrypt(self, messages: Sequence[Integer], rng: CryptoGenerator) -> list[Integer]:
        """(1 + n)^message times fresh noise, modulo n^2, for each of the messages."""
        drawn = np.frombuffer(rng.bytes(len(messages) * len(self.rows)), np.uint8)
        return self.with_exponents(messages, drawn.reshape(len(messages), len(self.rows)))

    def with_exponents(
        self, messages: Sequence[Integer], exponents: NDArray[np.uint8]
    ) -> list[Integer]:
        """The same for given s: row i of ``exponents`` are the bytes of message i's, lowest first.

        Row after row of the table for all messages, so that the row stays in the cache.
        """
        products, sums = [integer(1)] * len(messages), list(messages)
        for (factors, terms), column in zip(self.rows, exponents.T, strict=True):
            digits = column.tolist()
            products = [
                product * factors[digit] % self.n_square
                for product, digit in zip(products, digits, strict=True)
            ]
            sums = [total + terms[digit] for total, digit in zip(sums, digits, strict=True)]
        # (1 + n)^m = 1 + m n modulo n^2
        return [
            product * (1 + total % self.n * self.n) % self.n_square
            for product, total in zip(products, sums, strict=True)
        ]

    def _row(self, base: Integer) -> tuple[Row, Integer]:
        """a and c of base^d for d < 256, and base^256, the base of the next row."""
        inverse_of_base = inverse(base % self.n, self.n)
        value = inverse_of_value = integer(1)
        factors, terms = [], []
        for _ in range(_DIGITS):
            high, a = divmod(value, self.n)
            factors.append(a)
            terms.append(high * inverse_of_value % self.n)  # a + high n = a (1 + (high / a) n)
            value = value * base % self.n_square
            inverse_of_value = inverse_of_value * inverse_of_base % self.n
        return (factors, terms), value


@lru_cache(maxsize=4)
def table(n: int, h: int, length: int) -> NoiseTable:
    """The table of a public key, made once: it is public, so parties of a process may share it."""
    return NoiseTable(n, h, length)
