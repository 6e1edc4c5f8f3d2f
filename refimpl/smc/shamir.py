"""Shamir's secret sharing over F_p, p = 2^61 - 1: any ``threshold`` shares give the secret back.

    f(x) = s + a_1 x + ... + a_(t-1) x^(t-1),   a_i uniform,   share of party i = f(i)

t points determine a polynomial of degree t-1, and so f(0) = s. Through any t-1 points and any
value at 0 goes exactly one such polynomial, so t-1 shares are uniform and say nothing about the
secret, whatever computing power looks at them. (So the theorem. ``CryptoGenerator`` draws the
coefficients from AES-CTR, so these shares hide as well as that.) Sums of shares are shares of the
sum.

Adversary: withstands threshold-1 honest-but-curious parties who pool their shares, and the loss
of parties-threshold shares. Wrong shares are detected where more than ``threshold`` are at hand,
and up to (shares - threshold) // 2 of them are named; see ``reconstruct``.
Source: Shamir, How to Share a Secret, Communications of the ACM 22(11), 1979.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl.arithmetic import field, randomness
from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.field import Elements, P
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.smc.additive import destination
from refimpl.smc.decoding import InconsistentShares, wrong_rows

_BLOCK = 3 << 14  # elements at a time, all differences counted, so that they stay in the cache


def share(
    secret: ArrayLike,
    parties: int,
    threshold: int,
    *,
    rng: CryptoGenerator | None = None,
    out: Elements | None = None,
) -> Elements:
    """One share a party, ``uint64`` of shape ``(parties, *secret.shape)``: row i is f(i + 1).

    ``secret``: field elements, integers in [0, p). ``parties``: at least 2. ``threshold`` t: how
    many shares are needed, 1 to parties; with 1 every share is the secret. ``out``: a C-contiguous
    ``uint64`` array of the result's shape, filled and returned.
    Raises ValueError for a secret outside the field, TypeError for one that is not of integers.
    """
    values = field.elements(secret)
    parties = whole("parties", parties, 2, remedy="a single share is the secret itself")
    threshold = _threshold(threshold, parties)
    shares = destination(out, (parties, *values.shape), values)
    rng = randomness.resolve(rng)
    flat, rows = values.reshape(-1), shares.reshape(parties, -1)
    width = max(1, _BLOCK // threshold)
    for start in range(0, flat.size, width):
        block = slice(start, start + width)
        _evaluate(flat[block], rng.below(P, (threshold - 1, flat[block].size)), rows[:, block])
    return shares


def reconstruct(
    shares: Mapping[int, ArrayLike] | Iterable[tuple[int, ArrayLike]],
    threshold: int | None = None,
) -> Elements:
    """The secret, f(0), from the shares of different x: ``{x: share}`` or pairs (x, share).

    With ``threshold`` there must be at least that many shares, and all of them are checked: if
    they do not lie on one polynomial of degree threshold-1, InconsistentShares is raised, a
    ValueError whose ``rows`` are the x of the wrong shares. They are right if at most
    (shares - threshold) // 2 shares are wrong, and empty where it cannot be told which are.
    With exactly ``threshold`` shares nothing can be checked.
    Without ``threshold`` the shares are believed: fewer than were needed, or a wrong one, give a
    wrong secret. So pass it.
    Raises ValueError for an x that is repeated or not in 1..p-1, for shares of unlike shapes, and
    for a share that is not an array of integers in [0, p), naming its x.
    """
    rows = _rows(shares)
    needed = len(rows) if threshold is None else whole("threshold", threshold, 1)
    if len(rows) < needed or not rows:
        raise ValueError(
            f"at least threshold={max(needed, 1)} shares are needed, got {len(rows)} (x = "
            f"{[*rows]})"
        )
    xs, values = tuple(rows), [*rows.values()]
    if len(rows) > needed:
        _check(xs, values, needed)
    return field.linear_combination(coefficients(xs[:needed]), values[:needed])


def coefficients(xs: Sequence[int], at: int = 0) -> list[int]:
    """Lagrange's l_i with f(at) = Σ l_i f(x_i), for each f of degree below len(xs), modulo p.

    ``xs``: different field elements. At 0 and for x = 1, 2, ..., t they are (-1)^(i-1) C(t, i).
    """
    xs, at = tuple(xs), at % P
    if at in xs:
        return [int(x == at) for x in xs]
    nodal = _product(at - x for x in xs)
    return [
        nodal * weight % P * pow(at - x, -1, P) % P
        for x, weight in zip(xs, _weights(xs), strict=True)
    ]


def _product(factors: Iterable[int]) -> int:
    """The product modulo p."""
    product = 1
    for factor in factors:
        product = product * factor % P
    return product


@lru_cache(maxsize=64)
def _weights(xs: tuple[int, ...]) -> tuple[int, ...]:
    """The barycentric weights 1 / Π_{j≠i} (x_i - x_j)."""
    return tuple(pow(_product(x - other for other in xs if other != x), -1, P) for x in xs)


def _evaluate(secret: Elements, differences: Elements, rows: Elements) -> None:
    """Write f(1), f(2), ... into ``rows``, f given by f(0) and its forward differences there.

    Δ^k f(x+1) = Δ^k f(x) + Δ^(k+1) f(x), and Δ^(t-1) f is constant: t-1 additions a share, no
    product. Uniform differences are as good as uniform coefficients, because either determine
    the other: Δ^k f(0) is k! a_k plus a sum of higher coefficients, and k! is not 0 modulo p.
    """
    if not len(differences):  # threshold 1: f is constant
        rows[:] = secret
        return
    before = secret
    for row in rows:
        _add(before, differences[0], row)
        _add(differences[:-1], differences[1:], differences[:-1])
        before = row


def _add(a: Elements, b: Elements, out: Elements) -> None:
    total = a + b
    np.minimum(total, total - np.uint64(P), out=out)  # modulo p; see ``field``


def _check(xs: tuple[int, ...], values: list[Elements], threshold: int) -> None:
    """Raise InconsistentShares unless all shares lie on one polynomial of degree threshold-1.

    If at most ``most`` shares are wrong, what is found at one place of the arrays is right, and
    what agrees without those found is right too. So the search goes on at the next place.
    """
    rows = {x: value.reshape(-1) for x, value in zip(xs, values, strict=True)}
    most, found = (len(xs) - threshold) // 2, set[int]()
    places = _disagreeing(rows, threshold)
    while places.size:
        wrong = wrong_rows(xs, [int(row[places[0]]) for row in rows.values()], threshold)
        if found.issuperset(wrong) or len(found.union(wrong)) > most:
            raise InconsistentShares(xs, threshold, ())
        found.update(wrong)
        others = {x: row[places] for x, row in rows.items() if x not in found}
        places = places[_disagreeing(others, threshold)]
    if found:
        raise InconsistentShares(xs, threshold, sorted(found))


def _disagreeing(rows: Mapping[int, Elements], threshold: int) -> NDArray[np.intp]:
    """The places whose values do not lie on one polynomial of degree threshold-1."""
    xs, values = tuple(rows), [*rows.values()]
    wrong = np.zeros(values[0].size, bool)
    for x, row in zip(xs[threshold:], values[threshold:], strict=True):
        wrong |= (
            field.linear_combination(coefficients(xs[:threshold], x), values[:threshold]) != row
        )
    return np.flatnonzero(wrong)


def _rows(shares: Mapping[int, ArrayLike] | Iterable[tuple[int, ArrayLike]]) -> dict[int, Elements]:
    """The shares in order of x, each checked."""
    rows: dict[int, Elements] = {}
    for x, values in shares.items() if isinstance(shares, Mapping) else shares:
        x = whole("x of a share", x, 1, P - 1)
        if x in rows:
            raise ValueError(f"shares must have different x, got two of x={x}")
        try:
            rows[x] = field.elements(values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the share of x={x} is not one: {error}") from error
    if len({row.shape for row in rows.values()}) > 1:
        shapes = {x: row.shape for x, row in rows.items()}
        raise ValueError(f"shares must be of one shape, got the shapes {shapes} by x")
    return dict(sorted(rows.items()))


def _threshold(threshold: int, parties: int) -> int:
    try:
        return whole("threshold", threshold, 1, parties)
    except ValueError:
        raise ValueError(
            f"threshold must be between 1 and parties={parties}, got {threshold!r}"
        ) from None
