"""Coins whose chances are exact, although floating point computes them.

A coin shows heads if a uniform number V in [0, 1) lies below the chance. V is known to 64 bits and
the chance to a double; that decides all but the draws within 2^-40 of each other. For those, V
gets further random bits and the chance further digits, until the comparison is certain: V is
revealed lazily, as in Karney, ACM TOMS 42(1), 2016, section 3. So the chance of heads is the real
number itself, where a comparison of two doubles would be off by up to 2^-53.

Side channel: a close draw takes longer. It comes once in 2^39 draws, and tells of V only.
"""

from collections.abc import Callable, Iterator
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.randomness import CryptoGenerator

Bounds = tuple[Fraction, Fraction]
MARGIN = 2.0**-40  # far above the error of any chance that is computed in doubles here
_HUGE = 10**18  # the decimal module's limit of exponents


def flip(
    chance: NDArray[np.float64],
    narrowing: Callable[[int], Iterator[Bounds]],
    rng: CryptoGenerator,
) -> NDArray[np.bool_]:
    """True with the given chances, one for each element of a one-dimensional array.

    ``chance`` may be off by less than ``MARGIN``, or be NaN. ``narrowing(i)`` yields bounds of the
    true chance of element i, each pair closer than the one before, without end.
    """
    words = rng.uint64(chance.shape)
    numbers = words * 2.0**-64
    heads = numbers < chance
    for i in np.flatnonzero(~(np.abs(numbers - chance) >= MARGIN)):  # also where it is NaN
        heads[i] = _decide(int(words[i]), narrowing(int(i)), rng)
    return heads


def _decide(prefix: int, narrowing: Iterator[Bounds], rng: CryptoGenerator) -> bool:
    """Whether the number that starts with these 64 bits is below the chance."""
    unit = Fraction(1, 2**64)
    for low, high in narrowing:
        if (prefix + 1) * unit <= low:
            return True
        if prefix * unit >= high:
            return False
        prefix = prefix << 64 | int(rng.uint64())
        unit /= 2**64
    raise ValueError("the bounds of a chance must narrow without end")


def exponential(exponent: Fraction, digits: int) -> Bounds:
    """Bounds of e^-exponent, exponent >= 0, that are at most 10^-digits apart."""
    if exponent > 3 * digits + 3:  # e^-3 < 10^-1
        return Fraction(0), Fraction(1, 10**digits)
    context = Context(prec=digits + 20, rounding=ROUND_FLOOR, Emin=-_HUGE + 1, Emax=_HUGE - 1)
    quotient = context.divide(Decimal(exponent.numerator), Decimal(exponent.denominator))
    value = Fraction(context.exp(quotient.copy_negate()))
    error = Fraction(1, 10 ** (digits + 1))  # of quotient and rounding, for digits < 10^17
    return max(value - error, Fraction(0)), min(value + error, Fraction(1))


def exponentials(exponent: Fraction) -> Iterator[Bounds]:
    """Ever closer bounds of e^-exponent."""
    digits = 20
    while True:
        yield exponential(exponent, digits)
        digits += 20
