"""The least Gaussian noise for a budget: the analytic calibration of Balle and Wang, ICML 2018.

    delta = Phi(1 / (2 z) - epsilon z) - e^epsilon Phi(-1 / (2 z) - epsilon z)

(Theorem 8; z is the noise multiplier, sigma / sensitivity) is the exact delta of a sigma. The
textbook's z = sqrt(2 log(1.25 / delta)) / epsilon is larger, and no guarantee for epsilon > 1
(Dwork and Roth 2014, theorem A.1).
"""

import math

from scipy import special

from refimpl.dp.checks import positive, probability
from refimpl.dp.checks import sensitivity as check_sensitivity


def gaussian_delta(epsilon: float, sigma: float, *, sensitivity: float = 1.0) -> float:
    """The least delta of the Gaussian mechanism at this epsilon >= 0, to a relative 1e-9.

    Where both terms are small it is computed as their common factor e^(-a^2/2) / 2 times a
    difference of scaled complementary error functions, which neither underflow nor cancel.
    """
    if not (epsilon == 0 or positive("epsilon", epsilon)):
        raise ValueError(f"epsilon must be at least 0, got {epsilon!r}")
    ratio = float(positive("sigma", sigma)) / float(check_sensitivity(sensitivity))
    a, b = 0.5 / ratio - epsilon * ratio, 0.5 / ratio + epsilon * ratio
    factor, root = math.exp(-a * a / 2) / 2, math.sqrt(0.5)
    second = factor * float(special.erfcx(b * root))  # e^epsilon phi(b) = phi(a)
    if a > 0:
        return max(0.0, float(special.ndtr(a)) - second)
    return max(0.0, factor * float(special.erfcx(-a * root)) - second)


def gaussian_sigma(epsilon: float, delta: float, *, sensitivity: float = 1.0) -> float:
    """The least sigma with which the Gaussian mechanism is (epsilon, delta)-DP.

    ``sigma`` is absolute: for another L2 ``sensitivity`` it grows in proportion. The result errs
    on the safe side only, by a relative 1e-9.
    """
    positive("epsilon", epsilon)
    delta = probability("delta", delta)
    sensitivity = float(check_sensitivity(sensitivity))
    low = high = 1.0
    while gaussian_delta(epsilon, high) > delta:
        high *= 2
    while gaussian_delta(epsilon, low) <= delta:
        low /= 2
    while high > low * (1 + 1e-12):  # delta falls as sigma grows
        middle = (low + high) / 2
        low, high = (low, middle) if gaussian_delta(epsilon, middle) <= delta else (middle, high)
    return high * (1 + 1e-9) * sensitivity
