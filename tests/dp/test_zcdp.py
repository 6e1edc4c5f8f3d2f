"""zCDP: known answers, the formula minimised at 30 digits, inverses, and the truth underneath."""

import math

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.dp import zcdp
from tests.dp import oracles


def test_known_answers():
    assert zcdp.delta(0.025, 1.0) == pytest.approx(1.336132e-6, rel=5e-7)
    assert zcdp.epsilon(0.025, 1e-6) == pytest.approx(1.014074, abs=5e-7)
    assert zcdp.gaussian(noise_multiplier=2.0) == 0.125
    assert zcdp.pure(0.5) == 0.125


@settings(deadline=None, max_examples=15)
@given(st.floats(-6, 2), st.floats(0.1, 3))
def test_delta_is_the_minimum_over_the_orders(log_rho, ratio):
    rho = 10**log_rho
    epsilon = rho + ratio * rho**0.5 * 3

    def at(a):
        return mpmath.exp((a - 1) * (a * rho - epsilon)) / (a - 1) * (1 - 1 / a) ** a

    with mpmath.workdps(30):
        orders = [1 + mpmath.mpf(10) ** (mpmath.mpf(i) / 50) for i in range(-300, 500)]
        least = min(at(a) for a in orders)
    assert zcdp.delta(rho, epsilon) == pytest.approx(float(min(1, least)), rel=1e-2)
    assert zcdp.delta(rho, epsilon) <= least * (1 + 1e-9)


@settings(deadline=None, max_examples=40)
@given(st.floats(-8, 4), st.floats(-14, -0.5))
def test_three_functions_are_inverse_to_each_other(log_rho, log_delta):
    rho, delta = 10**log_rho, 10**log_delta
    epsilon = zcdp.epsilon(rho, delta)
    if epsilon > 1e-9:
        assert zcdp.delta(rho, epsilon) == pytest.approx(delta, rel=1e-3)
        assert zcdp.rho(epsilon, delta) == pytest.approx(rho, rel=1e-5)
        assert zcdp.epsilon(zcdp.rho(epsilon, delta), delta) <= epsilon


@pytest.mark.parametrize("sigma", [0.3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("delta", [1e-3, 1e-9, 1e-15])
def test_it_is_never_below_the_truth(sigma, delta):
    epsilon = zcdp.epsilon(zcdp.gaussian(noise_multiplier=sigma), delta)
    assert oracles.gaussian_delta(1 / sigma, epsilon) <= delta


@settings(deadline=None, max_examples=40)
@given(st.floats(-4, 1), st.floats(-12, -2), st.floats(-18, -4))
def test_failures_of_both_neighbours_are_in_delta(log_rho, log_delta, log_failure):
    rho, delta, failure = 10**log_rho, 10**log_delta, 10**log_failure
    try:
        epsilon = zcdp.epsilon(rho, delta, failure=failure)
    except ValueError as error:
        assert "make failures rarer" in str(error)
        assert zcdp.epsilon(rho, delta / 4) > math.log(delta / failure / 4)  # no slack was left
        return
    spent = zcdp.delta(rho, epsilon) if epsilon else 0.0
    assert spent * (1 - 1e-9) + (1 + math.exp(epsilon)) * failure <= delta
    assert epsilon >= zcdp.epsilon(rho, delta)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_numbers(wrong):
    with pytest.raises(ValueError, match="rho must be a finite number above 0"):
        zcdp.epsilon(wrong, 1e-5)
    with pytest.raises(ValueError, match="epsilon must be a finite number above 0"):
        zcdp.delta(0.1, wrong)
    with pytest.raises(ValueError, match="delta must be between 0 and 1"):
        zcdp.epsilon(0.1, wrong)
    with pytest.raises(ValueError, match="delta must be between 0 and 1"):
        zcdp.rho(1.0, wrong)
