"""Where to tilt: the moment generating function of a composition's privacy loss.

Chernoff's inequality, P(L > epsilon) <= E[e^(theta L)] e^(-theta epsilon), is tightest near the
saddle point: there the losses tilted by e^(theta L) have mean epsilon, so their likely values are
the ones that matter to delta(epsilon). (The logarithm of the moment is theta times the Renyi
divergence of order theta + 1, and the bound on epsilon the classic conversion of ``rdp``.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    coarse: tuple[tuple[Array, Array, int], ...]  # losses, masses and steps of each mechanism

    def refined(self, index: int) -> "Moments":
        """With 32 more thetas around this one: rare large losses make the moments rise suddenly."""
        more = np.linspace(self.thetas[index - 1], self.thetas[index + 1], 34)[1:-1]
        thetas = np.concatenate([self.thetas, more])
        logs = np.concatenate([self.logs, _logs(more, self.coarse)])
        order = np.argsort(thetas)
        return replace(self, thetas=thetas[order], logs=logs[order])

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

    def gentler(self, index: int) -> int:
        """The index of a theta at most half as large, in the end 0."""
        return int(np.searchsorted(self.thetas, self.thetas[index] / 2, side="right")) - 1

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
    """The moments of the composition, its losses cut off where P-mass ``tail`` is beyond."""
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
    return Moments(thetas, _logs(thetas, coarse), deviation, total, tuple(coarse))


def _logs(thetas: Array, coarse: Sequence[tuple[Array, Array, int]]) -> Array:
    logs = np.zeros_like(thetas)
    for losses, masses, times in coarse:
        logs += times * log_moment(thetas, losses, masses)
    return logs


def log_moment(thetas: Array, losses: Array, masses: Array) -> Array:
    """log E[e^(theta L)] for each theta; ``losses`` increase."""
    exponents = np.multiply.outer(thetas, losses)
    largest = np.maximum(exponents[..., :1], exponents[..., -1:])
    return largest[..., 0] + np.log(np.exp(exponents - largest) @ masses)
