"""Products: in the ring beside numpy, and of shared secrets beside mpyc.

mpyc 0.11 is an optional peer: without it, its comparisons are left out, and a line says so.
"""

import contextlib
import importlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bench.harness import Row, compare, installed
from refimpl import network
from refimpl.arithmetic import randomness, ring
from refimpl.computation import products
from refimpl.smc import additive, beaver, truncation
from refimpl.smc.beaver import Product

SIDE, VALUES = 256, 100_000
MILLION = 1 << 20
SMALL, FRACTION = 64, 16
OURS = (
    "a party's part: its share of the differences and, from their sums, of the product; dealer and "
    "two parties: all three in one process, with sharing, messages and opening"
)
PEER = (
    "mpyc 0.11: one party, hence no message and no second share; integers of 64 bits in a prime "
    "field of 96, where no product wraps"
)


def run() -> list[list[Row]]:
    """The rows of each comparison."""
    return [
        ring_products(),
        matrix_products(),
        elementwise_products(),
        fixed_point_products(),
        truncations(),
    ]


def ring_products() -> list[Row]:
    """256×256 modulo 2^64: three limbs through the product of doubles, and numpy's own product."""
    a, b = randomness.seeded(0).uint64((2, SIDE, SIDE))
    c, d = a.astype(np.float64), b.astype(np.float64)
    return compare(
        {
            "refimpl ring.matmul": lambda: ring.matmul(a, b),
            "numpy uint64 @": lambda: a @ b,
            "numpy float64 @": lambda: c @ d,
        },
        work=f"products: {SIDE}×{SIDE} modulo 2^64",
        note="numpy float64 is one of the six products of limbs, not the same result",
    )


def matrix_products() -> list[Row]:
    """256×256 on shares, a party's part beside all of mpyc's work; the bar is 100 times."""
    x, y = randomness.seeded(0).bits(20, (2, SIDE, SIDE))
    functions, note = _ours("matmul", x, y), OURS
    if runtime := _mpyc():
        secure = runtime.SecInt(64)
        arrays = [secure.array(side.astype(object)) for side in (x, y)]
        lists = [[[secure(int(v)) for v in row] for row in side] for side in (x, y)]

        def by_lists() -> object:
            return runtime.run(runtime.gather(runtime.matrix_prod(*lists)))

        def by_arrays() -> object:
            return runtime.run(runtime.output(arrays[0] @ arrays[1]))

        _check_equal(by_arrays(), x @ y)
        functions |= {"mpyc, matrix_prod of lists": by_lists, "mpyc, product of arrays": by_arrays}
        note += f"; {PEER}"
    work = f"products: {SIDE}×{SIDE} of shared secrets"
    return compare(functions, work=work, repeats=5, note=note)


def elementwise_products() -> list[Row]:
    """100,000 products on shares."""
    x, y = randomness.seeded(0).bits(20, (2, VALUES))
    functions, note = _ours("multiply", x, y), OURS
    if runtime := _mpyc():
        a, b = (runtime.SecInt(64).array(side.astype(object)) for side in (x, y))

        def by_arrays() -> object:
            return runtime.run(runtime.output(a * b))

        _check_equal(by_arrays(), x * y)
        functions |= {"mpyc, product of arrays": by_arrays}
        note += f"; {PEER}"
    work = f"products: {VALUES:,} of shared secrets, element by element"
    return compare(functions, work=work, repeats=5, note=note)


def fixed_point_products() -> list[Row]:
    """64×64 in fixed point, brought back to scale: dealer, two parties, messages and opening."""
    v, w = np.random.default_rng(0).uniform(-1, 1, (2, SMALL, SMALL))
    x, y = (truncation.encode(side, FRACTION, bound=1) for side in (v, w))
    functions: dict[str, Callable[[], object]] = {
        "refimpl, dealer and two parties": partial(_all, "matmul", x, y, FRACTION)
    }
    note = f"refimpl: {FRACTION} fraction bits in 64, all parties in one process"
    if runtime := _mpyc():
        a, b = (runtime.SecFxp(64, FRACTION).array(side) for side in (v, w))

        def by_arrays() -> object:
            return runtime.run(runtime.output(a @ b))

        if np.abs(by_arrays() - v @ w).max() > SMALL * 2.0 ** (1 - FRACTION):
            raise AssertionError("mpyc must find the product to its precision")
        functions |= {"mpyc, product of arrays": by_arrays}
        note += (
            "; mpyc 0.11: SecFxp with as many, one party, hence no messages; its truncation needs "
            "no dealer, and its larger field has room for the mask, so it never wraps"
        )
    work = f"products: {SMALL}×{SMALL} of shared fixed-point numbers"
    return compare(functions, work=work, repeats=5, note=note)


def truncations() -> list[Row]:
    """2^20 numbers brought back to scale: one party's part, of two and of three parties."""
    share = randomness.seeded(0).uint64(MILLION)
    pair, *_ = truncation.pairs(share.shape, 16, 3, rng=randomness.seeded(1))

    def by_pair() -> object:
        pair.spent = False
        return truncation.truncated(truncation.masked(share, pair), pair, leads=True)

    return compare(
        {
            "refimpl local, two parties": lambda: truncation.local(share, 16, party=1),
            "refimpl pair, more parties": by_pair,
            "numpy shift": lambda: share >> np.uint64(16),
        },
        work="products: 2^20 shared numbers truncated, one party's part",
        note="without the exchange that the pair needs; the shift is the memory's limit",
    )


def _ours(product: Product, x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], object]]:
    return {
        "refimpl, a party's part": _part(product, x, y),
        "refimpl, dealer and two parties": partial(_all, product, x, y),
    }


def _part(product: Product, x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    rng = randomness.seeded(1)
    triple, other = beaver.deal(product, x.shape, y.shape, 2, rng=rng)
    (x1, x2), (y1, y2) = additive.share(x, 2, rng=rng), additive.share(y, 2, rng=rng)
    d2, e2 = beaver.differences(x2, y2, other)

    def part() -> object:
        triple.spent = False  # as if it were a new one: dealing is not timed here
        d, e = beaver.differences(x1, y1, triple)
        return beaver.product_share(ring.add(d, d2), ring.add(e, e2), triple, leads=True)

    return part


def _all(product: Product, x: np.ndarray, y: np.ndarray, shift: int | None = None) -> np.ndarray:
    """Sharing, dealing, two parties, messages, truncation if asked for, opening."""

    async def party(link: network.Link, peer: str, mine: tuple[np.ndarray, np.ndarray]) -> Any:
        triple = await products.receive_triple(link, "dealer", product, x.shape, y.shape)
        share = await getattr(products, product)(link, [peer], *mine, triple)
        if shift is not None:
            share = await products.truncate(link, [peer], share, shift)
        return await products.reveal(link, [peer], share)

    async def dealer(link: network.Link) -> None:
        await products.deal_triple(link, "ab", product, x.shape, y.shape)

    first, second = zip(additive.share(x, 2), additive.share(y, 2), strict=True)
    roles = {"a": partial(party, peer="b", mine=first), "b": partial(party, peer="a", mine=second)}
    return network.run({**roles, "dealer": dealer}, record="sizes").results["a"]


def _check_equal(found: Any, expected: np.ndarray) -> None:
    if np.any(np.asarray(found, dtype=np.uint64) != expected):
        raise AssertionError("mpyc and refimpl must find the same product")


def _mpyc() -> Any:
    """mpyc's runtime with one party, or None where mpyc is not installed."""
    if not installed("mpyc", "0.11"):
        return None
    arguments = sys.argv
    sys.argv = [arguments[0], "--no-log"]  # mpyc reads the command line when it is imported
    try:
        with contextlib.redirect_stderr(None):
            return importlib.import_module("mpyc.runtime").mpc
    finally:
        sys.argv = arguments
