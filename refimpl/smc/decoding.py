"""Which of too many Shamir shares is wrong: Reed-Solomon decoding over F_p, p = 2^61 - 1.

Shamir's shares are a Reed-Solomon code (McEliece and Sarwate, On Sharing Secrets and
Reed-Solomon Codes, 1981). m shares of a polynomial of degree t-1, of which at most
e = (m - t) // 2 are wrong, agree with one such polynomial only: two of them would agree with each
other in m - 2e >= t points. Gao's algorithm finds it with one extended Euclidean division.

Works on Python integers, one secret at a time, in O(m^2): it runs only when shares disagree.
Source: Gao, A New Algorithm for Decoding Reed-Solomon Codes, 2003.
"""

from collections.abc import Sequence

from refimpl.arithmetic.field import P

Polynomial = list[int]  # coefficients modulo p, the constant first, the last one not zero


class InconsistentShares(ValueError):
    """Shares that do not lie on one polynomial. ``rows``: the x of the wrong ones, if known."""

    def __init__(self, xs: Sequence[int], threshold: int, rows: Sequence[int]) -> None:
        self.rows = tuple(rows)
        most = (len(xs) - threshold) // 2
        which = (
            f"wrong are those of x = {list(rows)}, if no more than {most} are"
            if rows
            else f"which are wrong cannot be told: {len(xs)} shares name at most {most}"
        )
        super().__init__(
            f"the {len(xs)} shares do not lie on one polynomial of threshold={threshold}; {which}"
        )


def wrong_rows(xs: Sequence[int], values: Sequence[int], threshold: int) -> list[int]:
    """The x whose value is wrong, if at most (len(xs) - threshold) // 2 are; else [].

    ``xs``: different elements of F_p. ``values``: what each holds. ``[]`` also if all agree.
    """
    polynomial = decode(xs, values, threshold)
    if polynomial is None:
        return []
    return [x for x, value in zip(xs, values, strict=True) if evaluate(polynomial, x) != value]


def decode(xs: Sequence[int], values: Sequence[int], threshold: int) -> Polynomial | None:
    """The polynomial of degree below ``threshold`` that misses at most (m - threshold) // 2 of
    the m points, or None where there is none.
    """
    m = len(xs)
    vanishing, through = _interpolate(xs, values)
    # Euclid on both until the remainder's degree is below (m + t) / 2; v locates the errors.
    before, remainder, v_before, v = vanishing, through, [], [1]
    while 2 * (len(remainder) - 1) >= m + threshold:
        quotient, rest = _divide(before, remainder)
        before, remainder = remainder, rest
        v_before, v = v, _subtract(v_before, _multiply(quotient, v))
    polynomial, rest = _divide(remainder, v)
    # It misses points only where v is zero, and v's degree is at most (m - t) / 2.
    return None if rest or len(polynomial) > threshold else polynomial


def evaluate(polynomial: Sequence[int], x: int) -> int:
    """The value at x, by Horner's rule."""
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * x + coefficient) % P
    return value


def _interpolate(xs: Sequence[int], values: Sequence[int]) -> tuple[Polynomial, Polynomial]:
    """Π (X - x_i), and the polynomial of degree below len(xs) through all points (Newton)."""
    vanishing: Polynomial = [1]
    through: Polynomial = []
    for x, value in zip(xs, values, strict=True):
        missing = (value - evaluate(through, x)) * pow(evaluate(vanishing, x), -1, P) % P
        through = _subtract(through, [-missing * c % P for c in vanishing])
        vanishing = _subtract([0, *vanishing], [x * c % P for c in vanishing])
    return vanishing, through


def _trimmed(polynomial: Polynomial) -> Polynomial:
    while polynomial and not polynomial[-1]:
        polynomial.pop()
    return polynomial


def _subtract(a: Polynomial, b: Polynomial) -> Polynomial:
    size = max(len(a), len(b))
    pairs = zip(a + [0] * (size - len(a)), b + [0] * (size - len(b)), strict=True)
    return _trimmed([(x - y) % P for x, y in pairs])


def _multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    product = [0] * max(0, len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] = (product[i + j] + x * y) % P
    return _trimmed(product)


def _divide(a: Polynomial, b: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Quotient and remainder."""
    rest, quotient = list(a), [0] * max(0, len(a) - len(b) + 1)
    inverse = pow(b[-1], -1, P)
    for shift in reversed(range(len(quotient))):
        factor = rest[shift + len(b) - 1] * inverse % P
        quotient[shift] = factor
        for i, coefficient in enumerate(b):
            rest[shift + i] = (rest[shift + i] - factor * coefficient) % P
    return _trimmed(quotient), _trimmed(rest)
