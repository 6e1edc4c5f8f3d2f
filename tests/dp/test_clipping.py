"""Clipping: the bound holds in exact arithmetic, and nothing else changes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refimpl.dp import clipping

SIZES = st.floats(-1e300, 1e300, allow_nan=False)
VECTORS = st.one_of(
    arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 8)), elements=SIZES),
    arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 8)),
        elements=st.floats(-100, 100, width=32),
    ),
)


def exact_norm_power(row, order):
    """The L1 norm, or the square of the L2 norm, as a fraction."""
    return sum(abs(Fraction(float(x))) ** order for x in row.reshape(-1))


@given(VECTORS, st.sampled_from([1e-3, 0.7, 1.0, 3.0, 1e200]), st.sampled_from([1, 2]))
def test_the_bound_holds_exactly_and_is_used(array, bound, order):
    """In fractions, for the numbers returned: no row exceeds, and a long one almost reaches it."""
    clipped = clipping.rows(array, bound=bound, order=order)
    assert clipped.dtype == array.dtype
    slack = 1e-5 if array.dtype == np.float32 else 1e-13
    for before, after in zip(array, clipped, strict=True):
        limit = Fraction(bound) ** order
        assert exact_norm_power(after, order) <= limit
        if exact_norm_power(before, order) > limit:
            if np.abs(after).max() > 1e-30:  # far from subnormal numbers
                assert exact_norm_power(after, order) >= limit * Fraction(1 - 4 * slack)
            ratio = after / np.abs(after).max() - before / np.abs(before).max()
            assert np.abs(ratio).max() < slack
        elif exact_norm_power(before, order) < limit * Fraction(1 - 4 * slack):
            assert (after == before).all()
    assert (clipping.rows(clipped, bound=bound, order=order) == clipped).all()


def test_known_rows():
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [0.3, -0.4], [-30.0, 40.0]])
    assert clipping.rows(rows, bound=1.0) == pytest.approx(
        np.array([[0.6, 0.8], [0, 0], [0.3, -0.4], [-0.6, 0.8]])
    )
    assert clipping.rows(rows, bound=7.0, order=1) == pytest.approx(
        np.array([[3, 4], [0, 0], [0.3, -0.4], [-3, 4]])
    )
    assert clipping.norms(rows) == pytest.approx([5, 0, 0.5, 50])
    assert clipping.norms(rows, order=1) == pytest.approx([7, 0, 0.7, 70])


def test_rows_and_joint_and_vector_protect_different_things():
    """Examples of shape (2, 2), each by itself; a client's two arrays, together."""
    examples = np.full((3, 2, 2), 5.0)
    assert clipping.norms(clipping.rows(examples, bound=2.0)) == pytest.approx([2, 2, 2])
    assert np.linalg.norm(clipping.vector(examples, bound=2.0)) == pytest.approx(2)
    parts = [np.full((2, 2), 3.0), np.full(4, 4.0, np.float32), np.float64(0.0)]
    first, second, third = clipping.joint(parts, bound=1.0)
    assert first == pytest.approx(np.full((2, 2), 0.3), rel=1e-5)
    assert second == pytest.approx(np.full(4, 0.4), rel=1e-5)
    assert (first.dtype, second.dtype, third) == (np.float64, np.float32, 0.0)
    assert sum(exact_norm_power(np.asarray(p), 2) for p in (first, second)) <= 1


def test_extreme_sizes_neither_overflow_nor_vanish():
    rows = np.array([[1e308, 1e308], [1e-308, 1e-308], [3e-200, 4e-200]])
    assert clipping.rows(rows, bound=1.0)[0] == pytest.approx([np.sqrt(0.5)] * 2)
    assert (clipping.rows(rows, bound=1.0)[1:] == rows[1:]).all()
    assert clipping.rows(rows, bound=1e-200)[2] == pytest.approx(
        [0.6e-200, 0.8e-200], rel=1e-9, abs=0
    )
    assert clipping.norms(rows)[2] == pytest.approx(5e-200, rel=1e-9, abs=0)
    big = np.array([[3e30, 4e30]], np.float32)
    assert clipping.rows(big, bound=1.0) == pytest.approx(np.array([[0.6, 0.8]]), rel=1e-5)


def test_shapes_and_kinds():
    assert clipping.rows(np.zeros((0, 3)), bound=1.0).shape == (0, 3)
    assert clipping.rows(np.zeros((3, 0)), bound=1.0).shape == (3, 0)
    assert clipping.rows(np.array([[3, 4]]), bound=1.0) == pytest.approx(np.array([[0.6, 0.8]]))
    given_rows = np.full((2, 2), 5.0)
    clipping.rows(given_rows, bound=1.0)
    assert (given_rows == 5).all()  # a new array


@given(arrays(np.float64, (6, 3), elements=st.floats(-50, 50)), st.sampled_from([1, 2]))
def test_the_sensitivity_of_a_sum_of_clipped_rows(array, order):
    """Each row left out, and each replaced by any other, in exact fractions."""
    clipped = clipping.rows(array, bound=1.0, order=order)
    for i in range(6):
        moved = exact_norm_power(clipped[i], order)
        assert moved <= Fraction(clipping.sum_sensitivity(1.0)) ** order
        for other in range(6):
            rows = zip(clipped[i], clipped[other], strict=True)
            moved = sum(abs(Fraction(a) - Fraction(b)) ** order for a, b in rows)
            limit = clipping.sum_sensitivity(1.0, neighbours="replace-one")
            assert moved <= Fraction(limit) ** order


def test_clipping_after_averaging_bounds_nothing():
    """One row of 1e6 outweighs nine others in the clipped mean; in the mean of clipped rows not."""
    rows = np.ones((10, 2)) / 2
    without = np.delete(rows, 0, axis=0)
    rows[0] = -1e6
    wrong = clipping.vector(rows.mean(axis=0), bound=1.0) - clipping.vector(
        without.sum(axis=0) / 10, bound=1.0
    )
    right = (
        clipping.rows(rows, bound=1.0).sum(axis=0) - clipping.rows(without, bound=1.0).sum(axis=0)
    ) / 10
    stated = clipping.mean_sensitivity(1.0, count=10, neighbours="add-remove")
    assert np.linalg.norm(right) <= stated < 0.2 < np.linalg.norm(wrong)


def test_sensitivities():
    assert clipping.sum_sensitivity(3.0) == 3
    assert clipping.sum_sensitivity(3.0, neighbours="replace-one") == 6
    assert clipping.mean_sensitivity(3.0, count=4) == 1.5
    assert clipping.mean_sensitivity(3.0, count=4, neighbours="add-remove") == 0.75


@pytest.mark.parametrize("bound", [0, -1.0, np.nan, np.inf, None])
def test_bounds_that_are_none(bound):
    for call in (
        lambda: clipping.rows(np.ones((2, 2)), bound=bound),
        lambda: clipping.vector(np.ones(2), bound=bound),
        lambda: clipping.joint([np.ones(2)], bound=bound),
        lambda: clipping.sum_sensitivity(bound),
    ):
        with pytest.raises(ValueError, match="bound must be a finite number above 0, got"):
            call()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_are_none_are_not_clipped(bad, dtype):
    rows = np.ones((3, 2), dtype)
    rows[2, 1] = bad
    for call in (
        lambda: clipping.rows(rows, bound=1.0),
        lambda: clipping.vector(rows, bound=1.0),
        lambda: clipping.joint([np.ones(1), rows], bound=1.0),
        lambda: clipping.norms(rows),
    ):
        with pytest.raises(ValueError, match="array must be finite, got"):
            call()


def test_other_bad_input():
    with pytest.raises(ValueError, match="order must be a whole number between 1 and 2, got 3"):
        clipping.rows(np.ones((2, 2)), bound=1.0, order=3)
    with pytest.raises(ValueError, match="array must have rows"):
        clipping.rows(np.float64(1.0), bound=1.0)
    with pytest.raises(ValueError, match="arrays must be at least one, got none"):
        clipping.joint([], bound=1.0)
    with pytest.raises(ValueError, match="neighbours must be 'add-remove' or 'replace-one', got"):
        clipping.sum_sensitivity(1.0, neighbours="other")
    with pytest.raises(ValueError, match="count must be a whole number of at least 1, got 0"):
        clipping.mean_sensitivity(1.0, count=0)
    with pytest.raises(TypeError, match="array must be real numbers"):
        clipping.rows(np.array([["a"]]), bound=1.0)
