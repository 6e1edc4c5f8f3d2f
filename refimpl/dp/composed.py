"""Different mechanisms, composed: the types and the work behind ``accounting``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from refimpl.arithmetic.checks import whole
from refimpl.dp import composition, pld, rdp, zcdp
from refimpl.dp.pairs import GaussianPair, LaplacePair, Pair, randomized_response

Accountant = Literal["pld", "rdp", "moments", "zcdp", "advanced", "basic"]
Neighbours = Literal["add-remove", "replace-one"]

_SAMPLERS = {
    "shuffle": "epochs over shuffled data do not amplify privacy as Poisson samples do, and no "
    "tight account of them is known; draw Poisson samples, or account for sample_rate=1",
    "fixed-size": "batches of a fixed size are no Poisson samples, and can cost far more privacy "
    "(Lebeda, Regehr, Kamath and Steinke, 2024); draw Poisson samples",
}


@dataclass(frozen=True)
class Gaussian:
    """``steps`` times Gaussian noise, each time on a fresh Poisson sample (1: on all records)."""

    noise_multiplier: float
    sample_rate: float = 1.0
    steps: int = 1


@dataclass(frozen=True)
class Laplace:
    """``steps`` times Laplace noise; each is 1/noise_multiplier-DP where a record is added.

    ``noise_multiplier`` is the noise's scale over the largest contribution of a record.
    """

    noise_multiplier: float
    steps: int = 1


@dataclass(frozen=True)
class RandomizedResponse:
    """``steps`` answers of each person, each epsilon-DP, by k-ary randomised response."""

    epsilon: float
    categories: int = 2
    steps: int = 1


@dataclass(frozen=True)
class ApproximateDP:
    """``steps`` mechanisms of which only this is known: each is (epsilon, delta)-DP."""

    epsilon: float
    delta: float = 0.0
    steps: int = 1


Mechanism = Gaussian | Laplace | RandomizedResponse | ApproximateDP


def compose(
    mechanisms: Sequence[Mechanism],
    *,
    sampler: str = "poisson",
    neighbours: Neighbours = "add-remove",
) -> "Composition":
    """The adaptive composition of the mechanisms, ready to be asked for epsilon or delta.

    Raises ValueError for parameters out of range, for a sampler other than "poisson", and for
    randomised response with "add-remove": who is absent gives no answer, so its promise is about
    answers that change.
    """
    if sampler != "poisson":
        reason = _SAMPLERS.get(sampler, "no account of it is known here")
        raise ValueError(f"sampler must be 'poisson', got {sampler!r}: {reason}")
    if neighbours not in get_args(Neighbours):
        raise ValueError(f"neighbours must be one of {get_args(Neighbours)}, got {neighbours!r}")
    if not mechanisms:
        raise ValueError("mechanisms must be at least one, got none")
    parts = [(_pairs(m, neighbours), whole("steps", m.steps, 1)) for m in mechanisms]
    directions = [
        tuple((pairs[i % len(pairs)], steps) for pairs, steps in parts)
        for i in range(max(len(pairs) for pairs, _ in parts))
    ]
    known = [m for m in mechanisms if isinstance(m, ApproximateDP)]
    lost = -math.expm1(sum(m.steps * math.log1p(-m.delta) for m in known))
    return Composition(tuple(directions), lost)


@dataclass(frozen=True)
class Composition:
    """What ``compose`` returns.

    ``directions`` are the compositions of dominating pairs to take the worst of, each a sequence of
    (pair, steps); with chance at most ``lost``, an ``ApproximateDP`` step reveals everything.
    """

    directions: tuple[tuple[tuple[Pair, int], ...], ...]
    lost: float = 0.0

    def epsilon(self, delta: float, *, accountant: Accountant = "pld") -> float:
        """An upper bound on epsilon at this delta."""
        _check_accountant(accountant)
        remaining = self._remaining(delta)
        if self._used() <= remaining:
            return 0.0
        if accountant == "pld":
            return self._pld_epsilon(remaining)
        steps = self.directions[0]  # removing a record: in these accounts never the better one
        if accountant == "rdp":
            return rdp.epsilon(rdp.ORDERS, _divergences(steps, rdp.ORDERS), remaining)[0]
        if accountant == "moments":
            moments = _divergences(steps, rdp.MOMENTS)
            return rdp.epsilon(rdp.MOMENTS, moments, remaining, conversion="classic")[0]
        if accountant == "zcdp":
            return zcdp.epsilon(_rho(steps), remaining)
        return _by_theorem(self.directions, remaining, accountant)

    def delta(self, epsilon: float, *, accountant: Accountant = "pld") -> float:
        """An upper bound on delta at this epsilon, for "pld", "rdp" and "zcdp"."""
        _check_accountant(accountant)
        check_number("epsilon", epsilon, 0)
        steps = self.directions[0]
        if accountant == "pld":
            bound = max(_pld_delta(direction, epsilon) for direction in self.directions)
        elif accountant == "rdp":
            bound = rdp.delta(rdp.ORDERS, _divergences(steps, rdp.ORDERS), epsilon)[0]
        elif accountant == "zcdp":
            bound = zcdp.delta(_rho(steps), epsilon)
        else:
            raise ValueError(
                f"accountant must be 'pld', 'rdp' or 'zcdp' for a delta, got {accountant!r}"
            )
        return min(1.0, bound + (1 - bound) * self.lost)

    def epsilon_interval(self, delta: float) -> tuple[float, float]:
        """Certified bounds (lower, upper) on the true epsilon, by privacy-loss distributions.

        The best bounds of two grids, that of ``epsilon`` and one 8 times finer. With an
        ``ApproximateDP`` step, the true epsilon is that of the worst step of which this is known.
        """
        remaining = self._remaining(delta)
        if self._used() <= remaining:
            return 0.0, 0.0
        lower = upper = 0.0
        for steps in self.directions:
            profiles = [pld.compose(steps, delta=remaining, scale=scale) for scale in (1, 1 / 8)]
            lower = max(lower, *(profile.epsilon_lower(remaining) for profile in profiles))
            bounds = [profile.epsilon(remaining) for profile in profiles]
            upper = max(upper, min(_maximum(steps), *bounds))
        return min(lower, upper), upper

    def _used(self) -> float:
        """The chance that a record is used at all: a delta at which epsilon is 0."""
        rates = [(getattr(pair, "rate", 1.0), times) for pair, times in self.directions[0]]
        if any(rate == 1 for rate, _ in rates):
            return 1.0
        return -math.expm1(sum(times * math.log1p(-rate) for rate, times in rates))

    def _remaining(self, delta: float) -> float:
        """The delta left for losses that are finite."""
        if not 0 < delta < 1:
            raise ValueError(f"delta must be between 0 and 1, both excluded, got {delta!r}")
        if delta <= self.lost:
            raise ValueError(
                f"delta must be above {self.lost:.6g}, what the ApproximateDP steps cost alone, "
                f"got {delta!r}"
            )
        return (delta - self.lost) / (1 - self.lost)

    def _pld_epsilon(self, delta: float) -> float:
        """The worst direction; one that is clearly the better is only looked at coarsely."""
        worst = 0.0
        for steps in self.directions:
            for scale in (4.0, 1.0) if worst else (1.0,):
                bound = pld.compose(steps, delta=delta, scale=scale).epsilon(delta)
                bound = min(bound, _maximum(steps))
                if bound <= worst:
                    break
            worst = max(worst, bound)
        return worst


def _pairs(mechanism: Mechanism, neighbours: Neighbours) -> tuple[Pair, ...]:
    """The dominating pairs of a mechanism, one for each direction of the neighbours."""
    replace = neighbours == "replace-one"
    if isinstance(mechanism, Gaussian):
        sigma, rate = mechanism.noise_multiplier, mechanism.sample_rate
        check_number("noise_multiplier", sigma, 0)
        check_number("sample_rate", rate, 0, 1)
        if replace:
            return (GaussianPair(sigma, rate, above=True, below=True),)
        removed = GaussianPair(sigma, rate, above=True, below=False)
        added = GaussianPair(sigma, rate, above=False, below=True)
        return (removed,) if rate == 1 else (removed, added)
    if isinstance(mechanism, Laplace):
        check_number("noise_multiplier", mechanism.noise_multiplier, 0)
        return (LaplacePair((2 if replace else 1) / mechanism.noise_multiplier),)
    check_number("epsilon", mechanism.epsilon, 0)
    if isinstance(mechanism, RandomizedResponse):
        if not replace:
            raise ValueError(
                "neighbours must be 'replace-one' for randomised response, whose promise is about "
                f"a changed answer, got {neighbours!r}"
            )
        return (
            randomized_response(mechanism.epsilon, whole("categories", mechanism.categories, 2)),
        )
    if not 0 <= mechanism.delta < 1:
        raise ValueError(f"delta must be in [0, 1), got {mechanism.delta!r}")
    return (randomized_response(mechanism.epsilon),)


def _divergences(steps: Sequence[tuple[Pair, int]], orders: Sequence[float]) -> rdp.Array:
    return np.sum([times * rdp.curve(pair, orders) for pair, times in steps], axis=0)


def _rho(steps: Sequence[tuple[Pair, int]]) -> float:
    rho = 0.0
    for pair, times in steps:
        if isinstance(pair, GaussianPair):
            distance = pair.above + pair.below
            rho += times * zcdp.gaussian(noise_multiplier=pair.sigma / distance)
        else:
            rho += times * zcdp.pure(pair.maximum)
    return rho


def _maximum(steps: Sequence[tuple[Pair, int]]) -> float:
    return math.fsum(times * pair.maximum for pair, times in steps)


def _pld_delta(steps: Sequence[tuple[Pair, int]], epsilon: float) -> float:
    if epsilon >= _maximum(steps):
        return 0.0
    return pld.compose(steps, epsilon=epsilon).delta(epsilon)


def _by_theorem(
    directions: Sequence[Sequence[tuple[Pair, int]]], delta: float, accountant: Accountant
) -> float:
    """Basic or advanced composition of the (epsilon_i, delta_i) of each step."""
    noisy = sum(times for pair, times in directions[0] if isinstance(pair, GaussianPair))
    share = delta if accountant == "basic" else delta / 2
    epsilons, times = [], []
    for pairs in zip(*directions, strict=True):
        worst = max(
            pld.compose([(pair, 1)], delta=share / noisy).epsilon(share / noisy)
            if isinstance(pair, GaussianPair)
            else pair.maximum
            for pair, _ in pairs
        )
        if worst > 0:
            epsilons.append(worst)
            times.append(pairs[0][1])
    if not epsilons:
        return 0.0
    if accountant == "basic":
        return composition.basic(epsilons, times)
    return composition.advanced(epsilons, share if noisy else delta, times)


def _check_accountant(accountant: str) -> None:
    if accountant not in get_args(Accountant):
        raise ValueError(f"accountant must be one of {get_args(Accountant)}, got {accountant!r}")


def check_number(name: str, value: float, above: float, most: float = math.inf) -> None:
    if not (above < value <= most and math.isfinite(value)):
        rule = f"a finite number above {above}" if most == math.inf else f"in ({above}, {most}]"
        raise ValueError(f"{name} must be {rule}, got {value!r}")
