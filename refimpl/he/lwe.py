"""Sums under encryption from learning with errors, in the form of Phong et al.: rings left away.

Modulo q = 2^64, with p odd, A uniform, and R, S, e1, e2, e3 small:

    public key   A (n, n),  P = p R - A S (n, l)                secret key  S (n, l)
    ciphertext   c1 = e1 A + p e2,   c2 = e1 P + p e3 + m       m: l coefficients below p
    decryption   c1 S + c2 = m + p (e1 R + e2 S + e3) modulo q, centred, then modulo p

Here the message sits below the noise, and taking it modulo p brings it out; in ``rlwe`` it sits
above. p = 2^k + 1 for slots of k bits in all. A row of ciphertext holds l coefficients in n + l
words, and its product with the key takes n (n + l) multiplications: the ring of ``rlwe`` does the
same with two words a coefficient and a Fourier transform. This scheme is here to be read.

**Noise.** All that is small is centred binomial with variance 21/2, see ``lattice_noise``. A
sum of k vectors has noise of variance k V_j in column j, V_j = 21/2 (|R_j|² + |S_j|² + 1). A key
with a V_j beyond what all but 2^-40 of the keys have is drawn again, so that everybody can rely on
that. As in ``rlwe``, decryption refuses noise that the number of summands does not explain.

**Security.** Chosen-plaintext security if LWE is hard; no fast quantum algorithm for it is known.
The Homomorphic Encryption Standard (Albrecht et al., 2018), for secrets of the error's law and 128
bits against classical attacks, has q = 2^56 at n = 2048 and 2^111 at 4096; on the line between,
n = 2560 would have 2^69.
Adversary: honest-but-curious without S. What leaks: length, encoding and number of summands.
Source: Phong, Aono, Hayashi, Wang and Moriai, Privacy-Preserving Deep Learning via Additively
Homomorphic Encryption, IEEE Transactions on Information Forensics and Security 13(5), 2018.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic import randomness, ring
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he import lattice_noise, slots
from refimpl.he.ciphertext import Ciphertext, Terms, fingerprint, parse
from refimpl.he.lattice_noise import ERROR_VARIANCE
from refimpl.he.slots import Slots

Words = NDArray[np.uint64]

SCHEME = "lwe"
DIMENSION, COLUMNS = 2560, 256


@dataclass(frozen=True, eq=False)
class PublicKey:
    """Encrypts and adds. ``seed``, 16 bytes, expands to A; ``p`` is P, ``uint64`` of shape (n, l).

    Raises ValueError for an encoding whose sums leave no room for the noise.
    """

    encoding: FixedPoint
    seed: bytes
    p: Words = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.seed, bytes) or len(self.seed) != 16:
            raise ValueError("seed must be 16 bytes")
        if self.p.dtype != np.uint64 or self.p.ndim != 2:
            raise ValueError(f"p must be uint64 of shape (n, l), got {self.p.dtype} {self.p.shape}")
        _ = self.slots  # whether there is room for the noise

    @property
    def dimension(self) -> int:
        """n."""
        return self.p.shape[0]

    @cached_property
    def slots(self) -> Slots:
        """How values lie in a coefficient."""
        # One per cent more, because p is 2^k + 1 and not 2^k.
        return slots.choose(self.encoding, 1.01 * self._variance, self.p.shape[1])

    @property
    def modulus(self) -> int:
        """p, of the messages: odd, or else c1 modulo p would tell of m."""
        return (1 << self.slots.count * self.slots.bits) + 1

    @cached_property
    def terms(self) -> Terms:
        """What ciphertexts carry."""
        return Terms(SCHEME, fingerprint(SCHEME, self.seed, self.p.tobytes()), self.encoding)

    def encrypt(self, vector: ArrayLike, rng: CryptoGenerator | None = None) -> Ciphertext:
        """The ciphertext of a vector of real numbers within the encoding's bound.

        Raises ValueError for a value outside the bound or NaN, and for any other shape.
        """
        rng = randomness.resolve(rng)
        values = slots.encoded(vector, self.encoding)
        if not slots.fits(self.slots, self.encoding, 1.01 * self._variance, values.size):
            raise ValueError(f"a vector of {values.size} values is too long; cut it in two")
        message = self.slots.pack(values) >> np.uint64(self.slots.noise_bits)
        e1, e2 = lattice_noise.error(rng, (2, len(message), self.dimension))
        e3 = lattice_noise.error(rng, message.shape)
        modulus = np.uint64(self.modulus)
        c1 = ring.matmul(e1, self._a) + modulus * e2
        c2 = ring.matmul(e1, self.p) + modulus * e3 + message
        return Ciphertext(self.terms, values.size, 1, (c1, c2))

    def add(self, *ciphertexts: Ciphertext) -> Ciphertext:
        """The ciphertext of the sum.

        Raises ValueError for unlike lengths, another key or encoding, and too many summands.
        """
        for ciphertext in ciphertexts:
            self.check(ciphertext)
        summands = self.terms.total(ciphertexts)
        parts = zip(*(ciphertext.arrays for ciphertext in ciphertexts), strict=True)
        arrays = tuple(np.asarray(np.sum(part, axis=0, dtype=np.uint64)) for part in parts)
        return Ciphertext(self.terms, ciphertexts[0].length, summands, arrays)

    def from_bytes(self, data: bytes) -> Ciphertext:
        """What ``to_bytes`` wrote; ValueError if it is damaged or not of this key."""
        ciphertext = parse(data)
        self.check(ciphertext)
        return ciphertext

    def check(self, ciphertext: Ciphertext) -> None:
        """Raise ValueError unless it is of this key and encoding, and of the right shapes."""
        self.terms.check(ciphertext)
        rows = self.slots.rows(ciphertext.length)
        wanted = [("uint64", (rows, self.dimension)), ("uint64", (rows, self.p.shape[1]))]
        found = [(array.dtype.name, array.shape) for array in ciphertext.arrays]
        if found != wanted:
            raise ValueError(f"a ciphertext of this length must hold {wanted}, got {found}")

    def log2_failure(self, length: int, summands: int) -> float:
        """log2 of a bound on the probability that such a sum cannot be decrypted."""
        most = 2**63 / self.modulus - 1  # |m + p v| < 2^63
        variance = summands * self._variance
        return lattice_noise.log2_failure(most, variance, self.slots.coefficients(length))

    def noise_limit(self, length: int, summands: int) -> float:
        """What the noise of such a sum stays below, but for 2^-40."""
        variance = summands * self._variance
        return lattice_noise.limit(variance, self.slots.coefficients(length))

    @property
    def _variance(self) -> float:
        return _most_variance(*self.p.shape)

    @cached_property
    def _a(self) -> Words:
        return _expanded(self.seed, self.dimension)


@dataclass(frozen=True, eq=False)
class PrivateKey:
    """Decrypts. ``secret`` is S modulo 2^64, ``uint64`` of shape (n, l)."""

    public: PublicKey
    secret: Words = field(repr=False)

    def decrypt(self, ciphertext: Ciphertext) -> NDArray[np.float64]:
        """The sum of the encrypted vectors: ``float64`` of exactly their length.

        Raises ValueError for a ciphertext of another key or encoding, and for one whose noise is
        larger than its number of summands explains.
        """
        layout, length, summands = self.public.slots, ciphertext.length, ciphertext.summands
        message, noise = self._open(ciphertext)
        most = self.public.noise_limit(length, summands)
        if max(noise.max(initial=0), -noise.min(initial=0)) > most:
            raise ValueError(
                f"the noise exceeds {most:.0f}, what {summands} summands explain: the ciphertext "
                "is damaged, or holds more summands than it says"
            )
        values = layout.unpack(message << np.uint64(layout.noise_bits)).reshape(-1)
        return self.public.encoding.decode(values[:length], summands=summands)

    def noise(self, ciphertext: Ciphertext) -> NDArray[np.int64]:
        """The noise v of each coefficient, of shape (rows, l), to look at. Never give it away."""
        return self._open(ciphertext)[1]

    def _open(self, ciphertext: Ciphertext) -> tuple[Words, NDArray[np.int64]]:
        """m and v of m + p v."""
        self.public.check(ciphertext)
        c1, c2 = ciphertext.arrays
        phase = (ring.matmul(c1, self.secret) + c2).view(np.int64)
        noise, message = np.divmod(phase, self.public.modulus)
        return message.view(np.uint64), noise


def generate_keypair(
    *,
    encoding: FixedPoint | None = None,
    columns: int = COLUMNS,
    rng: CryptoGenerator | None = None,
) -> tuple[PublicKey, PrivateKey]:
    """A fresh key pair of 128 bits of security: n = 2560, and ``columns`` l.

    ``encoding``: of the values to be added (default ``FixedPoint()``). Raises ValueError where its
    sums leave no room for the noise. A ciphertext has (n + l) / l words a coefficient, and the
    public key n l words.
    """
    return _generated(DIMENSION, encoding, columns, rng)


def generate_teaching_keypair(
    dimension: int,
    *,
    encoding: FixedPoint | None = None,
    columns: int = 8,
    rng: CryptoGenerator | None = None,
) -> tuple[PublicKey, PrivateKey]:
    """A key pair of any dimension, to look at and to attack. IT PROTECTS NOBODY if it is small."""
    return _generated(whole("dimension", dimension, 1), encoding, columns, rng)


def _generated(
    dimension: int, encoding: FixedPoint | None, columns: int, rng: CryptoGenerator | None
) -> tuple[PublicKey, PrivateKey]:
    rng = randomness.resolve(rng)
    shape = (dimension, whole("columns", columns, 1))
    encoding = FixedPoint() if encoding is None else encoding
    while True:
        r, secret = lattice_noise.error(rng, (2, *shape))
        squares = np.square(np.stack([r, secret]).view(np.int64)).sum(axis=(0, 1))
        if ERROR_VARIANCE * (squares.max() + 1) <= _most_variance(*shape):
            break
    # The room for the noise, and so p, depend on the key's shape alone.
    seed = rng.bytes(16)
    modulus = PublicKey(encoding, seed, np.zeros(shape, np.uint64)).modulus
    p = np.uint64(modulus) * r - ring.matmul(_expanded(seed, dimension), secret)
    public = PublicKey(encoding, seed, p)
    return public, PrivateKey(public, secret)


def _most_variance(dimension: int, columns: int) -> float:
    """The largest V_j of a key: one ciphertext's noise in a coefficient.

    A column of R above one of S has 2n coordinates; but for e^-x, the squares of its entries add
    up to at most 21/2 (2n + 2√(2n x) + 2x) (Hsu, Kakade and Zhang, Electronic Communications in
    Probability 17, 2012, theorem 2.1).
    """
    x = math.log(2**40 * columns)
    squared = ERROR_VARIANCE * (2 * dimension + 2 * math.sqrt(2 * dimension * x) + 2 * x)
    return ERROR_VARIANCE * (squared + 1)


def _expanded(seed: bytes, dimension: int) -> Words:
    """A, by AES-CTR."""
    return randomness.expander(seed).uint64((dimension, dimension))
