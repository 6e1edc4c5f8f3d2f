"""How large the modulus of ``threshold_rlwe`` must be, from the noise that hides the key shares.

n parties hold the shares, K = ``encoding.summands`` vectors are added, of up to ``length`` values,
one a coefficient, and M is the number of coefficients. s = Σ s_i and e = Σ e_i are the collective
secret and error, and v = Σ_k (e u_k + e1_k + e2_k s) is the noise of a sum.

1. *The collective noise.* Secrets are uniform ternary, errors centred binomial, so a coefficient of
   v has mean 0 and variance K V, V = 2/3 N (21/2 n) + 21/2 (N 2/3 n + 1). Hence E|v_j| <= √(K V).
2. *Smudging.* A party adds to its part, in each coefficient, a uniform integer of [-B, B). Who
   combines learns the sum, and from all parts but one what the last must be: Δm + v and the
   smudging, less the rest. So v, which depends on the keys, is to be hidden. Uniform noise and the
   same moved by v_j are |v_j| / 2B apart in statistical distance, a vector at most M √(K V) / 2B.
   B is the smallest power of two, at least 2^64, that makes this 2^-40.
3. *Room.* Decryption is right while |v_j| + |smudging of all n| < Δ/2. A tail of v as in
   ``lattice_noise``, with |e|² and |s|² at most N (1 + 2√(x/N) + 2x/N) times a coefficient's
   variance, but for e^-x (Hsu, Kakade and Zhang, Electronic Communications in Probability 17,
   2012, theorem 2.1). The smudging is at most nB, and has a tail as in ``lattice_noise``, with
   n B²/3 for a variance. Each of the four events has probability 2^-43 at most: together 2^-41.
4. *The modulus* is q = 2^(bits of Δ + encoding.sum_bits), which must not exceed 2^106.

The Homomorphic Encryption Standard (Albrecht et al., 2018) allows q up to 2^109 for N = 4096,
uniform ternary secrets and errors of standard deviation 3.19, at 128 bits of security against
classical attacks, and up to 2^101 against quantum ones; ``modulus_bits`` tells on which side of
2^101 parameters are (ten parties: 96 for 10 summands, 102 for 256). By newer estimates (Bossuat et
al., 2025) the classical limit is 2^106, which is the one kept here. The error here has 3.24, and is
binomial, the standard's Gaussian.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he.lattice_noise import ERROR_VARIANCE, TERNARY_VARIANCE, limit
from refimpl.he.polynomials import DEGREE

MOST_MODULUS_BITS = 106
LOG2_DISTANCE = -40  # of what a vector's last part shows from what it would show without the keys
LOG2_FAILURE = -41  # of a vector's decryption
_LOG2_EVENT = LOG2_FAILURE - 2  # four events


@dataclass(frozen=True)
class Parameters:
    """What n parties agree on in public before they draw keys.

    ``seed``: 16 bytes that nobody chose alone; the common random polynomial a is expanded from it.
    ``length``: values of the longest vector, 10^6 by default. Raises ValueError for fewer than 2
    parties, and where the modulus would exceed 2^106.
    """

    parties: int
    seed: bytes
    encoding: FixedPoint = field(default_factory=FixedPoint)
    length: int = 1_000_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "parties", whole("parties", self.parties, 2))
        object.__setattr__(self, "length", whole("length", self.length, 1))
        if not isinstance(self.seed, bytes) or len(self.seed) != 16:
            raise ValueError("seed must be 16 bytes")
        if self.modulus_bits > MOST_MODULUS_BITS:
            raise ValueError(
                f"the modulus would need {self.modulus_bits} bits, more than {MOST_MODULUS_BITS}, "
                f"for parties={self.parties}, length={self.length} and {self.encoding}; take fewer "
                "of parties, summands or bits, or cut the vectors"
            )

    def rows(self, length: int) -> int:
        """Polynomials that hold ``length`` values."""
        return -(-length // DEGREE)

    @cached_property
    def smudging_bits(self) -> int:
        """log2 B: a party's smudging is uniform in [-B, B)."""
        n = self.parties
        variance = 2 * TERNARY_VARIANCE * DEGREE * ERROR_VARIANCE * n + ERROR_VARIANCE
        shift = self._coefficients * math.sqrt(self.encoding.summands * variance)
        return max(64, math.ceil(math.log2(shift) - 1 - LOG2_DISTANCE))  # a whole low word

    @cached_property
    def noise_limit(self) -> float:
        """What a coefficient's noise, smudging included, stays below but for 2^-41 a vector."""
        nats = -_LOG2_EVENT * math.log(2)
        squared = DEGREE + 2 * math.sqrt(DEGREE * nats) + 2 * nats
        secret, error = (TERNARY_VARIANCE, ERROR_VARIANCE)
        one = 2 * secret * error * self.parties * squared + error
        fresh = limit(one * self.encoding.summands, self._coefficients, _LOG2_EVENT)
        smudging = 2.0**self.smudging_bits
        tail = limit(self.parties * smudging**2 / 3, self._coefficients, _LOG2_EVENT)
        # A smudging is -1/2 on average, which adds n/2.
        return fresh + min(self.parties * smudging, tail + self.parties / 2)

    @cached_property
    def noise_bits(self) -> int:
        """log2 Δ."""
        return int(2 * self.noise_limit).bit_length()

    @cached_property
    def modulus_bits(self) -> int:
        """log2 q."""
        return self.noise_bits + self.encoding.sum_bits

    @cached_property
    def _coefficients(self) -> int:
        return self.rows(self.length) * DEGREE
