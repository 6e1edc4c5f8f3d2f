"""Composition theorems: their formulas at 30 digits, the binomial sum, and their order."""

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.dp import composition
from tests.dp.oracles import exact_response


def test_formulas():
    """Dwork, Rothblum and Vadhan's theorem III.3 with epsilon=.1, k=1000, delta=1e-6."""
    with mpmath.workdps(30):
        k, e = 1000, mpmath.mpf("0.1")
        exact = mpmath.sqrt(2 * k * mpmath.log(10**6)) * e + k * e * (mpmath.exp(e) - 1)
    assert composition.advanced([0.1] * 1000, 1e-6) == pytest.approx(float(exact), rel=1e-12)
    assert composition.advanced([0.1], 1e-6, [1000]) == pytest.approx(float(exact), rel=1e-12)
    assert composition.basic([0.1, 0.2], [3, 5]) == pytest.approx(1.3)
    assert composition.advanced([800.0], 1e-6) == 800.0  # never above basic, never an overflow


@pytest.mark.parametrize(
    ("epsilon", "steps", "delta"),
    [(0.1, 100, 1e-6), (1.0, 1, 0.3), (1.0, 7, 1e-2), (0.01, 3000, 1e-10), (3.0, 5, 1e-9)],
)
def test_the_optimal_one_is_the_binomial_sum_solved(epsilon, steps, delta):
    found = composition.optimal(epsilon, steps, delta)
    assert exact_response(epsilon, steps, found) == pytest.approx(delta, rel=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.floats(1e-4, 2), st.integers(1, 3000), st.floats(-10, -1))
def test_better_theorems_give_less(epsilon, steps, log_delta):
    delta = 10**log_delta
    optimal = composition.optimal(epsilon, steps, delta)
    advanced = composition.advanced([epsilon], delta, [steps])
    assert optimal <= advanced * (1 + 1e-12) + 1e-12
    assert advanced <= composition.basic([epsilon], [steps])


def test_many_steps_do_not_overflow():
    assert composition.optimal(0.01, 10**6, 1e-6) < composition.advanced([0.01], 1e-6, [10**6])
    assert composition.optimal(5.0, 1000, 1e-6) <= 5000


@pytest.mark.parametrize("epsilons", [[], [0.0], [-1.0], [float("nan")], [[0.1]]])
def test_bad_epsilons(epsilons):
    with pytest.raises(ValueError, match="epsilons must be finite numbers above 0"):
        composition.basic(epsilons)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="delta must be between 0 and 1"):
        composition.advanced([0.1], 0.0)
    with pytest.raises(ValueError, match="delta must be between 0 and 1"):
        composition.optimal(0.1, 10, 1.0)
    with pytest.raises(ValueError, match=r"steps must be a whole number of at least 1, got 1\.5"):
        composition.optimal(0.1, 1.5, 1e-5)
    with pytest.raises(ValueError, match="times must have one number for each epsilon"):
        composition.basic([0.1, 0.2], [3])
    with pytest.raises(ValueError, match="times must be a whole number of at least 1"):
        composition.basic([0.1], [0])
