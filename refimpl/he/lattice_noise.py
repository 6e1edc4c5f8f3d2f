"""Small random coefficients, and how large the noise of a sum can become.

Both binomial laws are centred: X = heads of 2η fair coins, less η, with variance η/2.

- ``error``: η = 21, standard deviation 3.24, in [-21, 21]. The Homomorphic Encryption Standard
  asks for a Gaussian of 8/√(2π) = 3.19; SEAL, too, offers this binomial in its place.
- ``binary``: η = 1, that is -1, 0, 1 with 1/4, 1/2, 1/4. ``ternary`` gives each of them 1/3.

**The budget.** With the keys given, a coefficient of a lattice ciphertext's noise is a sum
Σ w_j X_j of fresh independent draws X_j, weighted by key coefficients w_j. Fair coins, and the
uniform ternary law too, satisfy E exp(tX) <= exp(t² Var X / 2) for every t. Hence, with V the exact
variance of the sum,

    P(|noise| >= T) <= 2 exp(-T² / 2V)        (Hoeffding 1963, theorem 2, for coins)

whatever the weights: no normal approximation. Over all coefficients of a vector the union bound
adds the probabilities, dependent or not.
"""

import math

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.randomness import CryptoGenerator

ETA = 21
ERROR_VARIANCE = ETA / 2
BINARY_VARIANCE = 1 / 2
TERNARY_VARIANCE = 2 / 3
LOG2_FAILURE = -40.0  # of a vector: the largest probability of a decryption that goes wrong

_COINS = np.uint64((1 << 2 * ETA) - 1)


def error(rng: CryptoGenerator, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    """Centred binomial, η = 21, modulo 2^64."""
    words = rng.uint64(shape)
    words &= _COINS
    return np.subtract(np.bitwise_count(words), np.uint64(ETA), out=words)


def binary(rng: CryptoGenerator, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Centred binomial, η = 1: -1, 0 and 1 with probabilities 1/4, 1/2 and 1/4."""
    coins = np.frombuffer(rng.bytes(math.prod(shape)), np.uint8).reshape(shape) & np.uint8(3)
    return np.bitwise_count(coins).view(np.int8) - np.int8(1)


def ternary(rng: CryptoGenerator, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """-1, 0 and 1, each with probability 1/3."""
    return rng.below(3, shape).astype(np.int8) - np.int8(1)


def log2_failure(limit: float, variance: float, coefficients: int) -> float:
    """log2 of a bound on P(some of ``coefficients`` reaches ``limit`` in magnitude)."""
    if coefficients == 0:
        return -math.inf
    return min(0.0, 1 + math.log2(coefficients) - limit**2 / (2 * variance * math.log(2)))


def limit(variance: float, coefficients: int, log2_probability: float = LOG2_FAILURE) -> float:
    """The magnitude that noise reaches with at most this probability; inverts ``log2_failure``."""
    nats = math.log(2) * (1 - log2_probability) + math.log(max(1, coefficients))
    return math.sqrt(2 * variance * nats)
