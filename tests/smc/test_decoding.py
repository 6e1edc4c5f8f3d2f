"""Gao's decoder against the definition: try all sets of rows that might be right."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.smc import decoding
from tests.smc.oracles import P, lagrange, polynomial

elements = st.integers(0, P - 1) | st.sampled_from([0, 1, P - 1])


def by_trying(xs, values, threshold):
    """Rows that miss the one polynomial which at most (m - threshold) // 2 miss; None without."""
    points = list(zip(xs, values, strict=True))
    for some in combinations(points, threshold):
        missed = [x for x, y in points if lagrange(some, at=x) != y]
        if len(missed) <= (len(points) - threshold) // 2:
            return missed
    return None


@st.composite
def words(draw):
    """Different x, the values of a polynomial there, and errors in some, often too many."""
    xs = draw(st.lists(st.integers(0, P - 1), min_size=1, max_size=7, unique=True))
    threshold = draw(st.integers(1, len(xs)))
    code = draw(st.lists(elements, min_size=threshold, max_size=threshold))
    errors = draw(st.lists(st.just(0) | elements, min_size=len(xs), max_size=len(xs)))
    values = [(polynomial(code, x) + e) % P for x, e in zip(xs, errors, strict=True)]
    return xs, values, threshold, code, [x for x, e in zip(xs, errors, strict=True) if e]


@given(words())
def test_it_decodes_what_can_be_decoded_and_nothing_else(word):
    xs, values, threshold, code, wrong = word
    expected = by_trying(xs, values, threshold)
    found = decoding.decode(xs, values, threshold)
    assert (found is None) == (expected is None)
    assert decoding.wrong_rows(xs, values, threshold) == (expected or [])
    if len(wrong) <= (len(xs) - threshold) // 2:
        assert expected == wrong
        while code and not code[-1]:
            code.pop()
        assert found == code


@pytest.mark.parametrize("threshold", [1, 2, 3, 4])
def test_small_errors_in_every_place(threshold):
    """Seven rows of one polynomial, and each set of errors that can be decoded."""
    xs, code = [1, 2, 3, 4, 5, 6, 7], [1234, 166, 94, 5][:threshold]
    right = [polynomial(code, x) for x in xs]
    for count in range((7 - threshold) // 2 + 1):
        for wrong in combinations(xs, count):
            values = [y + (x in wrong) for x, y in zip(xs, right, strict=True)]
            assert decoding.decode(xs, values, threshold) == code
            assert decoding.wrong_rows(xs, values, threshold) == list(wrong)


@pytest.mark.parametrize("values", [[0, 0, 0], [5, 0, 0], [0, 5, 5]])
def test_constants_and_the_zero_polynomial(values):
    code = [] if values.count(0) > 1 else [5]
    assert decoding.decode([1, 2, 3], values, 1) == code


def test_too_many_errors_are_not_decoded():
    xs = list(range(1, 8))
    values = [polynomial([1, 2, 3], x) + (x > 4) * x**4 for x in xs]  # three wrong, two decodable
    assert by_trying(xs, values, 3) is None
    assert decoding.decode(xs, values, 3) is None
    assert decoding.wrong_rows(xs, values, 3) == []


def test_many_rows():
    xs = list(range(1, 61))
    values = [polynomial(range(1, 21), x) for x in xs]
    for x in range(3, 43, 2):
        values[x - 1] = (values[x - 1] + x) % P
    assert decoding.wrong_rows(xs, values, 20) == list(range(3, 43, 2))


def test_the_error_says_which_and_under_which_condition():
    named = decoding.InconsistentShares([1, 2, 3, 4, 5], 3, [2])
    assert named.rows == (2,)
    assert "the 5 shares do not lie on one polynomial of threshold=3" in str(named)
    assert "wrong are those of x = [2], if no more than 1 are" in str(named)
    unnamed = decoding.InconsistentShares([1, 2, 3, 4], 3, [])
    assert unnamed.rows == ()
    assert "cannot be told: 4 shares name at most 0" in str(unnamed)
    assert isinstance(unnamed, ValueError)


@given(st.lists(elements, max_size=6), elements)
def test_evaluation_is_term_by_term(coefficients, x):
    assert decoding.evaluate(coefficients, x) == polynomial(coefficients, x)
