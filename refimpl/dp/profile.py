"""What is known of delta(epsilon) after a composition on a grid: two curves with it in between."""

import math
from dataclasses import dataclass

import numpy as np

from refimpl.dp.pairs import Array


@dataclass(frozen=True)
class Profile:
    """delta(epsilon) of a composition: the true curve lies between two computed ones.

    At ``losses[i]`` the curve of the grid is ``hockey_stick[i]``, but for ``error[i]`` of wrapping,
    round-off, and losses raised from below a step's grid. ``above`` is P-mass moved to infinity,
    and the sum of rounding errors exceeds ``shift`` with chance ``chance``.
    """

    losses: Array
    hockey_stick: Array
    error: Array
    above: float
    shift: float
    chance: float

    def epsilon(self, delta: float) -> float:
        """An upper bound; -inf where it lies under the window."""
        if (found := self.reach(delta)) == math.inf:
            upper = self.hockey_stick[-1] + self.error[-1] + self.above
            raise ValueError(
                f"delta={delta:g} is out of reach of this grid, whose truncated tail and round-off "
                f"come to {upper:.2g}; take a larger delta, or accountant='rdp'"
            )
        return found

    def reach(self, delta: float) -> float:
        """The same, but ``inf`` where delta is out of reach."""
        upper = self.hockey_stick + self.error + self.above
        return _crossing(self.losses, upper, delta) if upper[-1] <= delta else math.inf

    def epsilon_lower(self, delta: float) -> float:
        """A lower bound; -inf where there is none."""
        return _crossing(self.losses, self._lower(), delta) - self.shift

    def delta(self, epsilon: float) -> float:
        """An upper bound."""
        if epsilon < self.losses[0]:
            return 1.0
        return float(min(1.0, self._at(epsilon, self.hockey_stick + self.error) + self.above))

    def delta_lower(self, epsilon: float) -> float:
        """A lower bound; 0 where there is none."""
        later = np.maximum.accumulate(self._lower()[::-1])[::-1]  # the true curve falls
        return max(0.0, self._at(max(epsilon + self.shift, self.losses[0]), later))

    def _at(self, epsilon: float, curve: Array) -> float:
        """The curve at epsilon, linear in e^epsilon between the points; constant after the last."""
        i = min(int(np.searchsorted(self.losses, epsilon, side="right")), len(curve) - 1) - 1
        part = np.expm1(epsilon - self.losses[i]) / np.expm1(self.losses[i + 1] - self.losses[i])
        return float(curve[i] + (curve[i + 1] - curve[i]) * min(1.0, part))

    def error_at(self, epsilon: float) -> float:
        """The error of the grid's curve near epsilon."""
        index = int(np.searchsorted(self.losses, epsilon))
        return float(self.error[min(index, len(self.error) - 1)])

    def _lower(self) -> Array:
        return self.hockey_stick - self.error - self.chance


def _crossing(losses: Array, curve: Array, delta: float) -> float:
    """Where the curve, linear in e^epsilon between its points, last exceeds delta."""
    over = np.flatnonzero(curve > delta)
    if not len(over) or over[-1] + 1 == len(losses):
        return float(losses[-1]) if len(over) else -math.inf
    i = over[-1]
    part = (curve[i] - delta) / (curve[i] - curve[i + 1])
    return float(losses[i] + np.log1p(part * np.expm1(losses[i + 1] - losses[i])))
