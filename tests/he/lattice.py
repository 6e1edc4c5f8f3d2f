"""Independent ways to what the lattice modules compute: integers of any size, and no transform."""

import numpy as np

DEGREE = 4096
_BITS = 192  # room for a sum of 4096 coefficients of 128 bits; a multiple of 8


def ring_product(coefficients, small):
    """The product in Z[X]/(X^4096 + 1), as integers of any size.

    Kronecker's way: both polynomials at X = 2^192, one product of two large integers, and the
    coefficients read off its digits. Positive and negative parts of ``small`` go apart.
    """
    value = _evaluated([int(c) for c in coefficients])
    total = [0] * DEGREE
    for sign in (1, -1):
        part = _evaluated([int(c == sign) for c in small])
        digits = (value * part).to_bytes(2 * DEGREE * _BITS // 8, "little")
        step = _BITS // 8
        for i in range(2 * DEGREE):
            digit = int.from_bytes(digits[i * step : (i + 1) * step], "little")
            # X^4096 = -1
            total[i % DEGREE] += digit * sign * (1 if i < DEGREE else -1)
    return total


def _evaluated(coefficients):
    return int.from_bytes(
        b"".join(value.to_bytes(_BITS // 8, "little") for value in coefficients), "little"
    )


def binomial_tail(coins, limit):
    """P(|heads - coins/2| >= limit) of fair coins, exactly, by adding up whole numbers."""
    row, count = 1, 0
    for heads in range(coins + 1):
        if abs(2 * heads - coins) >= 2 * limit:
            count += row
        row = row * (coins - heads) // (heads + 1)
    return count / 2**coins


def signed(words):
    """64-bit words as integers in [-2^63, 2^63)."""
    return np.asarray(words).view(np.int64)
