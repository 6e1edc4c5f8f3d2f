"""Sums under encryption from ring learning with errors: 8 bytes a value, or 4 with a shared key.

All is in R = Z_q[X]/(X^N + 1), N = 4096, q = 2^64; m holds the values, two to a coefficient at the
default encoding, and Δ is the room for the noise (see ``slots``). s and u are small, e is noise.

    secret key s,   public key  a uniform,  b = -a s + e
    public form     c0 = b u + e1 + Δm,  c1 = a u + e2        c0 + c1 s = Δm + (e u + e1 + e2 s)
    seeded form     c0 = -a s + e + Δm,  a from a seed        c0 + a s  = Δm + e

Ciphertexts are added word by word, and what decrypts is the sum, exactly: the noise is rounded off.
Only additions, so q need not be prime. In the seeded form whoever encrypts holds s, as where
participants share a key that the server has not; a sum keeps a seed of 16 bytes a summand.

**Noise.** s, e and u are centred binomial, see ``lattice_noise``. A sum of k vectors has noise of
variance k V in each coefficient, V = |e|²/2 + 21/2 (|s|² + 1), exact for this key. A key whose V is
above 1.1 times its mean is drawn again (about once in 10^13 keys), so that everybody can rely on
that. For 256 summands and 10^6 values a coefficient then reaches Δ/2 = 2^15 with probability below
2^-43. (With s and u uniform ternary the same bound is 2^-28: more than 2^-40 allows.) Decryption
also refuses a noise beyond what the number of summands explains: the sign of a wrong key, of damage
or of more summands than stated. So the sum of what was encrypted comes out right, or as an error.

**Security.** Chosen-plaintext security under the decision RLWE assumption: that b, and a u + e2 and
b u + e1, cannot be told from uniform. No quantum algorithm is known that breaks it, unlike
factoring. The Homomorphic Encryption Standard (Albrecht et al., 2018) allows N = 4096 with uniform
ternary secrets up to q = 2^109 for 128 bits of security and 2^75 for 192, against quantum attacks
2^101 and 2^70. It has no row for centred binomial(1), whose variance is 1/2 where ternary has 2/3.
So what speaks for 128 bits here are the 37 bits and more between q = 2^64 and those limits.

Adversary: honest-but-curious without s. (Who holds s reads every ciphertext it gets, sum or not.)
Withstands no change: whoever relays a ciphertext can add to it, or encrypt something else, and
leaves no trace. What leaks: length, encoding, and the number of summands. Public values are
expanded from seeds by AES-CTR, taken for random bits.
Source: Lyubashevsky, Peikert and Regev, EUROCRYPT 2010; the scaling by Δ as in Fan and
Vercauteren, ePrint 2012/144.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic import randomness
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he import lattice_noise, polynomials, slots
from refimpl.he.ciphertext import Ciphertext, Terms, fingerprint, parse
from refimpl.he.lattice_noise import BINARY_VARIANCE, ERROR_VARIANCE
from refimpl.he.polynomials import DEGREE, Spectrum, Words, blocks
from refimpl.he.slots import Slots

SCHEME, SEEDED = "rlwe", "rlwe, seeded"
SEED_BYTES = 16
# The mean of V, with a margin that a key passes but for once in 10^13.
VARIANCE = 1.1 * ERROR_VARIANCE * (2 * DEGREE * BINARY_VARIANCE + 1)


@dataclass(frozen=True, eq=False)
class PublicKey:
    """Encrypts and adds. ``seed``, 16 bytes, expands to a; ``b`` is ``uint64`` of shape (4096,).

    Raises ValueError for an encoding whose sums leave no room for the noise.
    """

    encoding: FixedPoint
    seed: bytes
    b: Words = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.seed, bytes) or len(self.seed) != SEED_BYTES:
            raise ValueError(f"seed must be {SEED_BYTES} bytes")
        if self.b.dtype != np.uint64 or self.b.shape != (DEGREE,):
            raise ValueError(
                f"b must be uint64 of shape ({DEGREE},), got {self.b.dtype} {self.b.shape}"
            )
        _ = self.slots  # whether there is room for the noise

    @cached_property
    def slots(self) -> Slots:
        """How values lie in a coefficient."""
        return slots.choose(self.encoding, VARIANCE, DEGREE)

    @cached_property
    def terms(self) -> Terms:
        """What ciphertexts in public form carry."""
        return Terms(SCHEME, fingerprint(SCHEME, self.seed, self.b.tobytes()), self.encoding)

    @cached_property
    def seeded_terms(self) -> Terms:
        """What ciphertexts in seeded form carry."""
        return Terms(SEEDED, self.terms.key, self.encoding)

    def encrypt(self, vector: ArrayLike, rng: CryptoGenerator | None = None) -> Ciphertext:
        """The ciphertext of a vector of real numbers within the encoding's bound.

        Raises ValueError for a value outside the bound or NaN, and for any other shape.
        """
        rng = randomness.resolve(rng)
        c0 = self.scaled(vector)
        c1 = np.empty_like(c0)
        for rows in blocks(len(c0)):
            shape = c0[rows].shape
            u = polynomials.transform(lattice_noise.binary(rng, shape))
            c0[rows] += polynomials.product(self._spectra[1], u)
            c0[rows] += lattice_noise.error(rng, shape)
            c1[rows] = polynomials.product(self._spectra[0], u)
            c1[rows] += lattice_noise.error(rng, shape)
        return Ciphertext(self.terms, len(np.asarray(vector)), 1, (c0, c1))

    def add(self, *ciphertexts: Ciphertext) -> Ciphertext:
        """The ciphertext of the sum, of ciphertexts that are all in one form.

        Raises ValueError for unlike lengths, another key or encoding, and too many summands.
        """
        for ciphertext in ciphertexts:
            self.check(ciphertext)
        terms = self._terms_of(ciphertexts[0]) if ciphertexts else self.terms
        summands = terms.total(ciphertexts)
        total, *others = zip(*(ciphertext.arrays for ciphertext in ciphertexts), strict=True)
        if terms == self.seeded_terms:
            arrays = (_sum(total), np.concatenate(others[0]))
        else:
            arrays = (_sum(total), _sum(others[0]))
        return Ciphertext(terms, ciphertexts[0].length, summands, arrays)

    def from_bytes(self, data: bytes) -> Ciphertext:
        """What ``to_bytes`` wrote; ValueError if it is damaged or not of this key."""
        ciphertext = parse(data)
        self.check(ciphertext)
        return ciphertext

    def check(self, ciphertext: Ciphertext) -> None:
        """Raise ValueError unless it is of this key and encoding, and of the right shapes."""
        terms = self._terms_of(ciphertext)
        terms.check(ciphertext)
        shape = (self.slots.rows(ciphertext.length), DEGREE)
        wanted = [("uint64", shape), ("uint64", shape)]
        if terms == self.seeded_terms:
            wanted[1] = ("uint8", (ciphertext.summands, SEED_BYTES))
        found = [(array.dtype.name, array.shape) for array in ciphertext.arrays]
        if found != wanted:
            raise ValueError(f"a ciphertext of this length must hold {wanted}, got {found}")

    def scaled(self, vector: ArrayLike) -> Words:
        """Δm: the encoded values in slots, above the room for the noise; shape (rows, 4096)."""
        values = slots.encoded(vector, self.encoding)
        if not slots.fits(self.slots, self.encoding, VARIANCE, values.size):
            raise ValueError(
                f"a vector of {values.size} values is too long for {self.encoding}: some "
                "coefficient could fail; cut it in two"
            )
        return self.slots.pack(values)

    def log2_failure(self, length: int, summands: int) -> float:
        """log2 of a bound on the probability that such a sum cannot be decrypted."""
        variance = VARIANCE * summands
        return lattice_noise.log2_failure(
            self.slots.half, variance, self.slots.coefficients(length)
        )

    def _terms_of(self, ciphertext: Ciphertext) -> Terms:
        scheme = getattr(getattr(ciphertext, "terms", None), "scheme", None)
        return self.seeded_terms if scheme == SEEDED else self.terms

    @cached_property
    def _spectra(self) -> tuple[Spectrum, Spectrum]:
        """Of a and b. (A column, so that they multiply any number of polynomials.)"""
        a = randomness.expander(self.seed).uint64((1, DEGREE))
        return polynomials.limbs(a), polynomials.limbs(self.b[np.newaxis])


@dataclass(frozen=True, eq=False)
class PrivateKey:
    """Decrypts, and encrypts in the seeded form. ``secret`` is s, ``int8`` of shape (4096,)."""

    public: PublicKey
    secret: NDArray[np.int8] = field(repr=False)

    def encrypt(self, vector: ArrayLike, rng: CryptoGenerator | None = None) -> Ciphertext:
        """The seeded form, of half the size: for parties that share this key.

        Raises as ``PublicKey.encrypt`` does. The seed is fresh: two messages under one seed would
        reveal their difference.
        """
        rng = randomness.resolve(rng)
        c0 = self.public.scaled(vector)
        seed = rng.bytes(SEED_BYTES)
        for rows, a in _expanded([seed], len(c0)):
            c0[rows] += lattice_noise.error(rng, a.shape)
            c0[rows] -= self._times_secret(a)
        seeds = np.frombuffer(seed, np.uint8).reshape(1, SEED_BYTES).copy()
        terms = self.public.seeded_terms
        return Ciphertext(terms, len(np.asarray(vector)), 1, (c0, seeds))

    def decrypt(self, ciphertext: Ciphertext) -> NDArray[np.float64]:
        """The sum of the encrypted vectors: ``float64`` of exactly their length.

        Raises ValueError for a ciphertext of another key or encoding, and for one whose noise is
        larger than its number of summands explains: it was damaged, or holds more than it says.
        """
        self.public.check(ciphertext)
        layout, encoding = self.public.slots, self.public.encoding
        most = self._noise_limit(ciphertext)
        values = np.empty((layout.count, layout.rows(ciphertext.length), DEGREE))
        for rows, phase in self._phases(ciphertext):
            found = self._noise_of(phase)
            if max(found.max(), -found.min()) > most:
                raise ValueError(
                    f"the noise exceeds {most:.0f}, what {ciphertext.summands} summands explain: "
                    "the ciphertext is damaged, or holds more summands than it says"
                )
            values[:, rows] = encoding.decode(layout.unpack(phase), summands=ciphertext.summands)
        return values.reshape(-1)[: ciphertext.length]

    def noise(self, ciphertext: Ciphertext) -> NDArray[np.int64]:
        """The noise of each coefficient, shape (rows, 4096), to look at; it is below Δ/2 if right.

        Never give it away: it depends on the secret key.
        """
        self.public.check(ciphertext)
        found = [self._noise_of(phase) for _, phase in self._phases(ciphertext)]
        return np.concatenate([np.empty((0, DEGREE), np.int64), *found])

    def _phases(self, ciphertext: Ciphertext) -> Iterator[tuple[slice, Words]]:
        """Δm + noise + Δ/2, block by block; the last so that cutting bits off rounds to nearest."""
        c0, rest = ciphertext.arrays
        if ciphertext.terms == self.public.seeded_terms:
            parts = _expanded([seed.tobytes() for seed in rest], len(c0))
        else:
            parts = ((rows, rest[rows]) for rows in blocks(len(c0)))
        for rows, c1 in parts:
            phase = self._times_secret(c1)
            phase += c0[rows]
            phase += np.uint64(self.public.slots.half)
            yield rows, phase

    def _noise_of(self, phase: Words) -> NDArray[np.int64]:
        half = self.public.slots.half
        return (phase & np.uint64(2 * half - 1)).view(np.int64) - half

    def _noise_limit(self, ciphertext: Ciphertext) -> float:
        """What the noise stays below but for 2^-40, and in any case below Δ/2."""
        seeded = ciphertext.terms == self.public.seeded_terms
        variance = (ERROR_VARIANCE if seeded else VARIANCE) * ciphertext.summands
        layout = self.public.slots
        most = lattice_noise.limit(variance, layout.coefficients(ciphertext.length))
        return min(most, layout.half - 1)

    def _times_secret(self, words: Words) -> Words:
        return polynomials.product(polynomials.limbs(words), self._spectrum)

    @cached_property
    def _spectrum(self) -> Spectrum:
        return polynomials.transform(self.secret)


def generate_keypair(
    *, encoding: FixedPoint | None = None, rng: CryptoGenerator | None = None
) -> tuple[PublicKey, PrivateKey]:
    """A fresh key pair. ``encoding``: of the values to be added (default ``FixedPoint()``).

    Raises ValueError for an encoding whose sums leave no room for the noise.
    """
    rng = randomness.resolve(rng)
    encoding = FixedPoint() if encoding is None else encoding
    while True:
        seed, secret = rng.bytes(SEED_BYTES), lattice_noise.binary(rng, (DEGREE,))
        error = lattice_noise.error(rng, (DEGREE,))
        if variance_of(secret, error.view(np.int64)) <= VARIANCE:
            break
    a = polynomials.limbs(randomness.expander(seed).uint64((DEGREE,)))
    b = error - polynomials.product(a, polynomials.transform(secret))
    public = PublicKey(encoding, seed, b)
    return public, PrivateKey(public, secret)


def variance_of(secret: NDArray[np.int8], error: NDArray[np.int64]) -> float:
    """V: the exact variance of one public-form ciphertext's noise, given s and e."""
    squared_secret = int(np.square(secret, dtype=np.int64).sum())
    squared_error = int(np.square(error).sum())
    return BINARY_VARIANCE * squared_error + ERROR_VARIANCE * (squared_secret + 1)


def _expanded(seeds: list[bytes], count: int) -> Iterator[tuple[slice, Words]]:
    """The sum of what the seeds expand to, ``count`` polynomials, block by block."""
    streams = [randomness.expander(seed) for seed in seeds]
    for rows in blocks(count):
        total = streams[0].uint64((rows.stop - rows.start, DEGREE))
        for stream in streams[1:]:
            total += stream.uint64(total.shape)
        yield rows, total


def _sum(arrays: tuple[Words, ...]) -> Words:
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total
