"""Fixed-point numbers under additive sharing: their encoding, and their scale after a product.

A real v stands for the integer round(v·2^f), f = ``fraction_bits``, as two's complement in
Z_2^64. (``FixedPoint`` of floor 0 carries an offset, which a product would not survive.) A product
of two such numbers has 2f fraction bits, so it must be divided by 2^f, on shares. Both ways below
rest on one identity. For any r with x + r in [0, 2^l), l the bits of the ring,

    floor((x + r) / 2^f) - floor(r / 2^f)   is   x / 2^f, rounded up or down                 (1)

so the result errs by less than 1 unit in the last place. It is rounded up where the low f bits of
x and of r carry: for a uniform r, with probability (x mod 2^f) / 2^f, hence right on average.

**When it fails.** For x + r outside [0, 2^l), the sum wraps and the result is off by 2^(l-f): not
a small error but a destroyed number. Of the 2^l values of r, exactly ``|x|`` do that:

    P(failure) = abs(x) / 2^l,   x the signed integer before the truncation                      (2)

With l = 64 and ``|x|`` below 2^40 that is below 2^-24 a number: choose f and the bound of the
values so that (2) times the numbers truncated is small, see ``failure_probability``.

- Two parties, ``local``: their shares are x_1 = x + r and x_2 = -r, so each side of (1) is a
  matter of one party and nobody says a word (SecureML, whose Theorem 1 states the bound
  2^(l_x+1-l) for ``|x| ≤ 2^(l_x)``, twice (2)). With three shares there is a second, hidden wrap,
  and the result would be wrong half of the time: more than two parties are an error.
- Any number of parties, ``pairs``: a dealer shares (r, floor(r / 2^f)) for a random r, the
  parties open x + r, which is uniform, and subtract their share of the other (ABY3, section
  5.1.2; there x - r is opened, whose result errs by less than 2 units, always downwards).

Adversary: as in ``beaver``, honest-but-curious parties, all but one, without the dealer. ``local``
reveals nothing, it sends nothing. A wrong share or opening is not detected.
Sources: Mohassel and Zhang, SecureML, IEEE S&P 2017; Mohassel and Rindal, ABY3, CCS 2018.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic import ring
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.smc import additive

Words = NDArray[np.uint64]


def encode(values: ArrayLike, fraction_bits: int, *, bound: float) -> Words:
    """round(v·2^fraction_bits) of each real v in [-bound, bound], as an element of Z_2^64.

    Rounding is to nearest: an error of at most 2^-(fraction_bits+1). Raises ValueError for NaN and
    values beyond ``bound``, and for a bound that reaches 2^(63-fraction_bits).
    """
    scale = 2.0 ** whole("fraction_bits", fraction_bits, 0, 62)
    if not 0 < bound * scale < 2.0**63:
        raise ValueError(
            f"bound must be positive and below 2^{63 - fraction_bits} for "
            f"fraction_bits={fraction_bits}, got {bound}"
        )
    array = np.asarray(values, np.float64)
    wrong = ~(np.abs(array) <= bound)  # also NaN
    if wrong.any():
        index = tuple(map(int, np.argwhere(wrong)[0]))
        raise ValueError(
            f"values must lie in [-{bound}, {bound}], got {array[index]} at index {index}; clip "
            "them or choose a larger bound"
        )
    return ring.from_signed(np.rint(array * scale).astype(np.int64))


def decode(words: ArrayLike, fraction_bits: int) -> NDArray[np.float64]:
    """The reals that elements of Z_2^64 stand for. Beyond 53 bits, doubles round."""
    return np.asarray(ring.to_signed(words) / 2.0 ** whole("fraction_bits", fraction_bits, 0, 126))


def failure_probability(bound: float, fraction_bits: int, numbers: int = 1) -> float:
    """The most that the truncation of products of magnitude up to ``bound`` fails, by (2).

    ``bound``: of the real number, which has 2·fraction_bits fraction bits before the truncation.
    ``numbers``: how many are truncated; the result bounds the probability that any of them fails.
    """
    return min(1.0, numbers * bound * 2.0 ** (2 * fraction_bits - ring.WORD))


def local(share: Words, shift: int, *, party: int, parties: int = 2, bits: int = 64) -> Words:
    """A party's share of x / 2^shift from its share of x; ``party`` is 0 or 1.

    Raises ValueError for any other number of parties: use ``pairs`` then.
    """
    if whole("parties", parties, 2) != 2:
        raise ValueError(
            f"parties must be 2 for a local truncation, got {parties}: the sum of more shares "
            "wraps a number of times that nobody knows, and the result is wrong half of the time "
            "or more; use pairs made by a dealer"
        )
    shift = whole("shift", shift, 0, bits - 1)
    if whole("party", party, 0, 1) == 0:
        return ring.reduce(share, bits) >> np.uint64(shift)  # floor((x + r) / 2^f)
    return ring.negate(ring.negate(share, bits) >> np.uint64(shift), bits)  # -floor(r / 2^f)


@dataclass(eq=False)
class Pair:
    """One party's shares of a uniform r and of floor(r / 2^shift), in Z_2^bits. It is used once."""

    mask: Words
    shifted: Words
    shift: int
    bits: int = 64
    spent: bool = field(default=False, init=False)


def pairs(
    shape: tuple[int, ...],
    shift: int,
    parties: int,
    *,
    rng: CryptoGenerator | None = None,
    bits: int = 64,
) -> list[Pair]:
    """The dealer's part: one ``Pair`` a party, to truncate an array of ``shape`` by 2^shift."""
    shift, rng = whole("shift", shift, 0, bits - 1), resolve(rng)
    mask = rng.bits(bits, shape)
    shares = [additive.share(part, parties, rng=rng) for part in (mask, mask >> shift)]
    return [
        Pair(ring.reduce(r, bits), ring.reduce(shifted, bits), shift, bits)
        for r, shifted in zip(*shares, strict=True)
    ]


def masked(share: Words, pair: Pair) -> Words:
    """One's share of x + r, to be opened; ``pair`` is spent by that.

    Raises ValueError for a pair that is spent, or was dealt for another shape.
    """
    if pair.spent:
        raise ValueError(
            "a pair must be used once, and this one is spent: two numbers masked by the same r "
            "reveal how they differ; have the dealer deal another"
        )
    if share.dtype != np.uint64 or share.shape != pair.mask.shape:
        raise ValueError(
            f"share must be uint64 of shape {pair.mask.shape} for this pair, got {share.dtype} of "
            f"shape {share.shape}"
        )
    pair.spent = True
    return ring.add(share, pair.mask, pair.bits)


def truncated(opened: Words, pair: Pair, *, leads: bool) -> Words:
    """One's share of x / 2^shift from the opened x + r; exactly one party ``leads``."""
    public = ring.reduce(opened, pair.bits) >> pair.shift if leads else np.uint64(0)
    return ring.subtract(public, pair.shifted, pair.bits)
