"""DP-SGD: each line of the algorithm against its formula, and the noise against its law.

Statistical tests say which fault they catch. Chance failures are below 1e-6 each.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from refimpl import learning
from refimpl.arithmetic import randomness
from refimpl.dp import accounting, mechanisms
from refimpl.learning import dp_sgd
from refimpl.learning.dp_sgd import DPSGD
from refimpl.learning.noise import SLACK, GaussianNoise

TASK = learning.digits(1, seed=0, examples_per_participant=60)
(DATA,) = TASK.data.values()


def train(rng="seeded", **changes):
    settings = DPSGD(**{"steps": 3, "sample_rate": 0.3, **changes})
    rng = randomness.seeded(5) if rng == "seeded" else rng
    return settings.train(TASK.model, TASK.initial_parameters(), DATA, rng=rng)


def test_without_noise_it_is_the_formula_by_hand():
    found = train(noise_multiplier=0, clipping_norm=0.8, expected_size=20, learning_rate=0.25)
    w = TASK.initial_parameters()
    for rows in dp_sgd.poisson_batches(60, 0.3, 3, rng=randomness.seeded(5)):
        total = np.zeros(len(w))
        for k in rows:
            g = learning.gradient(TASK.model, w, DATA.x[k : k + 1], DATA.y[k : k + 1])
            total += g * min(1, 0.8 / np.linalg.norm(g))
        w = (w - 0.25 * total / 20).astype(np.float32)
    np.testing.assert_allclose(found, w, atol=2e-6)
    assert np.abs(found - TASK.initial_parameters()).max() > 1e-3


def test_the_divisor_is_the_expected_size_of_a_batch():
    by_default = train(noise_multiplier=0)
    np.testing.assert_array_equal(by_default, train(noise_multiplier=0, expected_size=0.3 * 60))
    doubled = train(noise_multiplier=0, steps=1, expected_size=36)
    single = train(noise_multiplier=0, steps=1)
    start = TASK.initial_parameters()
    np.testing.assert_allclose((doubled - start) * 2, single - start, atol=1e-6)


@pytest.mark.parametrize("source", ["cryptographic", "torch"])
def test_an_empty_batch_adds_noise_of_the_stated_width(source):
    """Catches a deviation that is wrong by 8 in 100: half the noise at any odds."""
    rng = randomness.secure() if source == "cryptographic" else torch.Generator().manual_seed(3)
    settings = {"learning_rate": 1.0, "steps": 1, "sample_rate": 1e-9}  # nobody is drawn
    moved = train(rng, noise_multiplier=2.0, clipping_norm=0.5, expected_size=4, **settings)
    moved = (moved - TASK.initial_parameters()).astype(float)
    check_normal(moved, sigma=2.0 * 0.5 / 4)


def check_normal(values, sigma):
    """Mean, variance and shape of independent N(0, sigma²), two-sided 2e-7 each."""
    squares = np.square(values / sigma).sum()
    assert 1e-7 < stats.chi2.cdf(squares, len(values)) < 1 - 1e-7
    assert abs(values.mean()) * math.sqrt(len(values)) / sigma < stats.norm.isf(1e-7)
    assert stats.kstest(values / sigma, "norm").pvalue > 2e-7


def test_the_width_test_sees_small_faults():
    rng = np.random.default_rng(0)
    for factor in (0.5, 0.9, 1.1):
        with pytest.raises(AssertionError):
            check_normal(rng.normal(size=2410) * factor, sigma=1.0)


def test_noise_is_fresh_in_each_step_and_each_run():
    """Correlation of 2410 pairs: reused noise gives 1; above 0.11 has chance below 1e-7."""
    settings = DPSGD(noise_multiplier=1.0)
    zeros = torch.zeros(2410, dtype=torch.float64)
    for rng in (None, randomness.seeded(1), torch.Generator().manual_seed(1)):
        noise = settings.noise(2410, rng)
        first, second = noise.add(zeros), noise.add(zeros)
        correlation = np.corrcoef(first, second)[0, 1]
        assert abs(correlation) < 0.11
    idle = {"learning_rate": 1.0, "sample_rate": 1e-9, "expected_size": 1.0, "clipping_norm": 1.0}
    moved = train(randomness.seeded(2), steps=50, noise_multiplier=0.1, **idle)
    # reused noise would add up to a deviation of 5, not of 0.1 sqrt(50)
    check_normal((moved - TASK.initial_parameters()).astype(float), sigma=0.1 * math.sqrt(50))


def test_cryptographic_noise_lies_on_a_public_grid():
    """The same grid whatever the sum: no result tells which sum it came from."""
    rng = np.random.default_rng(1)
    grids = set()
    for scale in (0, 1e-3, 1, 100):
        total = torch.from_numpy(scale * rng.normal(size=500))
        noisy = DPSGD(clipping_norm=0.3).noise(500).add(total).numpy()
        # the largest power of two of which all results are multiples
        mantissas = [(np.frexp(v)[0] * 2**53, np.frexp(v)[1] - 53) for v in noisy if v]
        lowest = min(int(e) + (int(m) & -int(m)).bit_length() - 1 for m, e in mantissas)
        grids.add(lowest)
    assert len(grids) == 1


def test_a_poisson_batch_takes_each_row_on_its_own():
    """Sizes are binomial: batches of a fixed size, or shuffled ones, have no spread at all."""
    batches = list(dp_sgd.poisson_batches(200, 0.1, 2000, rng=randomness.seeded(0)))
    sizes = np.array([len(rows) for rows in batches])
    mean, spread = 20, math.sqrt(200 * 0.1 * 0.9)
    assert abs(sizes.mean() - mean) < 5.4 * spread / math.sqrt(2000)
    assert 0.84 < sizes.var() / spread**2 < 1.17  # 5 deviations of a sample variance
    seen = np.bincount(np.concatenate(batches), minlength=200)
    assert stats.chi2.sf(np.square(seen - 200).sum() / (2000 * 0.09), 200) > 1e-7
    assert all(np.array_equal(rows, np.unique(rows)) for rows in batches)


@pytest.mark.parametrize("rng", [None, torch.Generator().manual_seed(0)])
def test_a_sample_rate_of_one_takes_everybody(rng):
    (rows,) = dp_sgd.poisson_batches(7, 1, 1, rng=rng)
    assert rows.tolist() == [*range(7)]


def test_a_seed_repeats_a_run_and_none_does_not():
    np.testing.assert_array_equal(train(), train())
    assert not np.array_equal(train(None), train(None))


def test_any_module_takes_the_same_noisy_mean():
    module = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 3))
    x, y = torch.ones(5, 6), torch.tensor([0, 1, 2, 0, 1])

    def losses(outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="none")

    def gradient(x, y, noise, size):
        return dp_sgd.private_gradient(
            module,
            x,
            y,
            losses,
            clipping_norm=0.5,
            noise_multiplier=noise,
            expected_size=size,
            rng=randomness.seeded(1),
        )

    quiet, noisy = gradient(x, y, 0.0, 10), gradient(x, y, 3.0, 10)
    noise = gradient(x[:0], y[:0], 3.0, 10)
    assert [part.shape for part in noise] == [p.shape for p in module.parameters()]
    for a, b, c in zip(quiet, noisy, noise, strict=True):
        assert c.abs().max() > 0
        torch.testing.assert_close(b, a + c, rtol=0, atol=1e-4)
    for a, b in zip(quiet, gradient(x, y, 0.0, 20), strict=True):
        torch.testing.assert_close(a, 2 * b)


def test_it_states_what_the_accountant_says():
    settings = DPSGD(noise_multiplier=1.5, sample_rate=0.04, steps=2250)
    # the value that Opacus prints for its RDP accountant
    assert settings.epsilon(1e-5, accountant="rdp") == pytest.approx(7.32911117, rel=1e-6)
    given = {"noise_multiplier": 1.5, "sample_rate": 0.04, "steps": 2250, "delta": 1e-5}
    assert settings.epsilon(1e-5) == accounting.epsilon(**given)
    assert DPSGD(noise_multiplier=0).epsilon(1e-5) == math.inf


def test_it_learns():
    task = learning.digits(1, seed=0)
    settings = DPSGD(learning_rate=1.0, sample_rate=0.1, steps=150, noise_multiplier=1.0)
    (data,) = task.data.values()
    w = settings.train(task.model, task.initial_parameters(), data, rng=randomness.seeded(0))
    assert task.accuracy(w) > 0.8
    cnn = learning.digits(1, seed=0, model="cnn")
    w = settings.train(cnn.model, cnn.initial_parameters(), data, rng=randomness.seeded(0))
    assert cnn.accuracy(w) > 0.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be positive"),
        ({"clipping_norm": math.inf}, "clipping_norm must be positive and finite"),
        ({"noise_multiplier": -1}, "noise_multiplier must be finite and at least 0"),
        ({"noise_multiplier": math.nan}, "noise_multiplier must be finite"),
        ({"sample_rate": 0}, "sample_rate must be above 0"),
        ({"sample_rate": 1.1}, "sample_rate must be above 0 and at most 1"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"expected_size": 0}, "expected_size must be positive"),
    ],
)
def test_bad_settings_are_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        DPSGD(**change)


def test_bad_examples_are_an_error():
    settings, start = DPSGD(sample_rate=1.0), TASK.initial_parameters()
    with pytest.raises(ValueError, match="at least one"):
        settings.train(TASK.model, start, DATA.take(np.arange(0)))
    with pytest.raises(ValueError, match="parameters must be"):
        settings.train(TASK.model, start[:-1], DATA)
    spoilt = DATA.x.copy()
    spoilt[3, 4] = np.nan
    with pytest.raises(FloatingPointError, match="must be finite"):
        settings.train(TASK.model, start, learning.Examples(spoilt, DATA.y))


def test_a_noisy_sum_is_the_release_of_the_mechanism_bit_for_bit():
    """With the sensitivity raised for rounding, and in the type of the sum."""
    total = torch.linspace(-2, 2, 50)
    noise = GaussianNoise(50, clipping_norm=0.5, noise_multiplier=2.0, rng=randomness.seeded(6))
    sensitivity = 0.5 * (1 + SLACK)
    expected = mechanisms.gaussian(
        total.numpy(), sensitivity=sensitivity, sigma=2.0 * sensitivity, rng=randomness.seeded(6)
    )
    np.testing.assert_array_equal(noise.add(total).numpy(), expected.astype(np.float32))
