"""Paillier encryption of vectors: whoever has the public key adds, the private key reads the sum.

    E(m; r) = (1 + n)^m r^n modulo n^2,   n = p q,        E(m) E(m') = E(m + m' modulo n)

Many values share a plaintext (``packing``), and r^n comes from a table (``noise``). A ciphertext is
a standard one for the public key n with g = 1 + n: python-paillier decrypts it, and the other way
round (see ``python_paillier``, which also shows what its encoding of floats gives away).

Adversary: one who has the public key and any ciphertexts learns nothing of the values unless it
can tell n-th powers modulo n^2 from other numbers (the decisional composite residuosity
assumption) or, with the default noise, factor n. Whoever has the private key reads every
ciphertext, not only sums. What leaks: the length, the number of summands, the encoding. A malicious
sender can encrypt something else, or multiply a ciphertext by anything: ciphertexts are malleable,
so they travel over authenticated links. A quantum computer that factors n reads all.
Sources: Paillier, EUROCRYPT 1999 (scheme 1, and section 7 for the Chinese remainders); Damgård,
Jurik and Nielsen 2010 for the noise, see ``noise``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.he import integers, packing
from refimpl.he.ciphertext import Ciphertext, Terms, fingerprint, parse
from refimpl.he.integers import Integer, integer
from refimpl.he.noise import Noise, exponent_bits, noise_base, table

LEAST_BITS = 2048
_LEAST_NOISE = 224  # twice the 112 bits of security of a 2048-bit modulus (NIST SP 800-57)


@dataclass(frozen=True)
class PublicKey:
    """Encrypts, adds, and reads nothing. ``generate_keypair`` makes it; its fields are public.

    n: the modulus. h: the base of the noise, -x^2 modulo n for a random x. encoding: of the
    values; all who add agree on it. noise_bits: the length of the noise's exponent, a multiple
    of 8. ``teaching`` allows n below 2048 bits, which protects nobody.
    """

    n: int
    h: int
    encoding: FixedPoint = field(default_factory=FixedPoint)
    noise_bits: int = 1024
    teaching: bool = False

    scheme: ClassVar[str] = "paillier"

    def __post_init__(self) -> None:
        n, h = whole("n", self.n), whole("h", self.h)
        if n.bit_length() < LEAST_BITS and not self.teaching:
            raise ValueError(
                f"bits must be at least {LEAST_BITS}, got a modulus of {n.bit_length()}; shorter "
                "ones are broken or soon will be: generate_teaching_keypair makes them"
            )
        if n % 4 != 1 or not (1 < h < n and gcd(h, n) == 1):
            raise ValueError("n must be 1 modulo 4 and h invertible modulo n, between 1 and n")
        least = 8 if self.teaching else _LEAST_NOISE
        most = exponent_bits("full", n.bit_length())
        bits = whole("noise_bits", self.noise_bits, least, most)
        if bits % 8:
            raise ValueError(f"noise_bits must be a multiple of 8, got {bits}")
        for name, number in (("n", n), ("h", h), ("noise_bits", bits)):
            object.__setattr__(self, name, number)  # plain integers; the class is frozen
        packing.slots(self.encoding, self._capacity)  # at least one

    @cached_property
    def terms(self) -> Terms:
        """What a ciphertext of this key carries."""
        return Terms(self.scheme, fingerprint(self.scheme, self.n, self.h), self.encoding)

    @property
    def slots(self) -> int:
        """Values in one plaintext."""
        return packing.slots(self.encoding, self._capacity)

    def encrypt(self, vector: ArrayLike, rng: CryptoGenerator | None = None) -> Ciphertext:
        """A float vector of shape (length,), each value within ``encoding.bound``, encrypted.

        ``rng``: default ``randomness.secure()``. Noise is fresh for each plaintext. The first call
        with a key makes its table, which takes a part of a second. Raises ValueError for
        a value out of bounds or NaN, and for any other shape.
        """
        if np.ndim(vector) != 1:
            raise ValueError(f"a vector must have one dimension, got shape {np.shape(vector)}")
        values, rng = self.encoding.encode(vector), resolve(rng)
        noise = table(self.n, self.h, self.noise_bits // 8)
        numbers = packing.pack(values, self.encoding.sum_bits, self.slots)
        return self.from_integers(noise.encrypt(numbers, rng), length=values.size)

    def add(self, *ciphertexts: Ciphertext) -> Ciphertext:
        """The encrypted sum of one or more ciphertexts.

        Raises ValueError for another key's or encoding's, unlike lengths, numbers outside the
        group, and more vectors in all than ``encoding.summands``.
        """
        summands = self.terms.total(ciphertexts)
        columns = zip(*map(self.to_integers, ciphertexts), strict=True)
        sums = [_product(column, self._n_square) for column in columns]
        return self.from_integers(sums, length=ciphertexts[0].length, summands=summands)

    def multiply(self, ciphertext: Ciphertext, factor: int) -> Ciphertext:
        """``factor`` times the encrypted values, which counts as so many times the summands.

        ``factor``: at least 1; a sign belongs into the values before they are encrypted. Raises
        ValueError as ``add`` of so many ciphertexts would.
        """
        numbers, factor = self.to_integers(ciphertext), whole("factor", factor, 1)
        remedy = "choose a FixedPoint with more summands"
        most, summands = self.encoding.summands, factor * ciphertext.summands
        whole("factor times summands", summands, 1, most, remedy=remedy)
        raised = integers.powers(numbers, factor, self._n_square)
        return self.from_integers(raised, length=ciphertext.length, summands=summands)

    def to_integers(self, ciphertext: Ciphertext) -> list[Integer]:
        """The numbers modulo n^2 of a ciphertext, after all checks of it."""
        self.terms.check(ciphertext)
        shape = (packing.packed_count(ciphertext.length, self.slots), self._width)
        found = [(array.dtype.str, array.shape) for array in ciphertext.arrays]
        if found != [("|u1", shape)]:
            raise ValueError(
                f"a ciphertext of length={ciphertext.length} must be one array of bytes of shape "
                f"{shape}, got {found}"
            )
        numbers = integers.from_rows(ciphertext.arrays[0])
        check_group(numbers, integer(self.n))
        return numbers

    def from_integers(
        self, numbers: Sequence[Integer], *, length: int, summands: int = 1
    ) -> Ciphertext:
        """The ciphertext of these numbers modulo n^2, such as python-paillier's."""
        rows = integers.to_rows(numbers, self._width)
        return Ciphertext(self.terms, length, summands, (rows,))

    def from_bytes(self, data: bytes) -> Ciphertext:
        """What ``Ciphertext.to_bytes`` wrote, checked; ValueError for anything else."""
        ciphertext = parse(data)
        self.to_integers(ciphertext)
        return ciphertext

    def decoded(self, numbers: Sequence[Integer], like: Any) -> NDArray[np.float64]:
        """The values in decrypted plaintexts; length and summands are those of ``like``."""
        total = packing.unpack(numbers, self.encoding.sum_bits, self.slots, like.length)
        return self.encoding.decode(total, summands=like.summands)

    @property
    def _capacity(self) -> int:
        return self.n.bit_length() - 1  # 2^capacity <= n

    @property
    def _width(self) -> int:
        return -(-2 * self.n.bit_length() // 8)

    @cached_property
    def _n_square(self) -> Integer:
        return integer(self.n) ** 2


@dataclass(frozen=True)
class PrivateKey:
    """Decrypts. p and q are the primes, and are never printed."""

    public: PublicKey
    p: int = field(repr=False)
    q: int = field(repr=False)

    def __post_init__(self) -> None:
        if self.p * self.q != self.public.n:
            raise ValueError("p and q must be the factors of the public key's n")

    def decrypt(self, ciphertext: Ciphertext) -> NDArray[np.float64]:
        """The sum of the vectors in a ciphertext: ``float64`` of exactly its length.

        Raises ValueError for a ciphertext of another key or encoding, outside the group, or whose
        plaintext is no sum of so many encodings.
        """
        numbers = decrypt_integers(self.public.to_integers(ciphertext), self.p, self.q)
        return self.public.decoded(numbers, ciphertext)


def generate_keypair(
    bits: int = LEAST_BITS,
    encoding: FixedPoint | None = None,
    *,
    noise: Noise = "half",
    rng: CryptoGenerator | None = None,
) -> tuple[PublicKey, PrivateKey]:
    """A fresh pair; n has exactly ``bits`` bits, 2048 (112-bit security), 3072 (128-bit) or more.

    ``encoding``: default ``FixedPoint()``, values in [-1, 1] in 16 bits, 256 summands.
    ``noise``: how long the exponent of the noise is. "full": noise like any other n-th power's,
    nothing more is assumed if h has all its powers (see ``noise``). "half" of n's length: as good,
    unless n can be factored. A number of bits, at least 224: faster, and on the further assumption
    that powers of h_n with so short exponents look like any others (which does not follow from
    factoring being hard).
    ``rng``: default ``randomness.secure()``.
    The primes are those that the noise wants: p ≡ q ≡ 3 modulo 4 with gcd(p-1, q-1) = 2.
    """
    bits = whole("bits", bits, LEAST_BITS, remedy="generate_teaching_keypair makes shorter ones")
    rng = resolve(rng)
    return _keypair(*_primes(bits, rng), encoding, noise, rng, teaching=False)


def generate_teaching_keypair(
    bits: int = 128, encoding: FixedPoint | None = None, *, rng: CryptoGenerator | None = None
) -> tuple[PublicKey, PrivateKey]:
    """A pair as short as 64 bits, for teaching and tests. IT PROTECTS NOBODY."""
    bits, rng = whole("bits", bits, 64), resolve(rng)
    return _keypair(*_primes(bits, rng), encoding, "half", rng, teaching=True)


def keypair_of(
    p: int,
    q: int,
    encoding: FixedPoint | None = None,
    *,
    noise: Noise = "half",
    rng: CryptoGenerator | None = None,
    teaching: bool = False,
) -> tuple[PublicKey, PrivateKey]:
    """The pair of two primes, such as those of a ``phe.PaillierPrivateKey``.

    Raises ValueError unless p ≡ q ≡ 3 modulo 4 and gcd(p-1, q-1) = 2, which holds for less than
    a quarter of python-paillier's keys; and for numbers that are not prime.
    """
    rng = resolve(rng)
    if not (integers.is_prime(p, rng) and integers.is_prime(q, rng)):
        raise ValueError("p and q must be prime")
    return _keypair(p, q, encoding, noise, rng, teaching)


def encrypt_integer(message: int, n: int, r: int) -> Integer:
    """Paillier's encryption as in the definition, (1 + n)^message r^n modulo n^2."""
    n_square = n * n
    return integers.power(1 + n, message, n_square) * integers.power(r, n, n_square) % n_square


def decrypt_integers(numbers: Sequence[Integer], p: int, q: int) -> list[Integer]:
    """The plaintexts of numbers modulo n^2, by the Chinese remainders (Paillier, section 7)."""
    p, q = integer(p), integer(q)
    residues = (_modulo_prime(numbers, p, q), _modulo_prime(numbers, q, p))
    inverse = integers.inverse(p, q)
    return [m_p + p * ((m_q - m_p) * inverse % q) for m_p, m_q in zip(*residues, strict=True)]


def check_group(numbers: Sequence[Integer], n: Integer) -> None:
    """Raise ValueError unless all are between 1 and n^2 and invertible."""
    n_square, product = n * n, integer(1)
    for number in numbers:
        if not 0 < number < n_square:
            raise ValueError("a number of the ciphertext is outside the group: not below n^2")
        product = product * number % n
    if gcd(product, n) != 1:
        raise ValueError("a number of the ciphertext is outside the group: not invertible")


def _primes(bits: int, rng: CryptoGenerator) -> tuple[int, int]:
    """Two primes whose product has ``bits`` bits, as the noise wants them."""
    if bits % 2:
        raise ValueError(f"bits must be even, got {bits}")
    while True:
        p, q = (integers.blum_prime(bits // 2, rng) for _ in range(2))
        if p != q and gcd(p - 1, q - 1) == 2:
            return p, q


def _keypair(
    p: int, q: int, encoding: FixedPoint | None, noise: Noise, rng: CryptoGenerator, teaching: bool
) -> tuple[PublicKey, PrivateKey]:
    length = exponent_bits(noise, (p * q).bit_length())
    encoding = FixedPoint() if encoding is None else encoding
    public = PublicKey(p * q, noise_base(p, q, rng), encoding, length, teaching)
    return public, PrivateKey(public, p, q)


def _modulo_prime(numbers: Sequence[Integer], p: Integer, q: Integer) -> list[Integer]:
    """m modulo p = L(c^(p-1) modulo p^2) / L((1+n)^(p-1)) modulo p, where L(x) = (x - 1) / p."""
    p_square = p * p
    raised = integers.powers([number % p_square for number in numbers], p - 1, p_square)
    # (1 + n)^(p-1) = 1 + (p-1) p q modulo p^2, so its L is -q modulo p
    scale = integers.inverse(-q % p, p)
    return [(x - 1) // p * scale % p for x in raised]


def _product(numbers: Sequence[Integer], modulus: Integer) -> Integer:
    product = numbers[0]
    for number in numbers[1:]:
        product = product * number % modulus
    return product
