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

_EPSILON = float(np.finfo(float).eps)


def rounding(spacing: float, steps: int, chance: float) -> float:
    """What the sum of ``steps`` rounding errors exceeds with at most this ``chance``."""
    return steps * spacing**2 / 8 + spacing * math.sqrt(-steps / 2 * math.log(chance))


def connect_the_dots(pair: Pair, losses: Array) -> tuple[Array, float, float, Array]:
    """P's masses on an increasing grid of ``losses``, a pair that dominates the given one.

    Returns (masses, above, below, error): ``above`` is the P-mass beyond the grid, to be taken for
    infinite, ``below`` that moved up to the first loss; ``error[k]`` bounds the round-off in what
    moves from loss k to the next one, times that distance.
    """
    tails = pair.tails(losses)
    p, q, excess = (_buckets(side, tails.split) for side in (tails.p, tails.q, tails.excess))
    p[tails.split - 1] += 1  # the two sides of this bucket make up the rest
    q[tails.split - 1] += 1
    p = np.maximum(p, 0)
    gaps = np.diff(losses)
    growth = np.expm1(np.minimum(losses[:-1], 700))  # where this matters, Q-mass is 0
    # rising + falling = p and rising e^-l[k+1] + falling e^-l[k] = q, bucket by bucket
    rising = np.clip((excess - growth * q) / -np.expm1(-gaps), 0, p)
    masses = np.zeros_like(losses)
    masses[1:] = rising
    masses[:-1] += p - rising
    below = tails.p[0]
    masses[0] += below
    # round-off at the edges of the buckets, as a change of (excess - growth * q)
    edge = tails.scale + np.abs(np.expm1(np.minimum(losses, 700))) * tails.q
    edge += np.gradient(losses) * tails.p
    edge *= relative_error(np.minimum(tails.p, tails.q))
    return masses, float(tails.p[-1]), float(below), edge[:-1] + edge[1:]


def relative_error(tail: Array) -> Array:
    """The assumed bound on the relative error of a tail probability, whose test is by mpmath.

    Rounding the argument x of a Gaussian tail changes it by x^2, or -2 log(tail), units in the last
    place; this is twice that, and eight units for the function itself.
    """
    return _EPSILON * (8 - 4 * np.log(np.maximum(tail, 1e-300)))


def _buckets(side: Array, split: int) -> Array:
    """The differences across each bucket of a measure of its lower, then its upper side."""
    masses = np.diff(side)
    masses[split:] *= -1
    masses[split - 1] = -side[split - 1] - side[split]
    return masses
