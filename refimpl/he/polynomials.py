"""Products in Z[X]/(X^4096 + 1) by a small polynomial, modulo 2^64 or 2^128, exact and fast.

A polynomial is its coefficients, along the last axis: ``uint64`` of shape (..., N), N = 4096. In
this ring X^N = -1, so a product is a convolution whose overflow comes back with its sign changed.

The way: cut a word into two signed limbs of 32 bits, multiply each with the small polynomial in
complex doubles, round, and add up with carries. With H = N/2 and w = exp(iπ/N),

    a(X)  ->  z_j = (a_j + i a_(j+H)) w^j,  0 <= j < H,    a product there is a cyclic one

because X -> i at X^H turns X^N + 1 into zero, and w^H = i. So one complex transform of half the
length does the work of a real one of twice the length.

Why rounding is exact. Let u = 2^-53. A computed cyclic convolution of complex vectors of length 2^n
is off, in every entry, by less than

    |x| |y| ((1+u)^(3n) (1+√5 u)^(3n+1) (1+β)^(3n) - 1)        (|.| the Euclidean norm)

(Brent, Percival and Zimmermann, Mathematics of Computation 76, 2007), β the error of the roots of
unity. In short: a sum of two is off by u, a product by √5 u and β, each relative to its size. A
level of the transform is √2 times a rotation, so on the way there these errors add up relative to
the norm, n levels for each factor; and on the way back each entry is a mean of 2^n products whose
sizes have a mean of at most |x| |y|, by Cauchy and Schwarz.

Here n = 11, and the three products by w^j add three factors of (1+√5 u) and of (1+β). A limb is at
most 2^31, so |x| <= 2^31 √N = 2^37; the small polynomial has coefficients -1, 0 and 1, so
|y| <= 2^6. numpy makes a root as a product of two rounded ones, so β < (2 + √5) u. Together the
error is below

    2^43 (33 + 37 √5 + 36 (2 + √5)) u < 2^43 · 270 · 2^-53 < 0.27

which is less than 1/2: the nearest integer is the right one, always. (Larger radices than 2 do
fewer roundings.) Typical errors are near 2^-12. The result is at most 2^31 N = 2^43, an integer
that a double holds.

Nothing branches on a secret value; no stronger claim on timing is made.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Spectrum = NDArray[np.complex128]

DEGREE = 4096
BLOCK = 4  # polynomials at a time, so that their transforms stay in the processor's cache
_HALF = DEGREE // 2
_TWIST = np.exp(1j * np.pi / DEGREE * np.arange(_HALF))
_UNTWIST = _TWIST.conj()
_HALF_LIMB = np.uint64(1 << 31)
_LIMB_BITS = 32


def transform(small: NDArray[np.int8]) -> Spectrum:
    """The spectrum of polynomials with coefficients -1, 0 and 1: (..., N) -> (..., N/2)."""
    return _forward(small)


def limbs(words: Words) -> Spectrum:
    """The spectra of the two limbs of each coefficient: (..., N) -> (2, ..., N/2).

    words = low + 2^32 high modulo 2^64, both limbs signed: where ``low`` is negative, ``high`` has
    taken one more.
    """
    halves = words.astype("<u8", copy=False).view("<i4")
    raised = (words + _HALF_LIMB).astype("<u8", copy=False).view("<i4")
    return _forward(halves[..., 0::2], raised[..., 1::2])


def product(limb_spectra: Spectrum, small: Spectrum) -> Words:
    """words * small modulo 2^64, shape (..., N), from ``limbs(words)`` and ``transform(small)``."""
    low, high = _inverse(limb_spectra * small)
    high <<= _LIMB_BITS
    low += high  # int64 wraps modulo 2^64 too
    return low.view(np.uint64)


def wide_limbs(words: Words) -> Spectrum:
    """``limbs`` of low + 2^64 high modulo 2^128, given as (2, ..., N): (4, ..., N/2)."""
    low, high = words
    carry = low >= np.uint64(2**63 - 2**31)  # then the signed limbs stand for low - 2^64
    return np.concatenate([limbs(low), limbs(high + carry)])


def wide_product(limb_spectra: Spectrum, small: Spectrum) -> Words:
    """The product modulo 2^128, (2, ..., N), from ``wide_limbs`` and ``transform(small)``."""
    parts = _inverse(limb_spectra * small)
    for part, following in pairwise(parts):
        following += part >> _LIMB_BITS  # floors, so what stays of ``part`` is not negative
        part &= (1 << _LIMB_BITS) - 1
    parts[1::2] <<= _LIMB_BITS
    return (parts[0::2] | parts[1::2]).view(np.uint64)


def blocks(count: int) -> list[slice]:
    """``count`` polynomials in slices of ``BLOCK``."""
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def _forward(*parts: NDArray) -> Spectrum:
    """The spectra of real polynomials of one shape; several are stacked in front."""
    shape = parts[0].shape[:-1]
    folded = np.empty((len(parts), *shape, _HALF), np.complex128)
    for target, part in zip(folded, parts, strict=True):
        target.real = part[..., :_HALF]
        target.imag = part[..., _HALF:]
    folded *= _TWIST
    spectra = np.fft.fft(folded, out=folded)
    return spectra if len(parts) > 1 else spectra[0]


def _inverse(spectra: Spectrum) -> NDArray[np.int64]:
    """The integer polynomials of these spectra; ``spectra`` is overwritten."""
    folded = np.fft.ifft(spectra, out=spectra)
    folded *= _UNTWIST
    coefficients = np.empty((*spectra.shape[:-1], DEGREE), np.int64)
    # Rounded in place first: a cast alone would cut towards zero.
    flat = folded.view(np.float64)
    np.rint(flat, out=flat)
    coefficients[..., :_HALF] = folded.real
    coefficients[..., _HALF:] = folded.imag
    return coefficients
