"""Composition by privacy-loss distributions: the tightest epsilon, with a certified error.

The loss of a composition is the sum of its steps' losses, each drawn under P, so its distribution
is a convolution (Sommer, Meiser and Mohammadi, PETS 2019), and that is a power after a Fourier
transform (Koskela, Jaelkoe and Honkela, AISTATS 2020). Certified means that the bounds cover:

- **Discretisation**: ``discretisation`` puts the losses on a grid, which raises the curve of delta
  over epsilon, and bounds by how much.
- **Truncation**: losses beyond the grid of a step become infinite, a millionth of delta in all.
- **Wrapping**: a discrete transform folds the line to a circle. Chernoff's inequality chooses the
  window, and bounds what falls outside.
- **Round-off**: a transform errs relative to its largest value, so a plain one says nothing of a
  delta below 1e-11. The masses are therefore tilted by e^(theta L) first, theta being the saddle
  point for the delta asked for (``saddle``), and the result is tilted back. The bound assumes that
  tail probabilities are right to ``discretisation.relative_error`` and a transform of length N to
  2 log2(N) + 4 units in the last place of the masses' sum.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, signal

from refimpl.dp.discretisation import connect_the_dots, rounding
from refimpl.dp.pairs import Array, Pair
from refimpl.dp.profile import Profile
from refimpl.dp.saddle import Moments, Steps, log_moment, moments

_TAIL = 1e-6  # of delta: the P-mass of all steps' losses beyond their grids
_SMALLEST = 1e-100  # delta: below it, tails and tilted masses come near the smallest doubles
_LARGEST = 2**25  # points of a grid


@dataclass(frozen=True)
class _Step:
    """One mechanism of a composition, on the losses ``spacing`` * (start, start + 1, ...)."""

    start: int
    times: int
    tilted: Array  # sum to 1
    log_moments: Array  # log E[e^(theta L)] at theta, and at those that bound the window
    share: float  # of each mass: round-off in what it moves, in units of h
    error: float  # the same for masses where that share is large, relative to the first moment
    above: float


@dataclass(frozen=True)
class _Plan:
    """What ``compose`` was asked for, and how to compute it for one tilt."""

    steps: Steps
    coarse: Moments
    tail: float
    delta: float
    epsilon: float | None
    spacing: float | None
    scale: float

    def tilted(self, index: int) -> Profile:
        """The profile, computed with the masses tilted by ``coarse.thetas[index]``."""
        h = self.spacing or self.scale * self._spacing(index)
        # further thetas would see the grid: it adds T h^2 theta^2 / 12 to the moment's logarithm
        limit = min(0.5, 3 / math.sqrt(self.coarse.total)) / h
        low, high, thetas = self.coarse.window(index, limit)
        steps = [_discretise(pair, times, thetas, h, self.tail) for pair, times in self.steps]
        return _profile(steps, thetas, (low, high), h, self.delta)

    def reached(self, profile: Profile) -> float:
        """The epsilon that matters, which the profile should have in its window."""
        return profile.reach(self.delta) if self.epsilon is None else self.epsilon

    def _spacing(self, index: int) -> float:
        """A grid that raises epsilon by a part in 10^5, or a finer one of up to 2^18 points.

        Each step adds some h^2/6 to the variance of the loss and half of it to the mean, so it adds
        h^2 (1 + 2 theta) / 12 to epsilon. At most 2^23 points, whatever that costs.
        """
        coarse, epsilon = self.coarse, self.epsilon
        low, high, thetas = coarse.window(index)
        theta = max(0.0, float(thetas[0]))
        scale = coarse.deviation * math.sqrt(coarse.total)
        if epsilon is None:
            epsilon = (coarse.logs[index] - math.log(self.delta)) / theta if theta else scale
        raised = 1e-5 * max(epsilon, min(scale, 1 / (1 + theta)))
        enough = math.sqrt(12 * raised / (coarse.total * (1 + 2 * theta)))
        return max(min(enough, max((high - low) / 2**18, enough / 16)), (high - low) / 2**23)


def compose(
    steps: Steps,
    *,
    delta: float | None = None,
    epsilon: float | None = None,
    spacing: float | None = None,
    scale: float = 1.0,
) -> Profile:
    """The privacy profile of all ``steps``, sharpest where it reaches ``delta`` (or ``epsilon``).

    ``spacing`` is that of the grid of losses. By default it is ``scale`` times a choice that raises
    epsilon by a part in 10^5 as a rule. Where very rare losses meet a tiny delta it can raise it
    several times over: still an upper bound, and ``accounting.epsilon_interval`` shows how loose.
    Raises ValueError for a delta that the grid cannot reach (below 1e-100), and for a grid of more
    than 2^25 points.
    """
    if delta is None:
        assert epsilon is not None
        delta = _chernoff(moments(steps, _SMALLEST), epsilon)
    if delta < _SMALLEST:
        raise ValueError(
            f"delta must be at least {_SMALLEST:g} on a grid, got about {delta:.3g}; "
            "take a larger delta (or a smaller epsilon), or accountant='rdp'"
        )
    tail = delta * _TAIL / sum(times for _, times in steps)
    coarse = moments(steps, tail)
    coarse = coarse.refined(coarse.saddle(delta=delta, epsilon=epsilon))
    plan = _Plan(steps, coarse, tail, delta, epsilon, spacing, scale)
    index = coarse.saddle(delta=delta, epsilon=epsilon)
    profile = plan.tilted(index)
    while plan.reached(profile) <= profile.losses[0] > 0 and coarse.thetas[index] > 0:
        index = coarse.gentler(index)  # the window began too high
        profile = plan.tilted(index)
    reached = plan.reached(profile)
    if epsilon is None and profile.error_at(reached) > 1e-5 * delta:
        again = plan.tilted(coarse.saddle(epsilon=max(reached, 0.0)))  # the result's saddle point
        if again.losses[0] < again.reach(delta) < reached:
            return again
    return profile


def _chernoff(coarse: Moments, epsilon: float) -> float:
    """A delta far below that of epsilon, to size the tails by."""
    index = coarse.saddle(epsilon=epsilon)
    exponent = coarse.logs[index] - coarse.thetas[index] * epsilon
    return 1e-3 * math.exp(max(-700.0, min(0.0, exponent)))


def _discretise(pair: Pair, times: int, thetas: Array, h: float, tail: float) -> _Step:
    """One step's losses on the grid, tilted by ``thetas[0]``."""
    nodes = pair.nodes(tail)
    # losses so low that they hardly count are raised: after tilting, 1e-14 of the mass
    low = max(nodes[0], math.log(1e-14 / times) / thetas[0]) if thetas[0] > 0 else nodes[0]
    start, stop = math.floor(low / h) - 1, math.ceil(nodes[-1] / h) + 1
    _check_size(stop - start)
    losses = h * np.arange(start, stop + 1, dtype=float)
    masses, above, below, error = connect_the_dots(pair, losses)
    with np.errstate(divide="ignore"):
        exponents = thetas[0] * losses + np.log(masses)
    largest = exponents.max()
    tilted = np.exp(exponents - largest)
    moment = tilted.sum()
    logs = [float(largest + np.log(moment)), *(log_moment(t, losses, masses) for t in thetas[1:])]
    weights = np.exp(np.minimum(thetas[0] * losses - logs[0], 700))
    share = 3 * float(error @ weights[1:])
    heavy = error > share * masses[1:]
    relative = float(error[heavy] @ weights[1:][heavy]) + below * min(1.0, float(weights[0]))
    share *= math.exp(h)
    return _Step(start, times, tilted / moment, np.array(logs), share, relative, above)


def _profile(
    steps: Sequence[_Step], thetas: Array, window: tuple[float, float], h: float, delta: float
) -> Profile:
    """The composition of the steps on the window of losses."""
    first, count = math.floor(window[0] / h), math.ceil((window[1] - window[0]) / h) + 2
    _check_size(count)
    size = fft.next_fast_len(count, real=True)
    masses, noise = _convolve(steps, size)
    masses = np.roll(masses, (sum(step.times * step.start for step in steps) - first) % size)
    losses = h * np.arange(first, first + size, dtype=float)
    logs = np.sum([step.times * step.log_moments for step in steps], axis=0)
    # tilting back: P-mass = tilted mass E[e^(theta L)] e^(-theta l)
    weights = np.exp(np.minimum(logs[0] - thetas[0] * losses, 700))
    ends = h * np.array([first, first + size - 1])
    outside = np.exp(np.minimum(logs[1:] - logs[0] - (thetas[1:] - thetas[0]) * ends, 0)).sum()
    relative = outside * _largest_term(thetas[0]) + sum(step.times * step.error for step in steps)
    relative += noise * _sum_of_terms(thetas[0] * h, h, size)
    hockey_stick, within = _hockey_stick(masses * weights, h)
    share = sum(step.times * step.share for step in steps)
    return Profile(
        losses,
        hockey_stick,
        relative * weights + share * within,
        above=sum(step.times * step.above for step in steps),
        shift=rounding(h, sum(step.times for step in steps), delta * _TAIL),
        chance=delta * _TAIL,
    )


def _check_size(points: int) -> None:
    if points > _LARGEST:
        raise ValueError(
            f"spacing must leave at most {_LARGEST:,} points on a grid, got {points:,}; "
            "take a larger spacing"
        )


def _convolve(steps: Sequence[_Step], size: int) -> tuple[Array, float]:
    """The circular convolution of all steps, and a bound on the round-off in each value.

    A transform of masses that sum to 1 errs by at most (2 log2(size) + 4) units in each value,
    and the power T of a value z by T |z|^(T-1) times as much.
    """
    unit = (2 * math.log2(size) + 4) * float(np.finfo(float).eps)
    spectra = [fft.rfft(_fold(step.tilted, size)) for step in steps]
    squares = [np.maximum(np.abs(z) ** 2, 1e-300) for z in spectra]
    log_square = sum(s.times * np.log(q) for s, q in zip(steps, squares, strict=True))
    kept = np.flatnonzero(log_square > -160)  # the others are below e^-80
    product = np.ones(len(kept), dtype=complex)
    slope = np.zeros(len(kept))
    for step, z, square in zip(steps, spectra, squares, strict=True):
        product *= z[kept] ** step.times
        slope += step.times / np.sqrt(square[kept])
    total = np.zeros(len(spectra[0]), dtype=complex)
    total[kept] = product
    size_error = np.abs(product) @ (slope + sum(step.times for step in steps))
    masses = np.maximum(fft.irfft(total, size), 0)
    return masses, unit * (1 + 2 * float(size_error) / size) + math.exp(-80)


def _fold(masses: Array, size: int) -> Array:
    """The masses on a circle of ``size`` points."""
    turns = -(-len(masses) // size)
    return np.pad(masses, (0, turns * size - len(masses))).reshape(turns, size).sum(axis=0)


def _hockey_stick(masses: Array, h: float) -> tuple[Array, Array]:
    """delta at each loss, the sum over j > i of masses[j] (1 - e^-(j-i)h), and that of the rest.

    As 1 - e^-nh = (1 - e^-h) (1 + e^-h + ... + e^-(n-1)h), with S[i] the mass above loss i,
    delta[i] = (1 - e^-h) S[i] + e^-h delta[i+1]: nothing cancels. The rest, S[i] - delta[i], is
    how fast delta falls with epsilon.
    """
    above = np.append(0.0, np.cumsum(masses[:0:-1]))  # last loss first
    delta = signal.lfilter([-math.expm1(-h)], [1.0, -math.exp(-h)], above)
    return delta[::-1], (above - delta)[::-1]


def _largest_term(theta: float) -> float:
    """The maximum over x > 0 of e^(-theta x) (1 - e^-x)."""
    return math.exp(-theta * math.log1p(1 / theta)) / (1 + theta) if theta > 0 else 1.0


def _sum_of_terms(slope: float, h: float, size: int) -> float:
    """Sum over j = 1, 2, ..., size of e^(-slope j) (1 - e^(-h j)), or a little more."""
    if slope * size < 1e-3:
        return float(size)
    return min(float(size), 1 / math.expm1(slope) - 1 / math.expm1(slope + h))
