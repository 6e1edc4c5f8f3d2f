"""Composition theorems: what holds when only (epsilon, delta) of each step is known.

Steps may be chosen adaptively. They are given as ``epsilons``, with ``times``, how often each is
taken (by default once). Steps that are (epsilon_i, delta_i)-DP cost the sum of the delta_i besides.
Knowing more of the mechanism than these two numbers (see ``rdp`` and ``pld``) gives less epsilon.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from refimpl.arithmetic.checks import whole


def basic(epsilons: Sequence[float], times: Sequence[int] | None = None) -> float:
    """The sum (Dwork, McSherry, Nissim and Smith, TCC 2006); costs no delta."""
    e, n = _checked(epsilons, times)
    return math.fsum(n * e)


def advanced(epsilons: Sequence[float], delta: float, times: Sequence[int] | None = None) -> float:
    """The advanced composition theorem, at the cost of ``delta``; at most ``basic``.

    epsilon = sqrt(2 log(1/delta) sum e_i^2) + sum e_i (e^e_i - 1)

    (Dwork, Rothblum and Vadhan, FOCS 2010, theorem III.3, for equal steps; its proof, Azuma's
    inequality for losses within +-e_i of mean at most e_i (e^e_i - 1), gives the form for any.)
    """
    _check_delta(delta)
    e, n = _checked(epsilons, times)
    if e.max() > 1:  # then e^e - 1 > 1, and the mean alone exceeds the sum
        return basic(epsilons, times)
    spread = math.sqrt(-2 * math.log(delta) * math.fsum(n * e**2))
    return min(basic(epsilons, times), spread + math.fsum(n * e * np.expm1(e)))


def optimal(epsilon: float, steps: int, delta: float) -> float:
    """The least epsilon that any ``steps`` epsilon-DP steps guarantee, for this ``delta``.

    The worst case is randomised response (Kairouz, Oh and Viswanath, ICML 2015, theorem 3.3):
    delta(x) = sum over l of C(k, l) (e^((k-l) epsilon) - e^(x + l epsilon))_+ / (1 + e^epsilon)^k.
    """
    steps = whole("steps", steps, 1)
    _check_delta(delta)
    e = float(_checked([epsilon])[0][0])
    lies = np.arange(steps + 1.0)
    log_mass = special.gammaln(steps + 1) - special.gammaln(lies + 1)
    log_mass += -special.gammaln(steps - lies + 1) - lies * e - steps * math.log1p(math.exp(-e))
    losses = (steps - 2 * lies) * e
    # for x between two losses, delta(x) = A - B e^x, summed over the losses above
    a = np.cumsum(np.exp(log_mass))
    log_b = np.logaddexp.accumulate(log_mass - losses)
    lowest = np.append(losses[1:], -math.inf)
    piece = int(np.argmax(a - np.exp(log_b + lowest) >= delta))
    root = math.log(a[piece] - delta) - log_b[piece]
    return max(0.0, min(steps * e, float(root)))


def _checked(
    epsilons: Sequence[float], times: Sequence[int] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = np.asarray(epsilons, float)
    if values.ndim != 1 or not len(values) or not np.all((values > 0) & np.isfinite(values)):
        raise ValueError(f"epsilons must be finite numbers above 0, at least one, got {epsilons!r}")
    if times is not None and len(times) != len(values):
        raise ValueError(f"times must have one number for each epsilon, got {len(times)}")
    counts = [1] * len(values) if times is None else [whole("times", n, 1) for n in times]
    return values, np.array(counts, float)


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, both excluded, got {delta!r}")
