"""Privacy losses on a grid, so that the pair on the grid dominates the true one.

``connect_the_dots`` splits the loss in each bucket of the grid between the bucket's two ends so
that P-mass and Q-mass are kept. The curve of delta over e^epsilon becomes the polygon through its
own points at the grid, and that lies above it, as the curve is convex (Doroshenko, Ghazi, Kamath,
Kumar and Manurangsi, PETS 2022). A loss L becomes L + R, where R takes two values one step h of the
grid apart and E[e^-R | L] = 1. So 0 <= E[R | L] <= h^2/8, by the inequality of Jensen and by
Hoeffding's lemma, and by Hoeffding's inequality the sum of T such R exceeds

    T h^2 / 8 + h sqrt(T/2 log(1/beta))

with chance at most beta. That bounds the true curve from below (compare Gopi, Lee and Wutschitz,
NeurIPS 2021, who round and then bound the sum in the same way).
"""

import math

import numpy as np

from refimpl.dp.pairs import Array, Pair

# Bound on the relative error of a tail probability: 32 units in the last place, for those of
# scipy.special.ndtr (the tests hold it against mpmath) and those of its argument.
UNIT = 32 * float(np.finfo(float).eps)


def rounding(spacing: float, steps: int, chance: float) -> float:
    """What the sum of ``steps`` rounding errors exceeds with at most this ``chance``."""
    return steps * spacing**2 / 8 + spacing * math.sqrt(-steps / 2 * math.log(chance))


def connect_the_dots(pair: Pair, losses: Array) -> tuple[Array, float, float, Array]:
    """P's masses on an increasing grid of ``losses``, a pair that dominates the given one.

    Returns (masses, above, below, error): ``above`` is the P-mass beyond the grid, to be taken for
    infinite, ``below`` that moved up to the first loss; ``error[k]`` bounds the round-off in what
    moves one step up from loss k, times the step.
    """
    tails = pair.tails(losses)
    p, q, excess = (_buckets(side, tails.split) for side in (tails.p, tails.q, tails.excess))
    p[tails.split - 1] += 1  # the two sides of this bucket make up the rest
    q[tails.split - 1] += 1
    gaps = np.diff(losses)
    growth = np.expm1(np.minimum(losses[:-1], 700))  # where this matters, Q-mass is 0
    # rising + falling = p and rising e^-l[k+1] + falling e^-l[k] = q, bucket by bucket
    rising = np.clip((excess - growth * q) / -np.expm1(-gaps), 0, p)
    masses = np.zeros_like(losses)
    masses[1:] = rising
    masses[:-1] += p - rising
    below = tails.p[0]
    masses[0] += below
    error = tails.scale[:-1] + tails.scale[1:] + np.abs(growth) * (tails.q[:-1] + tails.q[1:])
    error += gaps * (tails.p[:-1] + tails.p[1:])
    return masses, float(tails.p[-1]), float(below), UNIT * error


def _buckets(side: Array, split: int) -> Array:
    """The differences across each bucket of a measure of its lower, then its upper side."""
    masses = np.diff(side)
    masses[split:] *= -1
    masses[split - 1] = -side[split - 1] - side[split]
    return masses
