"""Zero-concentrated differential privacy: one number, rho, that adds up under composition.

A mechanism is rho-zCDP if D_alpha(P||Q) <= rho alpha for all alpha > 1 (Bun and Steinke, TCC 2016,
definition 1). The Gaussian mechanism reaches the bound at each order, and so, almost, does the
discrete Gaussian (Canonne, Kamath and Steinke, NeurIPS 2020, theorem 4), which makes zCDP their
natural account. It cannot express amplification by sampling, because no line through the
origin follows the divergences of a sampled mechanism; the bound of the unsampled one still holds.
"""

import math

from scipy import optimize


def gaussian(*, noise_multiplier: float) -> float:
    """The Gaussian or discrete Gaussian mechanism: rho = 1 / (2 sigma^2) (proposition 1.6)."""
    return 1 / (2 * noise_multiplier**2)


def pure(epsilon: float) -> float:
    """Any epsilon-DP mechanism: rho = epsilon^2 / 2 (proposition 1.4)."""
    return epsilon**2 / 2


def delta(rho: float, epsilon: float) -> float:
    """The least delta at this epsilon (Canonne, Kamath and Steinke 2020, corollary 13).

    delta = min over a > 1 of e^((a-1)(a rho - epsilon)) / (a-1) (1 - 1/a)^a

    Each order a yields a bound, so the search for the best one errs on the safe side only.
    """
    _check("rho", rho)
    _check("epsilon", epsilon)

    def log_delta(log_excess: float) -> float:
        a = 1 + math.exp(log_excess)
        power = (a - 1) * (a * rho - epsilon) + a * (log_excess - math.log(a))
        return power - log_excess

    best = optimize.minimize_scalar(log_delta, bounds=(-30, 60), method="bounded")
    return math.exp(max(-700.0, min(0.0, float(best.fun)) + 1e-12))


def epsilon(rho: float, delta: float, *, failure: float = 0.0) -> float:
    """The least epsilon at this delta: the inverse of ``delta``, order by order.

    ``failure``: the chance, at most, that a run does other than the mechanism that rho is of. It
    can come true for either neighbour, so delta must also hold (1 + e^epsilon) failure:
    P(S) <= M(S) + failure <= e^epsilon M'(S) + d + failure, and M'(S) <= P'(S) + failure.
    """
    _check("rho", rho)
    found = _least(rho, delta)
    for _ in range(1000):
        left = delta - (1 + math.exp(min(found, 700.0))) * failure
        if failure and not left > 0:
            break
        needed = _least(rho, left)
        if needed <= found:
            return found
        found = needed * (1 + 1e-9)
    raise ValueError(
        f"delta must be above (1 + e^epsilon) failure, got {delta:g} with failure={failure:.2g}: "
        "take a larger delta, or make failures rarer (of an overflow: raise the bound)"
    )


def _least(rho: float, delta: float) -> float:
    """The least epsilon of rho-zCDP at this delta."""
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, both excluded, got {delta!r}")

    def bound(log_excess: float) -> float:
        a = 1 + math.exp(log_excess)
        rest = -math.log(delta) - log_excess + a * (log_excess - math.log(a))
        return a * rho + rest / (a - 1)

    best = optimize.minimize_scalar(bound, bounds=(-30, 60), method="bounded")
    return max(0.0, float(best.fun) * (1 + 1e-12))


def rho(epsilon: float, delta: float) -> float:
    """The largest rho that keeps to the budget (epsilon, delta)."""
    _check("epsilon", epsilon)
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, both excluded, got {delta!r}")
    low, high = 0.0, epsilon + 1.0
    while _least(high, delta) <= epsilon:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _least(middle, delta) <= epsilon else (low, middle)
    return low


def _check(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
