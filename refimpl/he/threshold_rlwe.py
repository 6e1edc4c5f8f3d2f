"""Ring learning with errors whose secret key no one holds: all n parties decrypt, or nobody.

In R = Z_q[X]/(X^N + 1), N = 4096, with a from a seed that all agreed on in public:

    party i       secret s_i, ternary;     b_i = -a s_i + e_i            no dealer
    public key    b = Σ b_i = -a s + e,    s = Σ s_i, which nobody knows
    encryption    c0 = b u + e1 + Δm,  c1 = a u + e2                     one value a coefficient
    part of i     d_i = c1 s_i + f_i,  f_i uniform in [-B, B);           d_1 has c0 added to it
    combination   Σ d_i = Δm + (e u + e1 + e2 s) + Σ f_i

``threshold_parameters`` derives q, Δ and the smudging bound B from the number of parties. They are
not ``rlwe``'s: at q = 2^64 with two slots nothing is left for smudging that hides anything.

Who is trusted: nobody with a key, all with following the protocol (honest-but-curious), and the
seed not to be chosen by one of them.
Adversary: withstands n-1 parties who pool their secrets and all they see, and the aggregator with
them. They learn the sum, and what follows from it and their own vectors; else nothing under the
decision RLWE assumption, but for a statistical distance of 2^-40 for each vector decrypted. (By
RLWE the parts of all honest parties but one are random to them, and the last follows from the sum.)
No quantum algorithm is known that breaks RLWE.
What is not withstood: a party who picks b_i after seeing the others' can cancel them and own the
key, so let all commit to theirs first; a wrong part gives a wrong sum or an error; and who decrypts
a ciphertext of one summand reads it. Two parts of one ciphertext by one party would, averaged,
thin out the smudging: a share refuses the second one. (A re-randomised copy it cannot recognise.)
Source: Asharov, Jain, López-Alt, Tromer, Vaikuntanathan and Wichs, EUROCRYPT 2012; Mouchet,
Troncoso-Pastoriza, Bossuat and Hubaux, Multiparty Homomorphic Encryption from Ring-Learning-with-
Errors, PoPETs 2021(4).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic import randomness
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.he import lattice_noise, polynomials, slots, wide
from refimpl.he.ciphertext import (
    Ciphertext,
    PartialDecryption,
    Terms,
    fingerprint,
    gathered,
    parse,
    parse_partial,
)
from refimpl.he.polynomials import DEGREE, Spectrum, Words, blocks
from refimpl.he.threshold_parameters import Parameters

SCHEME = "threshold rlwe"


@dataclass(frozen=True, eq=False)
class PublicShare:
    """b_i of one party: ``uint64`` of shape (2, 4096), below q."""

    party: int
    b: Words = field(repr=False)


@dataclass(frozen=True, eq=False)
class PublicKey:
    """Encrypts, adds and combines. ``b`` is the sum of all parties' b_i; see ``combine_keys``."""

    parameters: Parameters
    b: Words = field(repr=False)

    @property
    def encoding(self) -> FixedPoint:
        """Of the values to be added."""
        return self.parameters.encoding

    @cached_property
    def terms(self) -> Terms:
        """What ciphertexts and partial decryptions carry."""
        chosen = self.parameters
        numbers = (chosen.parties, chosen.length, chosen.seed, self.b.tobytes())
        return Terms(SCHEME, fingerprint(SCHEME, *numbers), self.encoding)

    def encrypt(self, vector: ArrayLike, rng: CryptoGenerator | None = None) -> Ciphertext:
        """The ciphertext of a vector of real numbers within the encoding's bound.

        Raises ValueError for a value outside the bound or NaN, for any other shape, and for more
        values than ``parameters.length``.
        """
        rng = randomness.resolve(rng)
        values = slots.encoded(vector, self.encoding)
        rows = self.parameters.rows(whole("length", values.size, 0, self.parameters.length))
        message = np.zeros(rows * DEGREE, np.uint64)
        message[: values.size] = values << np.uint64(self.parameters.noise_bits - 64)
        c0, c1 = np.empty((2, 2, rows, DEGREE), np.uint64)
        for block in blocks(rows):
            shape = c0[0, block].shape
            u = polynomials.transform(lattice_noise.ternary(rng, shape))
            for target, spectra in ((c1, self._spectra[0]), (c0, self._spectra[1])):
                target[:, block] = polynomials.wide_product(spectra, u)
                wide.add_small(target[:, block], lattice_noise.error(rng, shape))
        c0[1] += message.reshape(rows, DEGREE)
        arrays = wide.pack(np.stack([c0, c1], axis=1), self.parameters.modulus_bits)
        return Ciphertext(self.terms, values.size, 1, arrays)

    def add(self, *ciphertexts: Ciphertext) -> Ciphertext:
        """The ciphertext of the sum; many at once are faster than one after the other.

        Raises ValueError for unlike lengths, another key or encoding, and too many summands.
        """
        for ciphertext in ciphertexts:
            self.check(ciphertext)
        summands = self.terms.total(ciphertexts)
        total = self.unpacked(ciphertexts[0])
        for ciphertext in ciphertexts[1:]:
            wide.add(total, self.unpacked(ciphertext))
        arrays = wide.pack(total, self.parameters.modulus_bits)
        return Ciphertext(self.terms, ciphertexts[0].length, summands, arrays)

    def combine(self, partials: Sequence[PartialDecryption]) -> NDArray[np.float64]:
        """The sum of the vectors, ``float64`` of their length, from the parts of all parties.

        Raises ValueError unless there is one part of each party, all of one ciphertext, and for a
        noise larger than the parameters allow: a part is wrong, or of another ciphertext.
        """
        chosen = self.parameters
        found = gathered(self.terms, partials, chosen.parties)
        if max(found) > chosen.parties:
            raise ValueError(f"party must be at most {chosen.parties}, got {max(found)}")
        for partial in found.values():
            self._check_arrays(partial, ())
        one = found[1]
        phase = self.unpacked(one)
        for partial in [*found.values()][1:]:
            wide.add(phase, self.unpacked(partial))
        high = phase[1]  # Δ is more than 2^64, so that the low words are all noise
        high += np.uint64(1 << (chosen.noise_bits - 65))  # Δ/2, so that cutting off rounds
        rest = high & np.uint64((1 << (chosen.noise_bits - 64)) - 1)
        noise = rest.view(np.int64) - (1 << (chosen.noise_bits - 65))
        if max(noise.max(initial=0), -noise.min(initial=0)) > chosen.noise_limit / 2.0**64 + 1:
            raise ValueError(
                "the noise exceeds what the parameters allow: a partial decryption is wrong, or "
                "the ciphertext is damaged"
            )
        values = high >> np.uint64(chosen.noise_bits - 64)
        values &= np.uint64((1 << self.encoding.sum_bits) - 1)
        return self.encoding.decode(values.reshape(-1)[: one.length], summands=one.summands)

    def from_bytes(self, data: bytes) -> Ciphertext:
        """What ``Ciphertext.to_bytes`` wrote; ValueError if damaged or not of this key."""
        ciphertext = parse(data)
        self.check(ciphertext)
        return ciphertext

    def partial_from_bytes(self, data: bytes) -> PartialDecryption:
        """What ``PartialDecryption.to_bytes`` wrote; ValueError if damaged or not of this key."""
        partial = parse_partial(data)
        if partial.terms != self.terms:
            raise ValueError(f"the partial decryption of party {partial.party} is of another key")
        self._check_arrays(partial, ())
        return partial

    def check(self, ciphertext: Ciphertext) -> None:
        """Raise ValueError unless it is of this key and encoding, and of the right shapes."""
        self.terms.check(ciphertext)
        self._check_arrays(ciphertext, (2,))

    def unpacked(self, item: Ciphertext | PartialDecryption) -> Words:
        """The coefficients modulo q: (2, 2, rows, 4096), words before polynomials c0 and c1."""
        low, high = item.arrays
        return wide.unpack(low, high, self.parameters.modulus_bits)

    def _check_arrays(self, item: Ciphertext | PartialDecryption, polynomials: tuple) -> None:
        rows = (*polynomials, self.parameters.rows(item.length))
        high = DEGREE * (self.parameters.modulus_bits - 64) // 8
        wanted = [("uint64", (*rows, DEGREE)), ("uint8", (*rows, high))]
        found = [(array.dtype.name, array.shape) for array in item.arrays]
        if found != wanted or item.length > self.parameters.length:
            raise ValueError(f"{item.length} values must come as {wanted}, got {found}")

    @cached_property
    def _spectra(self) -> tuple[Spectrum, Spectrum]:
        """Of a and b; a column, so that they multiply any number of polynomials."""
        a = common_polynomial(self.parameters)
        return (
            polynomials.wide_limbs(a[:, np.newaxis]),
            polynomials.wide_limbs(self.b[:, np.newaxis]),
        )


@dataclass(eq=False)
class KeyShare:
    """One party's secret s_i, ``int8`` of shape (4096,), never printed; see ``generate_share``."""

    parameters: Parameters
    party: int
    secret: NDArray[np.int8] = field(repr=False)
    _decrypted: set[bytes] = field(default_factory=set, repr=False)

    def partial_decrypt(
        self, public: PublicKey, ciphertext: Ciphertext, rng: CryptoGenerator | None = None
    ) -> PartialDecryption:
        """This party's part of the decryption; it takes the parts of all to learn anything.

        Raises ValueError for a ciphertext of another key, and for one that this share has decrypted
        before: smudging hides the share once.
        """
        public.check(ciphertext)
        if public.parameters != self.parameters:
            raise ValueError("the public key is of other parameters than this share")
        rng = randomness.resolve(rng)
        c0, c1 = np.moveaxis(public.unpacked(ciphertext), 1, 0)
        name = hashlib.sha256(c1.tobytes()).digest()
        if name in self._decrypted:
            raise ValueError(
                f"party {self.party} has decrypted this ciphertext already, and a second part "
                "would tell of its key share; send the first one again"
            )
        self._decrypted.add(name)
        part = self._smudging(rng, c1.shape)
        spectrum = polynomials.transform(self.secret)
        for block in blocks(c1.shape[1]):
            limbs = polynomials.wide_limbs(c1[:, block])
            wide.add(part[:, block], polynomials.wide_product(limbs, spectrum))
        if self.party == 1:
            wide.add(part, c0)
        arrays = wide.pack(part, self.parameters.modulus_bits)
        of, length, summands = ciphertext.digest, ciphertext.length, ciphertext.summands
        return PartialDecryption(public.terms, self.party, of, length, summands, arrays)

    def _smudging(self, rng: CryptoGenerator, shape: tuple[int, ...]) -> Words:
        """Uniform in [-B, B), modulo 2^128."""
        bits = self.parameters.smudging_bits - 64
        words = rng.uint64(shape)
        words[1] = rng.bits(bits + 1, shape[1:])
        words[1] -= np.uint64(1 << bits)
        return words


def generate_share(
    parameters: Parameters, party: int, rng: CryptoGenerator | None = None
) -> tuple[PublicShare, KeyShare]:
    """What party 1, 2, ..., n draws for itself: b_i, to be published, and its secret share."""
    party = whole("party", party, 1, parameters.parties)
    rng = randomness.resolve(rng)
    secret = lattice_noise.ternary(rng, (DEGREE,))
    limbs = polynomials.wide_limbs(common_polynomial(parameters))
    b = polynomials.wide_product(limbs, polynomials.transform(-secret))
    wide.add_small(b, lattice_noise.error(rng, (DEGREE,)))
    return PublicShare(party, _reduced(b, parameters)), KeyShare(parameters, party, secret)


def combine_keys(parameters: Parameters, shares: Sequence[PublicShare]) -> PublicKey:
    """The collective public key, from the b_i of all parties.

    Raises ValueError unless there is one of each party, of the right shape and below q.
    """
    parties = sorted(share.party for share in shares)
    if parties != [*range(1, parameters.parties + 1)]:
        raise ValueError(
            f"one public share of each of the parties 1 to {parameters.parties} is needed, got "
            f"those of {parties}"
        )
    for share in shares:
        right = share.b.dtype == np.uint64 and share.b.shape == (2, DEGREE)
        if not right or not np.array_equal(share.b, _reduced(share.b, parameters)):
            raise ValueError(
                f"b of party {share.party} must be uint64 of shape (2, {DEGREE}), below "
                f"2^{parameters.modulus_bits}"
            )
    total = shares[0].b.copy()
    for share in shares[1:]:
        wide.add(total, share.b)
    return PublicKey(parameters, _reduced(total, parameters))


def common_polynomial(parameters: Parameters) -> Words:
    """a, uniform modulo q, expanded from the seed: (2, 4096)."""
    words = randomness.expander(parameters.seed).uint64((2, DEGREE))
    return _reduced(words, parameters)


def _reduced(words: Words, parameters: Parameters) -> Words:
    """Modulo q."""
    mask = np.uint64((1 << (parameters.modulus_bits - 64)) - 1)
    return np.stack([words[0], words[1] & mask])
