"""Gaussian noise for sums of clipped vectors, on a grid and drawn ahead.

The same release as ``refimpl.dp.mechanisms.gaussian``: the sum is rounded to a public grid and
exact noise is added in units of the grid. Noise depends on no data, so rows of it for several
steps are drawn in one go, which is faster for short vectors. A row is used once.
"""

import numpy as np
import torch
from torch import Tensor

from refimpl.arithmetic.randomness import CryptoGenerator, resolve, secure, seeded
from refimpl.dp import mechanisms

Noise = CryptoGenerator | torch.Generator | None
SLACK = 2.0**-12  # of the sensitivity, for rounding in the sum: an estimate, no proof
_AHEAD = 2**16  # numbers


def noise_of(party: str, seed: int | None) -> CryptoGenerator:
    """Where the noise of one party comes from; no two share one. A seed PROTECTS NOBODY."""
    return secure() if seed is None else seeded(seed, f"noise of {party}")


class GaussianNoise:
    """Adds N(0, (noise_multiplier · clipping_norm)² I) to vectors of ``size`` numbers.

    A vector is one answer whose L2 sensitivity is ``clipping_norm``. ``steps``: how many will be
    released, at most; more are released too. A ``torch.Generator`` gives noise for simulation,
    which PROTECTS NOBODY. noise_multiplier 0 adds nothing.
    """

    def __init__(
        self,
        size: int,
        *,
        clipping_norm: float,
        noise_multiplier: float,
        steps: int = 1,
        rng: Noise = None,
    ) -> None:
        self.size, self.multiplier = size, noise_multiplier
        self.sensitivity = clipping_norm * (1 + SLACK)
        self.rows = max(1, min(steps, _AHEAD // size))
        # for all rows together, hence fine enough for each
        total = self.rows * size
        self.grid = mechanisms.default_grid(self.sensitivity, size=total, order=2)
        self.rng = rng if isinstance(rng, torch.Generator) else resolve(rng)
        self._drawn: list[np.ndarray] = []

    def add(self, total: Tensor) -> Tensor:
        """``total`` plus fresh noise, in the type of ``total``."""
        if not self.multiplier:
            return total
        sigma = self.multiplier * self.sensitivity
        if isinstance(self.rng, torch.Generator):
            return total + sigma * torch.empty_like(total).normal_(generator=self.rng)
        if not self._drawn:
            self._drawn = [*self._draw(sigma, self.rng)]
        units = np.rint(total.cpu().numpy() / self.grid) + self._drawn.pop()
        return torch.from_numpy(units * self.grid).to(total)

    def _draw(self, sigma: float, rng: CryptoGenerator) -> np.ndarray:
        """In units of the grid, a row for each release to come."""
        shape = self.rows, self.size
        return mechanisms.gaussian_units(
            shape, sensitivity=self.sensitivity, sigma=sigma, grid=self.grid, rng=rng
        )
