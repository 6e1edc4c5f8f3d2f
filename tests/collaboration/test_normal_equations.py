"""Sums and products of columns against numpy's statistics and scikit-learn's Ridge."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from refimpl.collaboration.normal_equations import Aggregates

BITS = 8


def aggregates(table, inputs, bits=BITS):
    """Of a table of integers, in units of 2^-bits."""
    return Aggregates(
        len(table), table.sum(axis=0), table[:, :inputs].T @ table, bits, tuple("abc")
    )


def integers(seed, shape, high=2**12):
    return np.random.default_rng(seed).integers(-high, high, shape)


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32))
def test_mean_and_variance_are_numpy_s(rows, inputs, targets, seed):
    table = integers(seed, (rows, inputs + targets))
    found, real = aggregates(table, inputs), table / 2.0**BITS
    np.testing.assert_allclose(found.mean, real.mean(axis=0), rtol=1e-12, atol=1e-12)
    variance = real[:, :inputs].var(axis=0)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-12, atol=1e-12)
    full = np.cov(real.T, bias=True).reshape(inputs + targets, -1)
    np.testing.assert_allclose(found.covariance, full[:inputs], rtol=1e-12, atol=1e-11)


def test_a_column_far_from_zero_keeps_its_variance():
    """Exactly: doubles would lose all of it, the squares being 2^60 and their differences 1."""
    column = np.array([2**30, 2**30 + 1, 2**30 + 2])
    table = np.column_stack([column, column])
    found = Aggregates(
        3,
        table.sum(axis=0),
        np.array([[sum(int(v) ** 2 for v in column)] * 2], dtype=object),
        0,
        ("a",),
    )
    assert found.variance.tolist() == [float(Fraction(2, 3))]


@pytest.mark.parametrize("ridge", [0.0, 0.5, 100.0])
@pytest.mark.parametrize("targets", [1, 3])
def test_the_solution_is_that_of_scikit_learn(ridge, targets):
    table = integers(7, (40, 4 + targets))
    real = table / 2.0**BITS
    weights, intercepts = aggregates(table, 4).solve(ridge)
    oracle = Ridge(alpha=ridge).fit(real[:, :4], real[:, 4:])
    assert (weights.shape, intercepts.shape) == ((targets, 4), (targets,))
    np.testing.assert_allclose(weights, np.atleast_2d(oracle.coef_), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(intercepts, oracle.intercept_, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("fault", ["constant", "equal", "nearly equal", "too few rows"])
def test_without_a_penalty_an_open_solution_is_an_error(fault):
    high = 2**24 if fault == "nearly equal" else 2**12
    table = integers(8, (3 if fault == "too few rows" else 20, 5), high).astype(object)
    if fault == "constant":
        table[:, 1] = 37
    elif fault != "too few rows":
        table[:, 1] = table[:, 0]
        table[3, 1] += fault == "nearly equal"  # a condition number of 2^53
    with pytest.raises(ValueError, match=r"invertible with ridge=0.0, .* take a larger ridge"):
        aggregates(table, 4).solve(0.0)
    weights, _ = aggregates(table, 4).solve(10.0)
    assert np.isfinite(weights).all()
