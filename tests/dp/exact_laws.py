"""Oracles for the samplers: chances computed with mpmath to 60 digits, and a test of fit.

``fits`` is Pearson's chi-square test on at most 200 cells. The seeds are fixed, so a test that
passes always passes; for a fresh seed it would fail by chance once in 10^7 (``CHANCE``).
"""

import mpmath
import numpy as np
from scipy import stats

CHANCE = 1e-7


def laplace(scale):
    """Chances of a discrete Laplace variable: x -> P(x)."""
    q = mpmath.exp(-1 / mpmath.mpf(scale))
    return lambda x: (1 - q) / (1 + q) * q ** abs(int(x))


def gaussian(sigma):
    """Chances of a discrete Gaussian variable, the sum of weights taken far into the tails."""
    a = 1 / (2 * mpmath.mpf(sigma) ** 2)
    total = 1 + 2 * mpmath.nsum(lambda k: mpmath.exp(-a * k * k), [1, int(30 * sigma) + 10])
    return lambda x: mpmath.exp(-a * int(x) ** 2) / total


def rounded(sigma):
    """Chances of a normal variable rounded to an integer."""
    s = mpmath.mpf(sigma)
    return lambda x: mpmath.ncdf((int(x) + 0.5) / s) - mpmath.ncdf((int(x) - 0.5) / s)


def p_value(draws, chances, reach):
    """Of the draws having these chances; what is beyond +-reach is one cell a side."""
    expected = np.array([float(chances(x)) for x in range(-reach, reach + 1)])
    side = (1 - expected.sum()) / 2
    expected = np.concatenate([[max(side, 0)], expected, [max(side, 0)]]) * draws.size
    clipped = np.clip(draws, -reach - 1, reach + 1).astype(int).reshape(-1)
    observed = np.bincount(clipped + reach + 1, minlength=2 * reach + 3)
    return _chi_square(observed, expected)


def p_value_wide(draws, distribution, cells=200):
    """The same for a continuous ``scipy`` distribution, in cells of equal chance."""
    edges = distribution.ppf(np.arange(1, cells) / cells)
    edges = np.floor(edges) + 0.5  # between integers
    chances = np.diff(distribution.cdf(edges), prepend=0, append=1)
    observed = np.bincount(np.searchsorted(edges, draws.reshape(-1)), minlength=cells)
    return _chi_square(observed, chances * draws.size)


def _chi_square(observed, expected):
    """Cells that expect fewer than 10 are merged with their neighbours first."""
    merged = [[0.0, 0.0]]
    for o, e in zip(observed, expected, strict=True):
        if merged[-1][1] >= 10:
            merged.append([0.0, 0.0])
        merged[-1][0] += o
        merged[-1][1] += e
    if merged[-1][1] < 10 and len(merged) > 1:
        o, e = merged.pop()
        merged[-1][0] += o
        merged[-1][1] += e
    o, e = np.array(merged).T
    if len(e) == 1:
        return 1.0 if abs(o[0] - e[0]) < 1 else 0.0
    return float(stats.chi2.sf(((o - e) ** 2 / e).sum(), len(e) - 1))
