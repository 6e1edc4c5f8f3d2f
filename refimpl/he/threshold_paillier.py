"""Paillier whose private key no one holds: any ``threshold`` of the parties decrypt together.

    d = 0 modulo m, d = 1 modulo n,     m = p' q',  p = 2 p' + 1 and q = 2 q' + 1 safe primes
    share of party i:  s_i = f(i) modulo n m,  f(0) = d,  f random of degree threshold - 1
    partial decryption of c:  c_i = c^(2 Δ s_i) modulo n^2,  Δ = parties!
    combination:  Π c_i^(2 λ_i) = c^(4 Δ² d) = 1 + 4 Δ² M n modulo n^2,   λ_i = Δ l_i

where l_i are Lagrange's coefficients at 0, which Δ makes whole numbers: no one but the dealer
knows m, so no one can divide modulo n m. Encryption, addition and packing are ``paillier``'s.
Source: Damgård and Jurik, A Generalisation, a Simplification and Some Applications of Paillier's
Probabilistic Public-Key System, PKC 2001, section 4.1, with s = 1.

Who is trusted: the dealer, who draws the primes and the shares, sends each party its own, and
forgets. It could read everything.
Adversary: withstands threshold-1 honest-but-curious parties who pool their shares and all they see:
those shares are uniform whatever d is, and the ciphertexts are Paillier's. Any ``threshold``
parties who meet read every ciphertext. Parties who lie are not withstood: this leaves out the
paper's proofs that a partial decryption is right. A wrong one gives an error, except that whoever
multiplies theirs by a power of 1 + n shifts the sum unseen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import factorial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.he import integers, paillier
from refimpl.he.ciphertext import Ciphertext, PartialDecryption, gathered, parse_partial
from refimpl.he.integers import Integer, integer
from refimpl.he.noise import Noise, exponent_bits, noise_base
from refimpl.he.paillier import LEAST_BITS


@dataclass(frozen=True)
class PublicKey(paillier.PublicKey):
    """Encrypts and adds as ``paillier.PublicKey``, and combines partial decryptions."""

    parties: int = 2
    threshold: int = 2

    scheme: ClassVar[str] = "threshold paillier"

    def __post_init__(self) -> None:
        super().__post_init__()
        most = 2**12  # Δ has 43,000 bits then; and n m must have no factor among the parties
        whole("threshold", self.threshold, 1, whole("parties", self.parties, 1, most))

    def combine(self, partials: Sequence[PartialDecryption]) -> NDArray[np.float64]:
        """The sum of the vectors in a ciphertext, from any ``threshold`` partial decryptions of it.

        More are checked like the rest, and left out. Raises ValueError for too few, two of one
        party, those of different ciphertexts or keys, and those that do not fit together.
        """
        chosen = gathered(self.terms, partials, self.threshold)
        rows = {party: self._numbers(partial) for party, partial in chosen.items()}
        used = list(rows)[: self.threshold]
        factors = coefficients(used, self.parties)
        plaintexts = [
            self._plaintext(numbers, factors)
            for numbers in zip(*(rows[party] for party in used), strict=True)
        ]
        return self.decoded(plaintexts, partials[0])

    def partial_from_bytes(self, data: bytes) -> PartialDecryption:
        """What ``PartialDecryption.to_bytes`` wrote, checked; ValueError for anything else."""
        partial = parse_partial(data)
        gathered(self.terms, [partial], 1)
        self._numbers(partial)
        return partial

    def _numbers(self, partial: PartialDecryption) -> list[Integer]:
        whole("party", partial.party, 1, self.parties)
        same = Ciphertext(partial.terms, partial.length, partial.summands, partial.arrays)
        return self.to_integers(same)

    def _plaintext(self, partials: Sequence[Integer], factors: Sequence[int]) -> Integer:
        """M from the parties' c_i and λ_i for one plaintext."""
        n, raised = integer(self.n), integer(1)
        for partial, factor in zip(partials, factors, strict=True):
            raised = raised * integers.power(partial, 2 * factor, self._n_square) % self._n_square
        if raised % n != 1:
            raise ValueError(
                "the partial decryptions do not fit together: one of them is wrong, or was made "
                "with another key's share"
            )
        scale = integers.inverse(integer(4 * factorial(self.parties) ** 2), n)
        return (raised - 1) // n * scale % n


@dataclass(frozen=True)
class KeyShare:
    """One party's share of the private key; ``value`` is secret and never printed."""

    public: PublicKey
    party: int
    value: int = field(repr=False)

    def partial_decrypt(self, ciphertext: Ciphertext) -> PartialDecryption:
        """This party's part of a ciphertext's decryption; ``public.combine`` takes them.

        Whoever gets ``threshold`` parts reads the sum; fewer say nothing of it. Raises ValueError
        for a ciphertext that the public key would not add.
        """
        numbers = self.public.to_integers(ciphertext)
        exponent = 2 * factorial(self.public.parties) * self.value
        raised = integers.powers(numbers, exponent, integer(self.public.n) ** 2)
        rows = self.public.from_integers(raised, length=ciphertext.length).arrays
        length, summands = ciphertext.length, ciphertext.summands
        terms = self.public.terms
        return PartialDecryption(terms, self.party, ciphertext.digest, length, summands, rows)


def deal(
    parties: int,
    threshold: int,
    bits: int = LEAST_BITS,
    encoding: FixedPoint | None = None,
    *,
    noise: Noise = "half",
    rng: CryptoGenerator | None = None,
) -> tuple[PublicKey, list[KeyShare]]:
    """What the dealer does: the public key, and the shares of parties 1, 2, ..., ``parties``.

    ``threshold``: how many must take part in a decryption. ``bits``, ``encoding``, ``noise``: as
    in ``paillier.generate_keypair``. Safe primes take seconds with gmpy2, a minute without.
    """
    bits = whole("bits", bits, LEAST_BITS, remedy="deal_from_primes takes shorter ones to teach")
    if bits % 2:
        raise ValueError(f"bits must be even, got {bits}")
    rng = resolve(rng)
    p = q = integers.safe_prime(bits // 2, rng)
    while p == q:
        q = integers.safe_prime(bits // 2, rng)
    return deal_from_primes(p, q, parties, threshold, encoding, noise=noise, rng=rng)


def deal_from_primes(
    p: int,
    q: int,
    parties: int,
    threshold: int,
    encoding: FixedPoint | None = None,
    *,
    noise: Noise = "half",
    rng: CryptoGenerator | None = None,
    teaching: bool = False,
) -> tuple[PublicKey, list[KeyShare]]:
    """``deal`` for given safe primes. ``teaching`` allows short ones, which PROTECT NOBODY."""
    rng = resolve(rng)
    for prime in (p, q):
        if not (integers.is_prime(prime, rng) and integers.is_prime(prime // 2, rng)) or p == q:
            raise ValueError("p and q must be different safe primes, 2 p' + 1 with p' prime")
    if parties >= min(p, q) // 2:
        raise ValueError(f"parties must be below p' and q', got {parties}; take longer primes")
    n, m = p * q, (p // 2) * (q // 2)
    encoding = FixedPoint() if encoding is None else encoding
    public = PublicKey(
        n,
        noise_base(p, q, rng),
        encoding,
        exponent_bits(noise, n.bit_length()),
        teaching,
        parties,
        threshold,
    )
    d = m * pow(m, -1, n)  # 0 modulo m, 1 modulo n
    values = _shared(d, n * m, public, rng)
    return public, [KeyShare(public, x, value) for x, value in enumerate(values, start=1)]


def coefficients(xs: Sequence[int], parties: int) -> list[int]:
    """λ_i = Δ Π_(j≠i) x_j / (x_j - x_i), whole numbers: Σ λ_i f(x_i) = Δ f(0)."""
    found = []
    for x in xs:
        above, below = factorial(parties), 1
        for other in xs:
            if other != x:
                above, below = above * other, below * (other - x)
        found.append(above // below)
    return found


def _shared(secret: int, modulus: int, public: PublicKey, rng: CryptoGenerator) -> list[int]:
    """f(1), f(2), ... modulo ``modulus`` for a random f of degree threshold - 1, f(0) = secret."""
    polynomial = [secret, *(integers.below(modulus, rng) for _ in range(public.threshold - 1))]
    return [_evaluate(polynomial, x, modulus) for x in range(1, public.parties + 1)]


def _evaluate(polynomial: Sequence[int], x: int, modulus: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * x + coefficient) % modulus
    return value
