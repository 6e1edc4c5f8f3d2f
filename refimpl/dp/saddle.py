"""Where to tilt: the moment generating function of a composition's privacy loss.

Chernoff's inequality, P(L > epsilon) <= E[e^(theta L)] e^(-theta epsilon), is tightest near the
saddle point: there the losses tilted by e^(theta L) have mean epsilon, so their likely values are
the ones that matter to delta(epsilon). (The logarithm of the moment is theta times the Renyi
divergence of order theta + 1, and the bound on epsilon the classic conversion of ``rdp``.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refimpl.dp.discretisation import connect_the_dots
from refimpl.dp.pairs import Array, Pair

Steps = Sequence[tuple[Pair, int]]  # each pair with the number of times that it is composed

_WRAPPED = math.log(1e-14)  # tilted mass outside the window, each side


@dataclass(frozen=True)
class Moments:
    """log E[e^(theta L)] of a composition, for rising ``thetas``; from coarse grids of losses."""

    thetas: Array
    logs: Array
    deviation: float  # of one step's loss, their root mean square
    total: int  # steps

    def saddle(self, *, delta: float | None = None, epsilon: float | None = None) -> int:
        """The index of the theta that makes Chernoff's bound tightest."""
        positive = self.thetas > 0
        if epsilon is None:
            assert delta is not None
            bound = (self.logs[positive] - math.log(delta)) / self.thetas[positive]
        else:
            bound = self.logs[positive] - self.thetas[positive] * epsilon
        last = len(self.thetas) - 2  # the window needs a larger theta
        return min(int(np.argmin(bound)) + int(np.argmax(positive)), last)

    def window(self, index: int, limit: float = math.inf) -> tuple[float, float, Array]:
        """The losses outside of which lies little of the mass tilted by ``thetas[index]``.

        Returns (low, high, thetas): Chernoff's inequality yields them with ``thetas[1:]``, not
        further than ``limit`` from ``thetas[0]`` unless they are its neighbours.
        """
        step = self.thetas - self.thetas[index]
        near = np.abs(step) <= limit
        near[[index - 1, index + 1]] = True
        near[index] = False
        bounds = np.divide(self.logs - self.logs[index] - _WRAPPED, step, where=near, out=step * 0)
        low = int(np.argmax(np.where(near & (step < 0), bounds, -np.inf)))
        high = int(np.argmin(np.where(near & (step > 0), bounds, np.inf)))
        return float(bounds[low]), float(bounds[high]), self.thetas[[index, low, high]]


def moments(steps: Steps, tail: float) -> Moments:
    coarse = []
    for pair, times in steps:
        losses = pair.nodes(tail)
        masses = connect_the_dots(pair, losses)[0]
        coarse.append((losses[masses > 0], masses[masses > 0], times))
    total = sum(times for _, times in steps)
    second = sum(times * (masses @ losses**2) for losses, masses, times in coarse) / total
    deviation = math.sqrt(second)
    unit = deviation * math.sqrt(total)
    # sums like a Gaussian need a few over their deviation, rare large losses about 1
    low, high = min(0.01 / unit, 0.1), min(100 / deviation, 1e4 / unit)
    positive = np.geomspace(low, high, math.ceil(14 * math.log10(high / low)))
    thetas = np.concatenate([-positive[::-1], [0.0], positive])
    logs = np.zeros_like(thetas)
    for losses, masses, times in coarse:
        logs += times * log_moment(thetas, losses, masses)
    return Moments(thetas, logs, deviation, total)


def log_moment(thetas: Array, losses: Array, masses: Array) -> Array:
    """log E[e^(theta L)] for each theta."""
    exponents = np.multiply.outer(thetas, losses)
    largest = exponents.max(axis=-1, keepdims=True)
    return largest[..., 0] + np.log(np.exp(exponents - largest) @ masses)
