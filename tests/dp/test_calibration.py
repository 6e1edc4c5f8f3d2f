"""Gaussian noise for a budget, against the literature's values and 60-digit arithmetic."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.dp.calibration import gaussian_delta, gaussian_sigma


def exact_delta(epsilon, sigma):
    """Balle and Wang 2018, equation (6), as written."""
    with mpmath.workdps(60):
        e, s = mpmath.mpf(epsilon), mpmath.mpf(sigma)
        inner = mpmath.ncdf(1 / (2 * s) - e * s)
        return inner - mpmath.exp(e) * mpmath.ncdf(-1 / (2 * s) - e * s)


@pytest.mark.parametrize(("delta", "sigma"), [(1e-5, 3.7306316), (1e-6, 4.2246789)])
def test_known_answers(delta, sigma):
    assert round(gaussian_sigma(1, delta), 7) == sigma
    assert round(gaussian_sigma(1.0, delta, sensitivity=2) / 2, 7) == sigma


@given(st.floats(-9, 4), st.floats(-2.0, 5))
def test_delta_against_high_precision(log_epsilon, log_sigma):
    epsilon, sigma = np.exp(log_epsilon), np.exp(log_sigma)
    true, found = exact_delta(epsilon, sigma), gaussian_delta(epsilon, sigma)
    assert abs(found - true) <= 1e-9 * true or true < 1e-290


@given(st.floats(-7, 4), st.floats(-15, -0.1))
def test_sigma_keeps_the_budget_and_wastes_nothing(log_epsilon, log_delta):
    epsilon, delta = np.exp(log_epsilon), 10**log_delta
    sigma = gaussian_sigma(epsilon, delta)
    assert exact_delta(epsilon, sigma) <= delta
    assert exact_delta(epsilon, sigma * (1 - 1e-8)) > delta


def test_delta_at_the_ends():
    assert gaussian_delta(0, 1e9) == pytest.approx(1e-9 / np.sqrt(2 * np.pi))  # total variation
    assert gaussian_delta(1, 1e-3) == 1.0
    assert gaussian_delta(1e-3, 1e8, sensitivity=1e8) == gaussian_delta(1e-3, 1.0)
    assert gaussian_delta(100, 100) == 0.0


@pytest.mark.parametrize("delta", [0, 1, -1e-5, 1.5, np.nan, None, "small"])
def test_a_delta_that_is_no_probability(delta):
    with pytest.raises(ValueError, match="delta must be between 0 and 1, both excluded, got"):
        gaussian_sigma(1, delta)


@pytest.mark.parametrize("wrong", [0, -1, np.nan, np.inf, None, True])
def test_numbers_that_must_be_positive(wrong):
    with pytest.raises(ValueError, match="epsilon must be a finite number above 0, got"):
        gaussian_sigma(wrong, 1e-5)
    with pytest.raises(ValueError, match=r"sensitivity must be .* above 0, got .*; clip each"):
        gaussian_sigma(1, 1e-5, sensitivity=wrong)
    with pytest.raises(ValueError, match="sigma must be a finite number above 0, got"):
        gaussian_delta(1, wrong)
    if wrong is not False and wrong != 0:
        with pytest.raises(ValueError, match="epsilon must be"):
            gaussian_delta(wrong, 1)
