"""Accounting: how much privacy a sequence of mechanisms costs, as (epsilon, delta).

``epsilon`` accounts for noisy training: ``steps`` times the Gaussian mechanism, each time on a
fresh Poisson sample, in which each record is with chance ``sample_rate``. ``noise_multiplier`` is
the noise's standard deviation over the largest contribution of a record (the clipping norm).
``compose`` accounts for different mechanisms, chosen adaptively. Every accountant returns an upper
bound on the true epsilon:

- "pld": privacy-loss distributions, tight to a part in 10^5 (``pld``)
- "rdp": Renyi divergences, the improved conversion (``rdp``)
- "moments": the classic moments accountant (Abadi et al., CCS 2016): whole orders, lambda <= 32,
  and the classic conversion
- "zcdp": zero-concentrated DP, without amplification by sampling (``zcdp``)
- "advanced", "basic": composition theorems for (epsilon_i, delta_i)-DP steps (``composition``);
  half of delta ("basic": all) goes in equal parts to the steps that are not purely epsilon-DP

Adversary: sees all released results, knows every record but one, and has any computing power. What
is bounded is what it learns on that record: ``neighbours`` says whether the record may be there or
not ("add-remove": the worse of the two directions) or have another value ("replace-one").

The bound holds for the sampler that it is told of, and for no other: Poisson sampling only.
"""

import math
from functools import cache

import numpy as np
from scipy import optimize

from refimpl.dp.composed import (
    Accountant,
    ApproximateDP,
    Composition,
    Gaussian,
    Laplace,
    Mechanism,
    Neighbours,
    RandomizedResponse,
    check_number,
    compose,
)

__all__ = [
    "Accountant",
    "ApproximateDP",
    "Composition",
    "Gaussian",
    "Laplace",
    "Mechanism",
    "Neighbours",
    "RandomizedResponse",
    "compose",
    "delta",
    "epsilon",
    "epsilon_interval",
    "noise_multiplier",
    "steps",
]


def epsilon(
    *,
    noise_multiplier: float,
    sample_rate: float,
    steps: int,
    delta: float,
    accountant: Accountant = "pld",
    sampler: str = "poisson",
    neighbours: Neighbours = "add-remove",
) -> float:
    """An upper bound on the epsilon of noisy training; the arguments are explained above.

    Raises ValueError for numbers out of range (sample_rate in (0, 1], delta in (0, 1), positive
    noise and steps), for a sampler that the account does not hold for, and for a delta that the
    accountant cannot reach.
    """
    training = Gaussian(noise_multiplier, sample_rate, steps)
    composed = compose([training], sampler=sampler, neighbours=neighbours)
    return composed.epsilon(delta, accountant=accountant)


def delta(
    *,
    noise_multiplier: float,
    sample_rate: float,
    steps: int,
    epsilon: float,
    accountant: Accountant = "pld",
    sampler: str = "poisson",
    neighbours: Neighbours = "add-remove",
) -> float:
    """An upper bound on the delta of noisy training: the twin of ``epsilon``."""
    training = Gaussian(noise_multiplier, sample_rate, steps)
    composed = compose([training], sampler=sampler, neighbours=neighbours)
    return composed.delta(epsilon, accountant=accountant)


def epsilon_interval(
    *,
    noise_multiplier: float,
    sample_rate: float,
    steps: int,
    delta: float,
    sampler: str = "poisson",
    neighbours: Neighbours = "add-remove",
) -> tuple[float, float]:
    """Certified bounds (lower, upper) on the true epsilon of noisy training."""
    training = Gaussian(noise_multiplier, sample_rate, steps)
    return compose([training], sampler=sampler, neighbours=neighbours).epsilon_interval(delta)


def noise_multiplier(
    *,
    epsilon: float,
    sample_rate: float,
    steps: int,
    delta: float,
    accountant: Accountant = "pld",
    sampler: str = "poisson",
    neighbours: Neighbours = "add-remove",
) -> float:
    """The least noise multiplier, to a part in 10^5, whose epsilon is at most this budget.

    Raises ValueError if no noise up to 10^7 keeps to the budget, and if delta alone allows to
    publish the records: then there is no least noise.
    """
    check_number("epsilon", epsilon, 0)

    @cache
    def spent(log_noise: float) -> float:
        training = Gaussian(math.exp(log_noise), sample_rate, steps)
        composed = compose([training], sampler=sampler, neighbours=neighbours)
        return composed.epsilon(delta, accountant=accountant) / epsilon - 1

    spent(0.0)  # reports wrong arguments first
    if -math.expm1(steps * np.log1p(-min(sample_rate, 1 - 1e-16))) <= delta:
        raise ValueError(
            f"delta={delta:g} exceeds the chance that a record is ever in a sample, so it allows "
            "to publish samples without noise; take a delta below 1 over the number of records"
        )
    low, high = 0.0, 0.0
    while spent(high) > 0:
        low, high = high, high + 1.0
        if high > math.log(1e7):
            raise ValueError(f"epsilon={epsilon:g} is out of reach at delta={delta:g}; take more")
    while low == high or spent(low) <= 0:
        low, high = low - 1.0, low
    root = optimize.brentq(spent, low, high, xtol=1e-6)
    while spent(root) > 0:
        root += 1e-6
    return math.exp(root)


def steps(
    *,
    epsilon: float,
    noise_multiplier: float,
    sample_rate: float,
    delta: float,
    accountant: Accountant = "pld",
    sampler: str = "poisson",
    neighbours: Neighbours = "add-remove",
) -> int:
    """The most steps, to a part in 10^5, whose epsilon is at most this budget.

    Raises ValueError if one step alone exceeds the budget, and if 10^9 steps do not.
    """
    check_number("epsilon", epsilon, 0)

    @cache
    def spent(count: float) -> float:
        training = Gaussian(noise_multiplier, sample_rate, int(count))
        composed = compose([training], sampler=sampler, neighbours=neighbours)
        return composed.epsilon(delta, accountant=accountant) / epsilon - 1

    if spent(1) > 0:
        raise ValueError(
            f"epsilon={epsilon:g} is less than one step costs, {epsilon * (1 + spent(1)):.4g}; "
            "take more noise or a larger budget"
        )
    low, high = 1, 2
    while spent(high) <= 0:
        low, high = high, 4 * high
        if high > 10**9:
            raise ValueError(f"epsilon={epsilon:g} allows more than {low:,} steps; take less noise")
    while high - low > max(1, low // 100_000):
        # the cost grows about like a power of the count: aim at the root, and halve at the worst
        cost_low, cost_high = spent(low), spent(high)
        part = -cost_low / (cost_high - cost_low)
        guess = int(low + (high - low) * min(0.9, max(0.1, part)))
        guess = min(high - 1, max(low + 1, guess))
        low, high = (guess, high) if spent(guess) <= 0 else (low, guess)
    return low
