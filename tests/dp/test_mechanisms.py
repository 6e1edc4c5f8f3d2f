"""Releases on a grid: the noise, the grid, and that the noise covers what rounding adds.

The guarantee is tested in exact fractions, the noise by a test of fit. At 200,000 draws that finds
noise that is 3 % off, which the tests show.
"""

from fractions import Fraction

import numpy as np
import pytest
from diffprivlib import mechanisms as peer
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.dp import discrete, mechanisms
from tests.dp import exact_laws
from tests.dp.exact_laws import CHANCE, p_value, p_value_wide

DRAWS = 200_000
GRID = 2.0**-4


def width_of(mechanism, value, **arguments):
    """The width of the noise, in units of the grid, that a mechanism asks its sampler for."""
    widths = []

    def record(shape, *, rng=None, scale=None, sigma=None):
        widths.append(Fraction(scale or sigma))
        return np.zeros(shape, np.int64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mechanisms, "discrete_laplace", record)
        patch.setattr(discrete, "rounded_gaussian", record)
        mechanism(value, **arguments)
    return widths[0]


def neighbours(random, size, grid):
    """Two answers that rounding pushes apart: a hair below and above halves of the grid."""
    x = np.nextafter([(random.randint(-9, 9) + 0.5) * grid for _ in range(size)], -np.inf)
    y = np.nextafter(x + grid * random.choice([0, 0, 1e-3, 1, 2.5]), np.inf)
    y = np.maximum(y, np.nextafter(np.nextafter(x, np.inf), np.inf))
    distances = [abs(Fraction(a) - Fraction(b)) for a, b in zip(x, y, strict=True)]
    return x, distances, np.abs(np.rint(x / grid) - np.rint(y / grid))


PAIRS = (
    st.integers(1, 30),
    st.sampled_from([2.0**-6, 0.5, 1.0, 8.0]),
    st.sampled_from([0.01, 0.5, 3.0, 20.0]),
    st.randoms(use_true_random=False),
)


@given(*PAIRS)
def test_laplace_noise_covers_every_pair_of_neighbours(size, grid, epsilon, random):
    """|round(x) - round(y)|_1 / scale <= epsilon, in exact fractions."""
    x, distances, units = neighbours(random, size, grid)
    scale = width_of(mechanisms.laplace, x, sensitivity=sum(distances), epsilon=epsilon, grid=grid)
    assert Fraction(units.sum()) / scale <= Fraction(epsilon)


@given(*PAIRS)
def test_gaussian_noise_covers_every_pair_of_neighbours(size, grid, sigma, random):
    """|round(x) - round(y)|_2 / width <= |x - y|_2 / sigma, squared, in exact fractions."""
    x, distances, units = neighbours(random, size, grid)
    sensitivity = Fraction(float(sum(d**2 for d in distances)) ** 0.5 * (1 + 2**-50))
    width = width_of(mechanisms.gaussian, x, sensitivity=sensitivity, sigma=sigma, grid=grid)
    assert Fraction(np.square(units).sum()) / width**2 <= sensitivity**2 / Fraction(sigma) ** 2


def test_the_width_of_the_noise_is_as_stated():
    """Not more than the module's formula, either."""
    width = width_of(mechanisms.laplace, np.zeros(7), sensitivity=3, epsilon=0.5, grid=GRID)
    assert width == (3 * 16 + 7) * 2
    width = width_of(mechanisms.gaussian, np.zeros((3, 3)), sensitivity=3, sigma=5, grid=GRID)
    assert width == Fraction(5 * 16) * (3 + Fraction(3, 16)) / 3
    width = width_of(mechanisms.gaussian, 0, sensitivity=2, epsilon=1, delta=1e-5, grid=GRID)
    assert float(width) == pytest.approx(3.7306316 * (2 + 1 / 16) * 16, rel=1e-7)
    assert width_of(mechanisms.geometric, [3], sensitivity=2, epsilon=0.25) == 8


@pytest.mark.parametrize("size", [1, 2, 3, 10, 100_000])
@pytest.mark.parametrize("sensitivity", [1.0, 3e-7, 0.75, 5e9])
def test_the_default_grid_costs_almost_nothing(size, sensitivity):
    """The largest power of two with which rounding adds at most 2^-16 to the sensitivity."""
    value = np.zeros(size)
    for order, mechanism, budget in ((1, "laplace", "epsilon"), (2, "gaussian", "sigma")):
        grid = mechanisms.default_grid(sensitivity, size=size, order=order)
        assert np.frexp(grid)[0] == 0.5
        width = width_of(
            getattr(mechanisms, mechanism), value, sensitivity=sensitivity, **{budget: 1.0}
        )
        asked = Fraction(sensitivity) if order == 1 else 1
        added = width * Fraction(grid) / asked - 1
        assert 0 < added <= Fraction(1, 2**16)
        units = size if order == 1 else int(np.ceil(np.sqrt(size)))
        assert 2 * grid * units > sensitivity * 2**-16  # the next power of two would not do


def test_laplace_noise_fits():
    """One vector: 200,000 coordinates enlarge the sensitivity, in units, from 16 to 200,016."""
    release = mechanisms.laplace(
        np.full(DRAWS, 0.26), sensitivity=1, epsilon=5e4, grid=GRID, rng=randomness.seeded(1)
    )
    units = release / GRID - 4  # 0.26 is nearest to 4/16
    scale = (16 + DRAWS) / 5e4
    assert p_value(units, exact_laws.laplace(scale), 60) > CHANCE
    for wrong in (scale / 2, scale * 0.95, scale * 0.97, scale * 1.03):
        assert p_value(units, exact_laws.laplace(wrong), 60) < CHANCE


def test_gaussian_noise_fits():
    release = mechanisms.gaussian(
        np.full(DRAWS, 0.3), sensitivity=1.0, sigma=2.0, rng=randomness.seeded(1)
    )
    noise = (release - 0.3) * 2.0**30
    assert p_value_wide(noise, stats.norm(0, 2 * 2.0**30)) > CHANCE
    for wrong in (1.0, 1.9, 1.96, 2.04):
        assert p_value_wide(noise, stats.norm(0, wrong * 2.0**30)) < CHANCE


def test_geometric_noise_fits():
    counts = np.full(DRAWS, 7)
    release = mechanisms.geometric(counts, sensitivity=2, epsilon=0.5, rng=randomness.seeded(1))
    assert release.dtype == np.int64
    assert p_value(release - 7, exact_laws.laplace(4), 60) > CHANCE
    for wrong in (2, 3.88, 4.12, 8):
        assert p_value(release - 7, exact_laws.laplace(wrong), 60) < CHANCE
    off_by_one = np.where(release > 7, release + 1, release)
    assert p_value(off_by_one - 7, exact_laws.laplace(4), 60) < CHANCE


def test_a_bias_of_the_rounding_is_caught():
    """100,000 answers between two grid points: noise is added to the nearer of the two.

    The mean of noise of 5 units is 0 to 0.015 units (one deviation); rounding down is 0.5 off.
    """
    value = (np.arange(100_000) % 64 + 0.5) / 64 * GRID
    release = mechanisms.gaussian(value, sensitivity=100.0, sigma=0.25, grid=GRID)
    mean = float((release - np.rint(value / GRID) * GRID).mean() / GRID)
    down = float((release - np.floor(value / GRID) * GRID).mean() / GRID)
    width = 4 * (1 + 317 / 1600)
    assert abs(mean) < 5.3 * width / np.sqrt(value.size)
    assert abs(down) > 5.3 * width / np.sqrt(value.size)


@pytest.mark.parametrize(
    "release",
    [
        lambda v: mechanisms.laplace(v, sensitivity=1.0, epsilon=0.1, grid=GRID),
        lambda v: mechanisms.gaussian(v, sensitivity=1.0, sigma=3.0, grid=GRID),
    ],
)
@pytest.mark.parametrize(
    "value", [0.3, -7, np.array([0.1, 0.2]), np.zeros((2, 0)), [[1, 2], [3, 4]]]
)
def test_releases_keep_the_shape_and_lie_on_the_grid(release, value):
    result = release(value)
    assert result.shape == np.shape(value)
    assert result.dtype == np.float64
    assert (np.asarray(result) / GRID == np.rint(np.asarray(result) / GRID)).all()


def test_large_values_are_released_without_loss():
    """2^40 grid units: noise is added to them as integers, not as doubles."""
    value = np.full(1000, 2.0**36)
    release = mechanisms.laplace(value, sensitivity=1.0, epsilon=1e3, grid=GRID)
    assert 0 < np.abs(release - value).max() < 100


def test_noise_is_fresh_each_time():
    for release in (
        lambda: mechanisms.laplace(np.zeros(9), sensitivity=1, epsilon=1),
        lambda: mechanisms.gaussian(np.zeros(9), sensitivity=1, sigma=1),
    ):
        assert (release() != release()).any()


# beside a peer


def test_the_analytic_sigma_is_the_peers():
    for epsilon, delta, sensitivity in ((1, 1e-5, 1), (0.3, 1e-7, 2), (5, 1e-3, 0.1)):
        theirs = peer.GaussianAnalytic(
            epsilon=epsilon, delta=delta, sensitivity=sensitivity, random_state=1
        )
        ours = mechanisms.gaussian_sigma(epsilon, delta, sensitivity=sensitivity)
        assert ours == pytest.approx(theirs._scale, rel=1e-6)


def test_releases_are_distributed_as_the_peers():
    """Two samples of 20,000: noise 6 % off is found (Kolmogorov and Smirnov's distance 0.02)."""
    laplace = peer.Laplace(epsilon=0.5, sensitivity=1, random_state=1)
    theirs = [laplace.randomise(0.0) for _ in range(20_000)]
    one = {"sensitivity": 1.0, "epsilon": 0.5, "rng": randomness.seeded(1)}
    ours = [mechanisms.laplace(0.0, **one) for _ in range(5000)]
    assert stats.ks_2samp(ours, theirs).pvalue > CHANCE
    geometric = peer.Geometric(epsilon=0.5, sensitivity=1, random_state=1)
    theirs = np.array([geometric.randomise(0) for _ in range(20_000)])
    assert p_value(theirs, exact_laws.laplace(2), 20) > CHANCE  # the law that ours is tested on


# bad input

LAPLACE = {"sensitivity": 1.0, "epsilon": 1.0}
GAUSSIAN = {"sensitivity": 1.0, "epsilon": 1.0, "delta": 1e-5}


@pytest.mark.parametrize("wrong", [0, -1.0, np.nan, np.inf, None, "1", True])
@pytest.mark.parametrize("name", ["sensitivity", "epsilon"])
def test_budgets_and_sensitivities_that_are_none(name, wrong):
    with pytest.raises(ValueError, match=f"^{name} must be a finite number above 0, got"):
        mechanisms.laplace(1.0, **{**LAPLACE, name: wrong})
    if not (name == "epsilon" and wrong is None):
        with pytest.raises(ValueError, match=f"^{name} must be a finite number above 0, got"):
            mechanisms.gaussian(1.0, **{**GAUSSIAN, name: wrong})
    if name == "epsilon":
        with pytest.raises(ValueError, match=r"^epsilon must be a finite number above 0, got"):
            mechanisms.geometric(1, epsilon=wrong)


def test_a_missing_sensitivity_is_an_error():
    for call in (
        lambda: mechanisms.laplace(1.0, epsilon=1.0),
        lambda: mechanisms.gaussian(1.0, sigma=1.0),
    ):
        with pytest.raises(TypeError, match="sensitivity"):
            call()
    with pytest.raises(ValueError, match=r"sensitivity must .*; clip each contribution"):
        mechanisms.laplace(1.0, sensitivity=None, epsilon=1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"sigma": 1.0, "epsilon": 1.0, "delta": 1e-5},
        {"sigma": 1.0, "delta": 1e-5},
        {"epsilon": 1.0},
        {"delta": 1e-5},
    ],
)
def test_gaussian_takes_sigma_or_a_budget(wrong):
    with pytest.raises(ValueError, match="give either sigma, or both epsilon and delta"):
        mechanisms.gaussian(1.0, sensitivity=1.0, **wrong)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, np.nan])
def test_delta_outside_its_range(delta):
    with pytest.raises(ValueError, match="delta must be between 0 and 1, both excluded"):
        mechanisms.gaussian(1.0, **{**GAUSSIAN, "delta": delta})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(bad):
    value = np.ones((2, 3))
    value[1, 2] = bad
    with pytest.raises(
        ValueError, match=r"value must be finite, got .* at index \(1, 2\) \(1 of 6\)"
    ):
        mechanisms.laplace(value, **LAPLACE)
    with pytest.raises(ValueError, match="value must be finite"):
        mechanisms.gaussian(value, **GAUSSIAN)


@pytest.mark.parametrize("value", ["text", 1 + 2j, None, [None, 1], True])
def test_values_of_other_kinds(value):
    with pytest.raises(TypeError, match="value must be real numbers"):
        mechanisms.laplace(value, **LAPLACE)


def test_values_beyond_the_grid():
    with pytest.raises(ValueError, match=r"value must be within 2\^62 grid=.* coarser grid"):
        mechanisms.laplace(1e300, **LAPLACE)
    with pytest.raises(ValueError, match=r"within \+-2\^53"):
        mechanisms.laplace(2**53 + 1, **LAPLACE)
    with pytest.raises(ValueError, match=r"within \+-2\^62"):
        mechanisms.geometric(2**63 - 1, epsilon=1.0)
    with pytest.raises(ValueError, match="sensitivity is too small for doubles"):
        mechanisms.laplace(0.0, sensitivity=1e-310, epsilon=1.0)


def test_grids_that_are_no_powers_of_two():
    with pytest.raises(
        ValueError, match=r"grid must be a power of two, got 0.1; 0.0625 is the next"
    ):
        mechanisms.laplace(1.0, grid=0.1, **LAPLACE)
    with pytest.raises(ValueError, match="grid must be a finite number above 0"):
        mechanisms.gaussian(1.0, grid=0.0, **GAUSSIAN)


def test_geometric_takes_integers():
    with pytest.raises(
        TypeError, match="value must be integers, got an array of float64; see laplace"
    ):
        mechanisms.geometric(1.5, epsilon=1.0)
    with pytest.raises(
        ValueError, match=r"sensitivity must be a whole number of at least 1, got 0\.5"
    ):
        mechanisms.geometric(1, sensitivity=0.5, epsilon=1.0)


def test_noise_drawn_beforehand_is_the_noise_of_the_release():
    value, options = np.linspace(-3, 3, 7), {"sensitivity": 1.5, "sigma": 0.7}
    grid = mechanisms.default_grid(1.5, size=7, order=2)
    released = mechanisms.gaussian(value, rng=randomness.seeded(5), **options)
    units = mechanisms.gaussian_units((7,), grid=grid, rng=randomness.seeded(5), **options)
    np.testing.assert_array_equal(released, (np.rint(value / grid) + units) * grid)
    with pytest.raises(ValueError, match="sigma must be a finite number above 0"):
        mechanisms.gaussian_units(7, sensitivity=1.5, sigma=0.0, grid=grid)
