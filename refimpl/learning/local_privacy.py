"""Local differential privacy: each participant makes its examples noisy before it hands them over.

Every example is protected by itself, against everybody, the server first. With k features,

    x' = clip(x, low, high) + Laplace(k (high - low) / epsilon_features) in each feature,
    y' = y, or with the chance of k-ary randomised response another class,

and a number to predict is clipped to ``label_range`` and gets Laplace noise likewise. One example
costs epsilon_features + epsilon_label in all, delta = 0, however long the server trains.

Neighbours: one example replaced by any other. How many examples there are is not protected,
nor what the scaling of measurements tells that was agreed before (see ``data``).
Sources: Dwork, McSherry, Nissim and Smith, TCC 2006 (Laplace); Kairouz, Oh and Viswanath, NeurIPS
2014 (k-ary randomised response); the sum of both is basic composition.
"""

import math
from dataclasses import dataclass

import numpy as np

from refimpl.arithmetic.randomness import CryptoGenerator
from refimpl.dp import mechanisms, randomized_response
from refimpl.learning.model import Model
from refimpl.learning.noise import noise_of
from refimpl.learning.task import Examples


@dataclass(frozen=True, kw_only=True)
class LocalDP:
    """What an example is made into, and what that costs.

    ``low`` and ``high``: the range of a feature, public, to which features are clipped; likewise
    ``label_range`` of a number to predict. ``seed`` gives noise that repeats itself, for teaching
    and tests; IT PROTECTS NOBODY. Raises ValueError for numbers out of range.
    """

    epsilon_features: float
    epsilon_label: float
    low: float = 0.0
    high: float = 1.0
    label_range: tuple[float, float] = (-3.0, 3.0)
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("epsilon_features", "epsilon_label"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name, (low, high) in (
            ("low and high", (self.low, self.high)),
            ("label_range", self.label_range),
        ):
            if not -math.inf < low < high < math.inf:
                raise ValueError(f"{name} must be finite and rising, got {low}, {high}")

    @property
    def total(self) -> float:
        """The epsilon of one example."""
        return self.epsilon_features + self.epsilon_label

    def epsilon(self, delta: float = 0.0) -> float:
        """The epsilon of one example, at any delta: the noise needs none."""
        if not 0 <= delta < 1:
            raise ValueError(f"delta must be at least 0 and below 1, got {delta}")
        return self.total

    def generator(self, party: str) -> CryptoGenerator:
        """Where the noise of one party comes from; no two share one."""
        return noise_of(party, self.seed)

    def randomise(
        self, examples: Examples, model: Model, rng: CryptoGenerator | None = None
    ) -> Examples:
        """The examples as they may leave their owner, for a model that learns from them."""
        model.check_inputs(examples.x)
        model.check_labels(examples.y)
        x = _noisy(examples.x, self.low, self.high, self.epsilon_features, rng)
        if model.objective == "squared error":
            low, high = self.label_range
            y = _noisy(examples.y[:, None], low, high, self.epsilon_label, rng)[:, 0]
            return Examples(x, y)
        if model.outputs < 2:
            raise ValueError(f"labels must be of at least 2 classes, got {model.outputs}")
        answers = randomized_response.respond(
            examples.y, epsilon=self.epsilon_label, categories=model.outputs, rng=rng
        )
        return Examples(x, np.asarray(answers, np.int64))


def _noisy(
    values: np.ndarray, low: float, high: float, epsilon: float, rng: CryptoGenerator | None
) -> np.ndarray:
    """Rows (n, k), each clipped to [low, high]^k and made epsilon-DP by itself, as float64.

    Replacing one row moves the answer by k (high - low) at most in the L1 norm.
    """
    clipped = np.clip(np.asarray(values, np.float64), low, high)
    sensitivity = values.shape[1] * (high - low)
    return mechanisms.laplace(clipped, sensitivity=sensitivity, epsilon=epsilon, rng=rng)
