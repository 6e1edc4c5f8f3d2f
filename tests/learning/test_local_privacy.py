"""Local privacy of examples: noise by its law, labels by theirs, and what is refused."""

import math

import numpy as np
import pytest
from scipy import stats

from refimpl import learning
from refimpl.arithmetic import randomness
from refimpl.learning.local_privacy import LocalDP

MODEL = learning.mlp(4, (), 3)


def examples(n, rng):
    return learning.Examples(rng.uniform(size=(n, 4)), rng.integers(3, size=n))


def check_laplace(noise, scale):
    """The sum of magnitudes is Gamma(n); each test fails by chance below 2e-7."""
    noise = noise.astype(float)
    assert 1e-7 < stats.gamma.cdf(np.abs(noise / scale).sum(), len(noise)) < 1 - 1e-7
    assert stats.kstest(noise / scale, "laplace").pvalue > 1e-7


def test_features_get_laplace_noise_of_the_stated_scale():
    """k (high - low) / epsilon = 4; catches a scale wrong by 6 in 100 and noise per batch of k."""
    given = examples(5000, np.random.default_rng(0))
    chosen = LocalDP(epsilon_features=1.0, epsilon_label=1.0)
    noisy = chosen.randomise(given, MODEL, randomness.seeded(0))
    noise = (noisy.x - given.x).ravel()
    check_laplace(noise, 4.0)
    for wrong in (0.94, 1.06, 0.25, 0.5):
        with pytest.raises(AssertionError):
            check_laplace(noise * wrong, 4.0)
    rows = np.corrcoef(noisy.x - given.x, rowvar=False)
    assert np.abs(rows - np.eye(4)).max() < 0.08  # features do not share their noise


def test_labels_are_randomised_response():
    """Truth at chance e / (e + 2) = 0.576; half the epsilon gives 0.452: 17 deviations away."""
    given = examples(5000, np.random.default_rng(1))
    chosen = LocalDP(epsilon_features=1.0, epsilon_label=1.0)
    noisy = chosen.randomise(given, MODEL, randomness.seeded(1))
    true = (noisy.y == given.y).mean()
    expected = math.e / (math.e + 2)
    assert abs(true - expected) < 5.4 * math.sqrt(expected * (1 - expected) / 5000)
    assert noisy.y.min() == 0 and noisy.y.max() == 2


def test_values_outside_the_range_are_clipped_first():
    x = np.array([[9.0, -9.0, 0.5, 1.0]] * 4000)
    given = learning.Examples(x, np.zeros(4000, np.int64))
    chosen = LocalDP(epsilon_features=8.0, epsilon_label=1.0)
    mean = chosen.randomise(given, MODEL, randomness.seeded(2)).x.mean(axis=0)
    # scale 0.5, deviation 0.71
    np.testing.assert_allclose(mean, [1.0, 0.0, 0.5, 1.0], atol=5.6 * 0.71 / math.sqrt(4000))


def test_a_number_to_predict_gets_laplace_noise_too():
    model = learning.mlp(4, (), 1, objective="squared error")
    rng = np.random.default_rng(3)
    given = learning.Examples(rng.uniform(size=(5000, 4)), rng.uniform(-1, 1, size=5000))
    chosen = LocalDP(epsilon_features=1.0, epsilon_label=2.0, label_range=(-1.0, 1.0))
    noisy = chosen.randomise(given, model, randomness.seeded(3))
    noise = noisy.y.astype(float) - given.y
    check_laplace(noise, 1.0)
    with pytest.raises(AssertionError):
        check_laplace(noise * 0.9, 1.0)


def test_the_price_is_the_sum():
    assert LocalDP(epsilon_features=3.0, epsilon_label=0.5).epsilon(1e-5) == 3.5
    with pytest.raises(ValueError, match="delta must be"):
        LocalDP(epsilon_features=3.0, epsilon_label=0.5).epsilon(1.0)


def test_parties_do_not_share_noise():
    chosen = LocalDP(epsilon_features=1.0, epsilon_label=1.0, seed=5)
    assert chosen.generator("a").bytes(8) == chosen.generator("a").bytes(8)
    assert chosen.generator("a").bytes(8) != chosen.generator("b").bytes(8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon_features": 0}, "epsilon_features must be positive"),
        ({"epsilon_label": math.inf}, "epsilon_label must be positive and finite"),
        ({"low": 1.0}, "low and high must be finite and rising"),
        ({"label_range": (1.0, math.nan)}, "label_range must be finite and rising"),
    ],
)
def test_bad_settings_are_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        LocalDP(**{"epsilon_features": 1.0, "epsilon_label": 1.0, **change})


def test_nan_features_are_an_error():
    given = learning.Examples(np.full((2, 4), np.nan), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="must be finite"):
        LocalDP(epsilon_features=1.0, epsilon_label=1.0).randomise(given, MODEL)
