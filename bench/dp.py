"""Noise and releases beside OpenDP and diffprivlib.

OpenDP 0.16 and diffprivlib 0.6.6 are optional peers: without one, its rows are left out, and a line
says so. Peers get fewer draws than ours in each call; the rows are per 100,000 draws.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console

from bench.harness import Row, compare, installed
from refimpl.arithmetic import randomness
from refimpl.dp import discrete, floating_point, integer_sampling, mechanisms

DRAWS = 100_000
SOME = 1_000  # of a peer, in a call
Functions = dict[str, Callable[[], Any]]


def run() -> list[list[Row]]:
    """The rows of each comparison."""
    return [
        *(discrete_gaussian(sigma) for sigma in (0.3, 4.0, 100.0, 1e4, 1e6)),
        laplace_releases(),
        gaussian_releases(),
        single_releases(),
        selections(),
    ]


def discrete_gaussian(sigma: float) -> list[Row]:
    """The bar is 500 times the best peer's speed at sigma = 4 and 100."""
    rng = randomness.secure()

    def ours() -> Any:
        return discrete.discrete_gaussian(DRAWS, sigma=sigma, rng=rng)

    def by_definition() -> Any:
        return integer_sampling.discrete_gaussian(SOME, sigma=sigma, rng=rng)

    some: Functions = {"refimpl, integers only": by_definition}
    if opendp := _peer("opendp", "0.16"):
        release = _opendp_gaussian(opendp, int, sigma)
        some["OpenDP 0.16"] = lambda: release([0] * SOME)
    if sigma <= 100 and (peer := _peer("diffprivlib", "0.6.6")):  # its time grows with sigma
        mechanism = peer.mechanisms.GaussianDiscrete(epsilon=1, delta=1e-5, random_state=None)
        mechanism._scale = sigma
        some["diffprivlib 0.6.6"] = lambda: [mechanism.randomise(0) for _ in range(SOME)]
    return _compared(
        "refimpl",
        ours,
        some,
        work=f"discrete Gaussian, sigma = {sigma:g}, {DRAWS:,} draws",
        note="exact on all sides; diffprivlib draws one number a call, from the operating system",
    )


def laplace_releases() -> list[Row]:
    """A vector released on a grid; the bar is 100 times OpenDP's speed."""
    value, arguments = np.zeros(DRAWS), {"sensitivity": 1.0, "epsilon": 0.5}
    some: Functions = {}
    if opendp := _peer("opendp", "0.16"):
        domain = opendp.vector_domain(opendp.atom_domain(T=float, nan=False))
        release = opendp.m.make_laplace(domain, opendp.l1_distance(T=float), scale=2.0)
        some["OpenDP 0.16"] = lambda: release([0.0] * SOME)
    if peer := _peer("diffprivlib", "0.6.6"):
        mechanism = peer.mechanisms.Laplace(epsilon=0.5, sensitivity=1, random_state=None)
        some["diffprivlib 0.6.6, not on a grid"] = lambda: [
            mechanism.randomise(0.0) for _ in range(SOME)
        ]
    return _compared(
        "refimpl laplace",
        lambda: mechanisms.laplace(value, **arguments),
        some,
        {"refimpl, naive doubles": lambda: floating_point.naive_laplace(value, **arguments)},
        work=f"Laplace releases, {DRAWS:,} coordinates",
        note="OpenDP's grid is by default the finest of the doubles, ours is at most 2^-16",
    )


def gaussian_releases() -> list[Row]:
    """A vector released on a grid; the bar is 100 times OpenDP's speed."""
    value, some = np.zeros(DRAWS), {}
    if opendp := _peer("opendp", "0.16"):
        release = _opendp_gaussian(opendp, float, 2.0)
        some["OpenDP 0.16"] = lambda: release([0.0] * SOME)
    if peer := _peer("diffprivlib", "0.6.6"):
        mechanism = peer.mechanisms.GaussianAnalytic(
            epsilon=1, delta=1e-5, sensitivity=1, random_state=None
        )
        some["diffprivlib 0.6.6, not on a grid"] = lambda: [
            mechanism.randomise(0.0) for _ in range(SOME)
        ]
    return _compared(
        "refimpl gaussian",
        lambda: mechanisms.gaussian(value, sensitivity=1.0, sigma=2.0),
        some,
        {"refimpl, naive doubles": lambda: floating_point.naive_gaussian(value, sigma=2.0)},
        work=f"Gaussian releases, {DRAWS:,} coordinates",
        note="OpenDP's grid is by default the finest of the doubles, ours is at most 2^-16",
    )


def single_releases() -> list[Row]:
    """One number at a time, where the overhead of a call counts."""
    functions: Functions = {
        "refimpl laplace": lambda: mechanisms.laplace(0.0, sensitivity=1.0, epsilon=0.5),
        "refimpl gaussian": lambda: mechanisms.gaussian(0.0, sensitivity=1.0, sigma=2.0),
        "refimpl geometric": lambda: mechanisms.geometric(0, epsilon=0.5),
    }
    if opendp := _peer("opendp", "0.16"):
        domain = opendp.atom_domain(T=float, nan=False)
        laplace = opendp.m.make_laplace(domain, opendp.absolute_distance(T=float), scale=2.0)
        functions["OpenDP 0.16 laplace"] = lambda: laplace(0.0)
    if peer := _peer("diffprivlib", "0.6.6"):
        mechanism = peer.mechanisms.Laplace(epsilon=0.5, sensitivity=1, random_state=None)
        functions["diffprivlib 0.6.6 laplace, not on a grid"] = lambda: mechanism.randomise(0.0)
    return compare(
        functions,
        work="one release of one number",
        note="ours checks its arguments and makes a generator at each call; OpenDP does so once",
    )


def selections() -> list[Row]:
    """One of 1,000 options, 100 times."""
    scores = np.linspace(0, 10, 1000)
    rows = np.broadcast_to(scores, (100, 1000))
    one = {"sensitivity": 1.0, "epsilon": 1.0}
    functions: Functions = {
        "refimpl exponential": lambda: mechanisms.exponential(rows, **one),
        "refimpl report_noisy_max": lambda: mechanisms.report_noisy_max(rows, **one),
    }
    if peer := _peer("diffprivlib", "0.6.6"):

        def theirs() -> Any:
            for row in rows.tolist():
                peer.mechanisms.Exponential(
                    epsilon=1.0, sensitivity=1.0, utility=row, random_state=None
                ).randomise()

        functions["diffprivlib 0.6.6 Exponential"] = theirs
    return compare(functions, work="100 choices among 1,000 options")


def _compared(
    name: str,
    ours: Callable[[], Any],
    some: Functions,
    all_draws: Functions | None = None,
    *,
    work: str,
    note: str,
) -> list[Row]:
    """Ours does all draws in a call, ``some`` a part of them; the rows are of equal draws."""
    part = SOME / DRAWS
    rows = compare({name: ours, **(all_draws or {}), **some}, work=work, repeats=5, note=note)
    Console().print(f"for equal draws ({', '.join(some)} made {part:.0%} of them in a call):")
    for row in rows:
        if row["name"] in some:
            row["ratio"] /= part
            row["seconds"] /= part
    for row in rows[1:]:
        Console().print(f"  {row['name']}: {row['ratio']:.4g} times the time")
    return rows


def _opendp_gaussian(opendp: Any, kind: type, scale: float) -> Callable[[list], Any]:
    atoms = opendp.atom_domain(T=int) if kind is int else opendp.atom_domain(T=float, nan=False)
    metric = opendp.l2_distance(T=float)
    return opendp.m.make_gaussian(opendp.vector_domain(atoms), metric, scale=scale)


def _peer(name: str, wanted: str) -> Any:
    """The peer's module; None, and a line, where this version is not installed."""
    if not installed(name, wanted):
        return None
    if name == "opendp":
        prelude = importlib.import_module("opendp.prelude")
        prelude.enable_features("contrib")
        return prelude
    importlib.import_module(f"{name}.mechanisms")
    return importlib.import_module(name)
