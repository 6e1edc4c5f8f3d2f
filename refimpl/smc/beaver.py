"""Products of secrets that are shared additively over Z_2^64, from triples made beforehand.

Shares are added without a word between the parties; a product needs one exchange and a triple:
random a, b and their product c = a·b, shared among the parties by a dealer who sees no secret.
Of secrets x and y the parties open the differences

    d = x - a,    e = y - b

to each other. As a and b are uniform, so are d and e: whoever sees them learns nothing of x and y.
Then every party computes its share of the product alone, since

    x·y = (d + a)·(e + b) = c + d·b + a·e + d·e                                              (1)

where one of them, ``leads``, adds the public d·e. The dot stands for any product that is linear in
both factors, so a triple of matrices serves a matrix product at the price of its factors, not of
its multiplications.

**A triple is used once.** With the same a, two openings x - a and x' - a reveal x - x'. So
``differences`` refuses a triple that it has seen.

Adversary: withstands honest-but-curious parties, all but one of whom may pool what they know, as
long as the dealer (who knows a and b, hence x and y from d and e) is not among them. A party that
opens a wrong d or e, or a dealer with a wrong c, makes the product wrong and is not detected.
Sources: Beaver, Efficient multiparty protocols using circuit randomization, CRYPTO 1991; for
matrices, Mohassel and Zhang, SecureML, IEEE S&P 2017, section IV.A.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic import ring
from refimpl.arithmetic.randomness import CryptoGenerator, resolve
from refimpl.smc import additive

Words = NDArray[np.uint64]
Shape = tuple[int, ...]
Product = Literal["multiply", "matmul", "dot"]


def dot(x: Words, y: Words) -> Words:
    """Σ_i x_i y_i modulo 2^64 along the last axis of two arrays of one shape."""
    return np.asarray(np.multiply(x, y).sum(axis=-1, dtype=np.uint64))


PRODUCTS: dict[Product, Callable[[Words, Words], Words]] = {
    "multiply": ring.multiply,
    "matmul": ring.matmul,
    "dot": dot,
}


@dataclass(eq=False)
class Triple:
    """One party's shares of a, b and c = a·b, ``uint64``.

    ``product`` is what the dot stands for: "multiply" (element by element, equal shapes),
    "matmul" ((m, k) and (k, n)) or "dot" (along the last axis, equal shapes). ``spent``: it has
    masked something, and may not do so again.
    """

    product: Product
    a: Words
    b: Words
    c: Words
    spent: bool = field(default=False, init=False)


def deal(
    product: Product,
    left: Shape,
    right: Shape,
    parties: int,
    *,
    rng: CryptoGenerator | None = None,
) -> list[Triple]:
    """The dealer's part: one ``Triple`` a party, for factors of shapes ``left`` and ``right``.

    ``parties``: at least 2. ``rng``: where a, b and the shares come from (default: secure). Raises
    ValueError for an unknown product or for shapes that it does not take.
    """
    check_shapes(product, left, right)
    rng = resolve(rng)
    a, b = rng.uint64(left), rng.uint64(right)
    shares = [additive.share(part, parties, rng=rng) for part in (a, b, PRODUCTS[product](a, b))]
    return [Triple(product, *map(np.asarray, parts)) for parts in zip(*shares, strict=True)]


def differences(x: Words, y: Words, triple: Triple) -> tuple[Words, Words]:
    """One's shares of d = x - a and e = y - b, to be opened; ``triple`` is spent by that.

    ``x``, ``y``: one's shares of the factors. Raises ValueError for a triple that is spent, or
    was dealt for other shapes.
    """
    if triple.spent:
        raise ValueError(
            "a triple must be used once, and this one is spent: two differences masked by the "
            "same a reveal how the secrets differ; have the dealer deal another"
        )
    for name, share, mask in (("x", x, triple.a), ("y", y, triple.b)):
        if share.dtype != np.uint64 or share.shape != mask.shape:
            raise ValueError(
                f"{name} must be uint64 of shape {mask.shape} for this triple, got {share.dtype} "
                f"of shape {share.shape}"
            )
    triple.spent = True
    return ring.subtract(x, triple.a), ring.subtract(y, triple.b)


def product_share(d: Words, e: Words, triple: Triple, *, leads: bool) -> Words:
    """One's share of x·y from the opened differences; exactly one party ``leads``."""
    times = PRODUCTS[triple.product]
    # (1): c + d·b + a·e, and with the leader's d·e, c + d·(b + e) + a·e
    right = ring.add(triple.b, e) if leads else triple.b
    return ring.add(triple.c, ring.add(times(d, right), times(triple.a, e)))


def check_shapes(product: Product, left: Shape, right: Shape) -> Shape:
    """The shape of the product of factors of these shapes; ValueError if there is none."""
    if product not in PRODUCTS:
        raise ValueError(f"product must be one of {tuple(PRODUCTS)}, got {product!r}")
    if product == "matmul":
        if len(left) == 2 == len(right) and left[1] == right[0]:
            return left[0], right[1]
        raise ValueError(f"matmul must be of (m, k) and (k, n), got {left} and {right}")
    if left != right or (product == "dot" and not left):
        rule = "one shape with an axis" if product == "dot" else "one shape"
        raise ValueError(f"{product} must be of two arrays of {rule}, got {left} and {right}")
    return left[:-1] if product == "dot" else left
