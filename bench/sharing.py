"""Secret sharing beside the machine's limits and mpyc.

mpyc 0.11 is an optional peer: without it, its rows are left out, and a line says so.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.harness import Row, compare, installed
from refimpl.aggregation import Group, SecretSharing
from refimpl.arithmetic import field, randomness
from refimpl.smc import additive, shamir

VALUES, PARTIES, THRESHOLD = 1_000_000, 5, 3
ONE_MILLION = f"{VALUES:,} values, n={PARTIES}"


def run() -> list[list[Row]]:
    """The rows of each comparison."""
    return [additive_shares(), shamir_shares(), shamir_checks(), groups_of_many()]


def additive_shares() -> list[Row]:
    """Into a given array; the bar is 1.5 times the floor."""
    rng, out = randomness.seeded(0), np.empty((PARTIES, VALUES), np.uint64)
    secret, buffer = rng.uint64(VALUES), np.empty(1 << 14, np.uint64)

    def floor() -> None:
        rng.uint64(out=out[:-1])
        np.copyto(out[-1], secret)

    def words_only() -> None:
        for _ in range((PARTIES - 1) * VALUES // buffer.size):
            rng.uint64(out=buffer)

    return compare(
        {
            "floor: AES-CTR into n-1 rows, a copy into one": floor,
            "refimpl share(out=)": lambda: additive.share(secret, PARTIES, rng=rng, out=out),
            "refimpl share": lambda: additive.share(secret, PARTIES, rng=rng),
            "refimpl reconstruct": lambda: additive.reconstruct(out),
            "refimpl share_from_seeds": lambda: additive.share_from_seeds(secret, PARTIES, rng=rng),
            "AES-CTR alone, in the cache": words_only,
            "copy into each row": lambda: np.copyto(out, secret),
        },
        work=f"additive shares over Z_2^64, {ONE_MILLION}",
        note="the floor writes the same bytes and draws the same words, and subtracts nothing; a "
        "new array (share) costs its page faults",
    )


def shamir_shares() -> list[Row]:
    """Shared and put together; the bars are 200 and 120 times mpyc's speed."""
    secret = randomness.seeded(0).below(field.P, VALUES)
    rng, out = randomness.secure(), np.empty((PARTIES, VALUES), np.uint64)

    def with_rows(*xs: int) -> Callable[[], Any]:
        def work() -> Any:
            shares = shamir.share(secret, PARTIES, THRESHOLD, rng=rng, out=out)
            return shamir.reconstruct({x: shares[x - 1] for x in xs}, THRESHOLD)

        assert np.array_equal(work(), secret)
        return work

    functions = {
        "refimpl, rows 1, 2, 3": with_rows(1, 2, 3),
        "refimpl, rows 2, 4, 5": with_rows(2, 4, 5),
        **_mpyc(secret),
    }
    return compare(
        functions,
        work=f"Shamir shares over F_(2^61-1), threshold {THRESHOLD}, {ONE_MILLION}: shared, and "
        "put together from three",
        repeats=5,
        note="mpyc computes with Python integers of any size, in any field; lists and arrays are "
        "its two interfaces",
    )


def shamir_checks() -> list[Row]:
    """The parts, and what it costs to check all five shares."""
    rng, out = randomness.seeded(0), np.empty((PARTIES, VALUES), np.uint64)
    secret = rng.below(field.P, VALUES)
    shares = shamir.share(secret, PARTIES, THRESHOLD)

    def reconstruct(*xs: int) -> Callable[[], Any]:
        return lambda: shamir.reconstruct({x: shares[x - 1] for x in xs}, THRESHOLD)

    return compare(
        {
            "share(out=)": lambda: shamir.share(secret, PARTIES, THRESHOLD, rng=rng, out=out),
            "share": lambda: shamir.share(secret, PARTIES, THRESHOLD, rng=rng),
            "reconstruct, rows 1, 2, 3": reconstruct(1, 2, 3),
            "reconstruct, rows 2, 4, 5": reconstruct(2, 4, 5),
            "reconstruct, all five checked": reconstruct(1, 2, 3, 4, 5),
            "the words drawn": lambda: rng.below(field.P, (THRESHOLD - 1) * VALUES),
        },
        work=f"Shamir shares, the parts, threshold {THRESHOLD}, {ONE_MILLION}",
    )


def groups_of_many() -> list[Row]:
    """One contributor's work in ``aggregation.SecretSharing``, without its messages."""
    parties, length, rng = 100, 10_000, randomness.secure()
    code = SecretSharing().encoding(Group("server", tuple(map(str, range(parties))), 0))
    encoded = code.encode(np.linspace(-1, 1, length))
    seeds, _ = additive.share_from_seeds(encoded, parties, rng=rng)

    def with_seeds() -> Any:
        _, rest = additive.share_from_seeds(encoded, parties, rng=rng)
        return rest + additive.sum_of_seeds(seeds, length)

    return compare(
        {
            "additive, seeds drawn, sent and received": with_seeds,
            "Shamir, threshold 51": lambda: shamir.share(encoded, parties, 51, rng=rng),
            "Shamir, threshold 11": lambda: shamir.share(encoded, parties, 11, rng=rng),
        },
        work=f"one of {parties} contributors shares {length:,} values",
    )


def _mpyc(secret: np.ndarray) -> dict[str, Callable[[], Any]]:
    """mpyc's functions, composed the same way; none where it is not installed."""
    if not installed("mpyc", "0.11"):
        return {}
    thresha = importlib.import_module("mpyc.thresha")
    gf = importlib.import_module("mpyc.finfields").GF(field.P)
    values, array = secret.tolist(), secret.astype(object)

    def lists() -> Any:
        shares = thresha.random_split(gf, values, THRESHOLD - 1, PARTIES)
        found = thresha.recombine(gf, [(x, shares[x - 1]) for x in (1, 2, 3)])
        return [value % field.P for value in found]

    def arrays() -> Any:
        shares = thresha.np_random_split(gf, array, THRESHOLD - 1, PARTIES)
        return thresha.np_recombine(gf, [(x, shares[x - 1]) for x in (1, 2, 3)]).value

    return {"mpyc 0.11, lists": lists, "mpyc 0.11, arrays": arrays}
