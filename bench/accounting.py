"""What an epsilon costs to compute, beside dp-accounting and Opacus at equal values."""

import importlib
from types import ModuleType

from bench.harness import Row, compare
from refimpl.dp import accounting, pairs, pld, rdp

SIGMA, RATE, STEPS, DELTA = 1.1, 0.01, 10_000, 1e-5
ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))  # Opacus's own
WORK = f"q={RATE}, noise {SIGMA}, {STEPS:,} steps, delta={DELTA:g}"


def run() -> list[list[Row]]:
    """The rows of each comparison."""
    return [loss_distributions(1e-3), loss_distributions(1e-4), renyi(), accountants()]


def loss_distributions(spacing: float) -> list[Row]:
    """One epsilon by loss distributions, both directions; the bar is 10 x dp-accounting."""
    google = _peer("dp_accounting.pld.privacy_loss_distribution", "dp-accounting")
    directions = [
        pairs.GaussianPair(SIGMA, RATE, above=removed, below=not removed)
        for removed in (True, False)
    ]

    def ours() -> float:
        profiles = [
            pld.compose([(pair, STEPS)], delta=DELTA, spacing=spacing) for pair in directions
        ]
        return max(profile.epsilon(DELTA) for profile in profiles)

    def theirs() -> float:
        single = google.from_gaussian_mechanism(
            SIGMA,
            sampling_prob=RATE,
            value_discretization_interval=spacing,
            use_connect_dots=True,
        )
        return single.self_compose(STEPS).get_epsilon_for_delta(DELTA)

    _check_equal(ours(), theirs(), 1e-5)
    work = f"accounting: epsilon by loss distributions on a grid of {spacing:g}, {WORK}"
    note = "equal epsilon to 1e-5; ours tilts the masses, theirs does not (right to 1e-11 only)"
    return compare({"refimpl": ours, "dp-accounting": theirs}, work=work, note=note)


def renyi() -> list[Row]:
    """One epsilon by Renyi divergences at Opacus's orders; the bar is 5 x Opacus."""
    opacus = _peer("opacus.accountants.analysis.rdp", "opacus")

    def ours() -> float:
        curve = rdp.sampled_gaussian(ORDERS, noise_multiplier=SIGMA, sample_rate=RATE)
        return rdp.epsilon(ORDERS, STEPS * curve, DELTA)[0]

    def theirs() -> float:
        curve = opacus.compute_rdp(q=RATE, noise_multiplier=SIGMA, steps=STEPS, orders=ORDERS)
        return float(opacus.get_privacy_spent(orders=ORDERS, rdp=curve, delta=DELTA)[0])

    _check_equal(ours(), theirs(), 1e-6)
    work = f"accounting: epsilon by Renyi divergences at {len(ORDERS)} orders, {WORK}"
    note = "equal epsilon to 1e-6; at orders that are not whole, ours is exact"
    return compare({"refimpl": ours, "opacus": theirs}, work=work, note=note)


def accountants() -> list[Row]:
    """Our accountants beside each other, for information."""

    def epsilon(accountant: accounting.Accountant) -> float:
        return accounting.epsilon(
            noise_multiplier=SIGMA,
            sample_rate=RATE,
            steps=STEPS,
            delta=DELTA,
            accountant=accountant,
        )

    functions = {
        "pld": lambda: epsilon("pld"),
        "rdp": lambda: epsilon("rdp"),
        "moments": lambda: epsilon("moments"),
    }
    note = "rdp has 174 orders up to 2^14; pld looks at the better direction on a coarse grid"
    return compare(functions, work=f"accounting: our accountants, {WORK}", note=note)


def _peer(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeError(f"install {package}, which is in the project's test extra") from error


def _check_equal(ours: float, theirs: float, tolerance: float) -> None:
    if abs(ours - theirs) > tolerance:
        raise RuntimeError(f"the values must be equal to {tolerance:g}: {ours} and {theirs}")
