"""Independent computations of delta, to hold the accountants against: no grid of losses in them.

The profile of T steps whose losses have moments M(z) = E_P[e^(zL)] is the inverse Laplace transform

    delta(epsilon) = 1/(2 pi i) * integral over Re z = c of M(z)^T e^(-z epsilon) / (z (z + 1)) dz

for any c > 0, because (1 - e^-x)_+ has the transform 1 / (z (z + 1)). The trapezoidal rule
converges exponentially for both integrals, that over z and that over the output x inside M.
"""

import math

import mpmath
import numpy as np
from scipy import special


def densities(sigma, rate, direction):
    """P and Q, as functions of x that mpmath can evaluate, for "remove", "add" or "replace"."""

    def mixture(mean):
        return lambda x: (1 - rate) * mpmath.npdf(x, 0, sigma) + rate * mpmath.npdf(x, mean, sigma)

    def centre(x):
        return mpmath.npdf(x, 0, sigma)

    pairs = {
        "remove": (mixture(1), centre),
        "add": (centre, mixture(1)),
        "replace": (mixture(1), mixture(-1)),
    }
    return pairs[direction]


class Inversion:
    """delta of T steps by the transform above, in doubles; ``nan`` where it does not converge.

    Outputs beyond which P has a millionth of ``least`` over T are left out, so delta may be too
    small by that millionth of ``least``. Without the cut, rare large losses would spoil M.
    """

    def __init__(self, sigma, rate, steps, direction, least=1e-15):
        self.sigma, self.rate, self.steps, self.direction = sigma, rate, steps, direction
        tail = 1e-6 * least / steps
        self.cut = 1 - sigma * special.ndtri(min(0.5, tail / (2 * rate)))
        self.cut = max(self.cut, -sigma * special.ndtri(tail / 2))

    def delta(self, epsilon):
        """delta at this epsilon: along the line through the saddle point, over 20 deviations."""
        masses, losses = self._grid(0.0)
        mean = masses @ losses
        variance = masses @ (losses - mean) ** 2
        scale = math.sqrt(self.steps * variance)
        first = max(epsilon - self.steps * mean, 0.1 * scale) / scale**2
        tilts = first * np.geomspace(0.02, 50, 80)
        exponents = [self._exponent(tilt, epsilon) for tilt in tilts]
        if not np.isfinite(exponents).any() or np.nanmin(exponents) > 700:
            return math.nan
        c = float(tilts[int(np.nanargmin(exponents))])
        at = [self._exponent(c * (1 + shift), epsilon) for shift in (-0.01, 0, 0.01)]
        width = 0.01 * c / math.sqrt(max(at[0] - 2 * at[1] + at[2], 1e-12))
        width = min(width, 5 * c)
        y = np.arange(-500, 501) * (width / 25)
        z = c + 1j * y
        terms = np.exp(self.log_moments(z) - z * epsilon - at[1]) / (z * (z + 1))
        total = terms.real.sum()
        if max(abs(terms[[0, -1]])) > 1e-7 * total or total < 1e-9 * abs(terms).max():
            return math.nan
        return float(total * (width / 25) / (2 * math.pi) * math.exp(at[1]))

    def log_moments(self, z):
        """T log M(z); E[e^(zL) - 1] is what is summed, so that a moment near 1 keeps its digits."""
        masses, losses = self._grid(float(np.max(np.real(z))))
        excess = np.expm1(np.multiply.outer(z, losses)) @ masses
        return self.steps * np.log1p(excess)

    def _exponent(self, tilt, epsilon):
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self.log_moments(np.array([tilt]))[0] - tilt * epsilon)

    def _grid(self, tilt):
        """P's masses and losses at outputs x, which cover P e^(tilt L)."""
        step = self.sigma * min(1.0, self.sigma) / 8
        further = min(abs(tilt) + 1, 60 * self.sigma) * (2 if self.direction == "replace" else 1)
        x = np.arange(-14 * self.sigma - 2, 14 * self.sigma + 2 + further, step)
        x = -x if self.direction == "add" else x[x <= self.cut]
        centre = np.exp(-0.5 * (x / self.sigma) ** 2) / (self.sigma * math.sqrt(2 * math.pi))
        up, down = self._log_ratio(x), self._log_ratio(-x)
        log_p, losses = {
            "remove": (up, up),
            "add": (0 * up, -up),
            "replace": (up, up - down),
        }[self.direction]
        masses = centre * np.exp(log_p) * step
        return masses[masses > 0], losses[masses > 0]

    def _log_ratio(self, x):
        """log of 1 - q + q N(1)/N(0) at x."""
        exponent = (x - 0.5) / self.sigma**2
        if self.rate == 1:
            return exponent
        small = np.log1p(self.rate * np.expm1(np.minimum(exponent, 0.5)))
        large = np.logaddexp(math.log1p(-self.rate), math.log(self.rate) + exponent)
        return np.where(exponent < 0.5, small, large)


def gaussian_delta(mu, epsilon):
    """The Gaussian mechanism, mu = sensitivity / sigma (Balle and Wang 2018, theorem 8)."""
    with mpmath.workdps(60):
        mu, epsilon = mpmath.mpf(mu), mpmath.mpf(epsilon)
        low = mpmath.ncdf(-mu / 2 - epsilon / mu)
        return mpmath.ncdf(mu / 2 - epsilon / mu) - mpmath.exp(epsilon) * low


def one_step(sigma, rate, direction, epsilon):
    """delta of one step: P(L > epsilon) - e^epsilon Q(L > epsilon), over a half-line of outputs."""
    s, q, e = (mpmath.mpf(value) for value in (sigma, rate, epsilon))
    if direction == "replace":  # P/Q = e^epsilon is quadratic in e^(x/s^2)
        far, a = mpmath.exp(-1 / (2 * s**2)), (1 - q) / q * (mpmath.exp(e) - 1)
        root = a + mpmath.sqrt(a**2 + 4 * far**2 * mpmath.exp(e))
        x = s**2 * mpmath.log(root / (2 * far))
        sides = [[(1 - q, -x), (q, m - x)] for m in (1, -1)]
    else:
        ratio = (mpmath.exp(e if direction == "remove" else -e) - 1 + q) / q
        if ratio <= 0:  # all outputs, or none
            return 1 - mpmath.exp(e) if direction == "remove" else mpmath.mpf(0)
        x = s**2 * mpmath.log(ratio) + mpmath.mpf(1) / 2
        sides = [[(1 - q, -x), (q, 1 - x)], [(1, -x)]]
        if direction == "add":
            sides = [[(1, x)], [(1 - q, x), (q, x - 1)]]
    p, q = (sum(w * mpmath.ncdf(z / s) for w, z in side) for side in sides)
    return max(mpmath.mpf(0), p - mpmath.exp(e) * q)


def two_steps(sigma, rate, direction, epsilon):
    """delta of two steps: the mean over the first step's output of delta of the second."""
    p, q = densities(sigma, rate, direction)
    step = mpmath.mpf(sigma) / 64  # fine, as delta of one step is smooth but not analytic
    points = [step * i for i in range(-11 * 64, 12 * 64)]
    losses = [mpmath.log(p(x) / q(x)) for x in points]
    deltas = [one_step(sigma, rate, direction, epsilon - loss) for loss in losses]
    return step * sum(p(x) * delta for x, delta in zip(points, deltas, strict=True))


def exact_response(epsilon, steps, at):
    """delta of repeated randomised response: a binomial sum."""
    with mpmath.workdps(50):
        e, total = mpmath.mpf(epsilon), mpmath.mpf(0)
        for lies in range(steps + 1):
            ways = mpmath.binomial(steps, lies) / (1 + mpmath.exp(e)) ** steps
            gap = mpmath.exp((steps - lies) * e) - mpmath.exp(at + lies * e)
            total += ways * max(0, gap)
        return total
