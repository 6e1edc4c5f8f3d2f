"""What differential privacy does to the contribution of a client, and to the sum of all.

Client level (DP-FedAvg): in each round each client clips what it adds to the model, its update, to
the L2 norm ``clipping_norm`` = S, noise of standard deviation noise_multiplier · S is added to the
sum, and the sum is divided by a public number of clients:

    mean = (Σ_k min(1, S / ‖u_k‖) u_k + N(0, (noise_multiplier · S)² I)) / clients

Source: McMahan, Ramage, Talwar and Zhang, ICLR 2018, algorithm 1 (here all clients take part in
each round, with equal weights). Neighbours: all examples of one client are there, or its update is
zero. Whoever sees all models learns of any one client no more than ``epsilon`` says. A client that
takes part with other examples, one fewer say, moves a sum by 2 S: half the noise multiplier.

- ``CentralGaussian``: the collector adds the noise. It is trusted: it sees the sum without noise,
  and under ``aggregation.Plain`` each update.
- ``DistributedGaussian``: each client adds a part of the noise before an aggregation hides it
  within the sum. So the collector too is an adversary, with up to ``colluders`` clients.
- ``LocalGaussian``: each client adds all the noise that it needs by itself. Everybody else is an
  adversary, whatever aggregates; the sum of n updates has n times the variance.

Noise comes from a cryptographic generator. ``seed`` gives one that repeats itself, for teaching
and tests; IT PROTECTS NOBODY.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from refimpl.arithmetic.checks import whole
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.dp import accounting, clipping, mechanisms, zcdp
from refimpl.learning.noise import noise_of

Vector = NDArray[np.floating]


@dataclass(frozen=True)
class Terms:
    """What everybody knows of a run: ``clients``; ``least`` of them are in each sum; ``size`` of a
    vector; ``rounds``; ``encoding``, the fixed point of the aggregation, or None if it has none;
    ``withstood``, how many clients may work with the collector, or None if it does not say.
    """

    clients: int
    least: int
    size: int
    rounds: int
    encoding: FixedPoint | None = None
    withstood: int | None = None


class Privacy(Protocol):
    """Acts on what clients contribute, and on the sum."""

    def check(self, terms: Terms) -> None:
        """Raise ValueError, saying what to do, if no promise can be kept on these terms."""
        ...

    def generator(self, party: str) -> CryptoGenerator:
        """Where the noise of one party comes from; no two share one."""
        ...

    def contribute(self, update: Vector, terms: Terms, rng: CryptoGenerator) -> Vector:
        """A client's part: what it hands to the aggregation in place of ``update``."""
        ...

    def release(self, total: Vector, terms: Terms, rng: CryptoGenerator) -> Vector:
        """The collector's part: the sum of all updates as it may be used."""
        ...

    def epsilon(self, delta: float, terms: Terms) -> float:
        """The epsilon of the whole run at this delta, for one client."""
        ...


@dataclass(frozen=True, kw_only=True)
class _ClientLevel:
    clipping_norm: float = 1.0
    noise_multiplier: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("clipping_norm", "noise_multiplier"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")

    def generator(self, party: str) -> CryptoGenerator:
        """Where the noise of one party comes from; no two share one."""
        return noise_of(party, self.seed)

    def release(self, total: Vector, terms: Terms, rng: CryptoGenerator) -> Vector:
        """The sum as it is: it has its noise."""
        return total

    def epsilon(self, delta: float, terms: Terms) -> float:
        """Rounds of the Gaussian mechanism on all clients: no sampling, no amplification."""
        return accounting.epsilon(
            noise_multiplier=self.noise_multiplier,
            sample_rate=1.0,
            steps=terms.rounds,
            delta=delta,
        )


@dataclass(frozen=True, kw_only=True)
class CentralGaussian(_ClientLevel):
    """Clients clip, the collector adds the noise to the sum: see the module."""

    def check(self, terms: Terms) -> None:
        """Raise ValueError if a clipped update does not fit the aggregation's encoding."""
        bound = math.inf if terms.encoding is None else terms.encoding.bound
        if self.clipping_norm > bound:
            raise ValueError(
                f"clipping_norm must be at most the aggregation's bound={bound}, "
                f"got {self.clipping_norm}: clip more, or raise the bound"
            )

    def sensitivity(self, terms: Terms) -> float:
        """Of the sum, in the L2 norm: S, and what rounding to the encoding can add."""
        unit = 0.0 if terms.encoding is None else terms.encoding.unit
        return self.clipping_norm + math.sqrt(terms.size) * unit / 2

    def contribute(self, update: Vector, terms: Terms, rng: CryptoGenerator) -> Vector:
        """The update, clipped; shape (size,)."""
        return clipping.vector(update, bound=self.clipping_norm)

    def release(self, total: Vector, terms: Terms, rng: CryptoGenerator) -> Vector:
        """The sum with noise, on a public grid."""
        sensitivity = self.sensitivity(terms)
        sigma = self.noise_multiplier * sensitivity
        return mechanisms.gaussian(total, sensitivity=sensitivity, sigma=sigma, rng=rng)


@dataclass(frozen=True, kw_only=True)
class LocalGaussian(_ClientLevel):
    """Clients clip and add the noise, before anything leaves them: see the module.

    In gossip there is no sum to hide in, so this is the client level there. The account counts all
    that a client sends as seen by all others: none of the amplification by distance that some
    analyses of gossip grant.
    """

    def check(self, terms: Terms) -> None:
        """Raise ValueError if the aggregation encodes: noise has no bound, and gains nothing."""
        if terms.encoding is not None:
            raise ValueError(
                "LocalGaussian must come with aggregation.Plain: its noise has no bound that an "
                "encoding could hold; under a protected sum take DistributedGaussian"
            )

    def contribute(self, update: Vector, terms: Terms, rng: CryptoGenerator) -> Vector:
        """The update, clipped, with noise, on a public grid, in the type of ``update``."""
        clipped = clipping.vector(update, bound=self.clipping_norm)
        sigma = self.noise_multiplier * self.clipping_norm
        noisy = mechanisms.gaussian(clipped, sensitivity=self.clipping_norm, sigma=sigma, rng=rng)
        return noisy.astype(clipped.dtype)  # rounding what is private keeps it so


@dataclass(frozen=True, kw_only=True)
class DistributedGaussian(_ClientLevel):
    """Each client adds its part of discrete Gaussian noise, in the integers that are summed up.

    In units of the encoding: a client clips, rounds at random to integers, and adds discrete
    Gaussian noise of variance sigma² / (t - c), where sigma = noise_multiplier · S, t is the least
    number of clients in a sum, and c = ``colluders``, who may leave out their noise or subtract
    it. So the t - c others alone give the sum its noise; it has more where more take part.

    Rounding is repeated while it makes the vector longer than ``sensitivity`` allows. The sum of
    t - c discrete Gaussians is so close to one that the difference, tau, is in the account.
    Source: Kairouz, Liu and Steinke, ICML 2021, algorithm 1 and theorem 1, with beta = e^(-1/2),
    without their rotation and their wrapping: a value with its noise that exceeds the encoding's
    bound is an error, whose chance, ``overflow_chance``, must stay below ``failure`` for the whole
    run; (1 + e^epsilon) times it is taken from delta.

    Adversary: the collector and c clients, who pool all they see. Needs an aggregation that
    reveals sums of at least t clients only, against those same parties.
    """

    colluders: int = 0
    failure: float = 1e-9

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("colluders", self.colluders)
        if not 0 < self.failure < 1:
            raise ValueError(f"failure must be between 0 and 1, got {self.failure}")

    def check(self, terms: Terms) -> None:
        """Raise ValueError for noise below a unit, or too wide for the encoding."""
        if terms.encoding is None:
            raise ValueError(
                "DistributedGaussian needs an aggregation that hides single contributions, such "
                "as SecureAggregation: each carries only its part of the noise"
            )
        if self._honest(terms) < 1:
            raise ValueError(
                f"colluders must be fewer than the least={terms.least} clients of a sum, "
                f"got {self.colluders}"
            )
        if terms.withstood is not None and self.colluders > terms.withstood:
            raise ValueError(
                f"colluders must be at most {terms.withstood}, all that the aggregation "
                f"withstands, got {self.colluders}"
            )
        sigma = self.sigma(terms)
        if sigma < 1:
            raise ValueError(
                f"the noise of a client must be at least one unit of the encoding, got {sigma:.3g} "
                "units: take more bits or a smaller bound in the aggregation, or more noise"
            )
        chance = self.overflow_chance(terms)
        if chance > self.failure:
            raise ValueError(
                f"a value with its noise must stay within bound={terms.encoding.bound} but for a "
                f"chance of failure={self.failure:g}, got {chance:.2g}: raise the bound of the "
                "aggregation (and its bits), or lower clipping_norm or noise_multiplier"
            )

    def sigma(self, terms: Terms) -> float:
        """Of one client's noise, in units of the encoding."""
        total = self.noise_multiplier * self.clipping_norm / _unit(terms)
        return total / math.sqrt(self._honest(terms))

    def sensitivity(self, terms: Terms) -> float:
        """The L2 norm of a rounded update, in units: Δ of theorem 1, at most.

        Δ² = min(c² + d/4 + sqrt(2 log(1/beta)) (c + sqrt(d)/2), (c + sqrt(d))²), c = S / unit.
        """
        c, root = self.clipping_norm / _unit(terms), math.sqrt(terms.size)
        return math.sqrt(min(c**2 + root**2 / 4 + c + root / 2, (c + root) ** 2))

    def overflow_chance(self, terms: Terms) -> float:
        """An upper bound on the chance that any value of any client exceeds the encoding.

        By the tail of a discrete Gaussian, Pr[X ≥ x] ≤ exp(-x² / (2 sigma²)) (Canonne, Kamath and
        Steinke, NeurIPS 2020, from their lemma on its moment generating function).
        """
        assert terms.encoding is not None
        room = terms.encoding.offset - self.clipping_norm / terms.encoding.unit - 1
        if room <= 0:
            return 1.0
        values = terms.size * terms.clients * terms.rounds
        return min(1.0, 2 * values * math.exp(-(room**2) / (2 * self.sigma(terms) ** 2)))

    def contribute(self, update: Vector, terms: Terms, rng: CryptoGenerator) -> Vector:
        """Clipped, rounded, noisy: float64 multiples of the unit, which the encoding keeps."""
        unit = _unit(terms)
        clipped = clipping.vector(np.asarray(update, np.float64), bound=self.clipping_norm)
        rounded = round_at_random(clipped / unit, longest=self.sensitivity(terms), rng=rng)
        noise = mechanisms.discrete_gaussian(terms.size, sigma=self.sigma(terms), rng=rng)
        return (rounded + noise) * unit

    def epsilon(self, delta: float, terms: Terms) -> float:
        """By zero-concentrated DP; an overflow is a failure that delta has to hold, see ``zcdp``.

        rho = rounds · (Δ / sigma + tau sqrt(d))² / 2 (theorem 1, the bound that holds always).
        """
        own, honest = self.sigma(terms), self._honest(terms)
        step = self.sensitivity(terms) / (own * math.sqrt(honest))
        step += sum_distance(own, honest) * math.sqrt(terms.size)
        rho = terms.rounds * step**2 / 2
        return zcdp.epsilon(rho, delta, failure=self.overflow_chance(terms))

    def _honest(self, terms: Terms) -> int:
        return terms.least - self.colluders


def sum_distance(sigma: float, summands: int) -> float:
    """tau: how far log-probabilities of a sum of discrete Gaussians are from those of one.

    tau = 10 Σ_(k=1)^(n-1) exp(-2 pi² sigma² k / (k + 1)), sigma in units (KLS 2021, theorem 1).
    """
    k = np.arange(1, summands)
    return float(10 * np.exp(-2 * math.pi**2 * sigma**2 * k / (k + 1)).sum())


def round_at_random(values: Vector, *, longest: float, rng: CryptoGenerator) -> Vector:
    """Each value to a neighbouring integer, right on average, again until the norm ≤ ``longest``.

    With KLS's bound a try succeeds with chance 1 - e^(-1/2) at least.
    """
    low = np.floor(values)
    for _ in range(200):  # fails by chance below (e^(-1/2))^200 = 4e-44
        rounded = low + (rng.uniform(values.shape) < values - low)
        if np.linalg.norm(rounded) <= longest:
            return rounded
    raise ValueError(f"longest must leave room for rounding, got {longest}")


def _unit(terms: Terms) -> float:
    assert terms.encoding is not None
    return terms.encoding.unit
