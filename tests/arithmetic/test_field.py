"""F_p with p = 2^61 - 1 against Python integers."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refimpl.arithmetic import field

P = 2**61 - 1
# Values whose limbs are all zeros or all ones, where a carry would get lost.
EDGES = [0, 1, 2, 2**29 - 1, 2**29, 2**32 - 1, 2**32, 2**60, P // 2, P // 2 + 1, P - 2**32, P - 1]
element = st.integers(0, P - 1) | st.sampled_from(EDGES)
vectors = st.lists(st.tuples(element, element), min_size=1, max_size=8)


def array(values) -> np.ndarray:
    return np.array(values, np.uint64)


def random_elements(shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, P, shape, dtype=np.uint64)


def test_known_answers():
    assert pow(2, P - 1, P) == pow(3, P - 1, P) == 1  # Fermat: p may be a prime
    assert field.multiply(2**60, 2) == 1  # 2^61 = 1
    assert field.inverse(2) == 2**60
    assert field.multiply(P - 1, P - 1) == 1  # (-1)(-1)
    assert field.add(P - 1, 1) == 0
    assert field.subtract(0, 1) == P - 1
    assert field.power(array([2, 3, 37]), P - 1).tolist() == [1, 1, 1]


def test_shamir_polynomial_reconstructs_at_zero():
    # f(x) = 1234 + 166 x + 94 x^2 at x = 1, 2, 3; the Lagrange weights at zero are 3, -3, 1.
    shares = [1234 + 166 * x + 94 * x * x for x in (1, 2, 3)]
    assert field.linear_combination([3, -3, 1], array(shares)[:, None]).tolist() == [1234]


@given(vectors)
def test_operations_are_those_of_integers_modulo_p(pairs):
    a, b = array(pairs).T
    assert field.add(a, b).tolist() == [(x + y) % P for x, y in pairs]
    assert field.subtract(a, b).tolist() == [(x - y) % P for x, y in pairs]
    assert field.multiply(a, b).tolist() == [(x * y) % P for x, y in pairs]
    assert field.negate(a).tolist() == [-x % P for x, _ in pairs]
    assert field.dot(a, b) == sum(x * y for x, y in pairs) % P
    assert field.sum(a) == sum(x for x, _ in pairs) % P


def test_products_of_all_edges():
    expected = [[x * y % P for y in EDGES] for x in EDGES]
    assert field.multiply(array(EDGES)[:, None], array(EDGES)).tolist() == expected


@given(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([P, 2 * P, 8 * P, 2**64 - 1])))
def test_reduce_unsigned(values):
    assert field.reduce(array(values)).tolist() == [v % P for v in values]


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-1, -P, -4 * P, -(2**63)])))
def test_reduce_signed(values):
    assert field.reduce(np.array(values, np.int64)).tolist() == [v % P for v in values]


@given(st.integers(-(P // 2), P // 2))
@example(-(P // 2))
@example(P // 2)
def test_signed_round_trip(value):
    assert field.to_signed(field.reduce(np.array([value], np.int64))).tolist() == [value]


@given(element, st.integers(0, 2**64))
def test_power(base, exponent):
    assert field.power(array([base]), exponent).tolist() == [pow(base, exponent, P)]


@given(st.lists(element.filter(bool), max_size=20))
def test_inverse(values):
    assert field.inverse(array(values)).tolist() == [pow(v, -1, P) for v in values]


def test_inverse_keeps_the_shape_and_names_a_zero():
    values = random_elements((5, 3, 7)) | np.uint64(1)
    assert np.all(field.multiply(values, field.inverse(values)) == 1)
    values[4, 0, 2] = 0
    with pytest.raises(ZeroDivisionError, match=r"index \(4, 0, 2\)"):
        field.inverse(values)


@pytest.mark.parametrize("length", [8_191, 8_192, 8_193, 20_000])
def test_blocks_join_without_a_seam(length):
    a, b = random_elements((2, length))
    expected = [int(x) * int(y) % P for x, y in zip(a, b, strict=True)]
    assert field.multiply(a, b).tolist() == expected
    combined = field.linear_combination([2, P - 1, 10**30], [a, b, a])
    factor = 2 + 10**30
    assert combined.tolist() == [(factor * int(x) - int(y)) % P for x, y in zip(a, b, strict=True)]


def test_broadcasting_views_and_scalars():
    a = random_elements((4, 1, 6))[:, :, ::2]
    b = random_elements((5, 3), seed=1)
    expected = [[[int(x) * int(y) % P for x, y in zip(p[0], q, strict=True)] for q in b] for p in a]
    assert field.multiply(a, b).tolist() == expected
    assert field.add(a.T, 1).tolist() == [[[(int(x) + 1) % P for x in r] for r in p] for p in a.T]
    assert field.multiply(3, 5).shape == ()
    assert field.add(array([]), array([])).shape == (0,)


def test_out_may_be_an_operand_or_overlap_one():
    row = random_elements(20_000)
    expected = [(int(x) + int(y)) % P for x, y in zip(row[1:], row[:-1], strict=True)]
    assert field.add(row[1:], row[:-1], out=row[1:]) is not None
    assert row[1:].tolist() == expected
    twice = [2 * x % P for x in row.tolist()]
    assert field.add(row, row, out=row) is row
    assert row.tolist() == twice


def test_long_sums_do_not_overflow():
    largest = np.full((1_000, 3), P - 1, np.uint64)
    assert field.sum(largest).tolist() == [-1_000 % P] * 3
    assert field.sum(largest, axis=1).tolist() == [P - 3] * 1_000
    assert field.dot(largest, largest, axis=0).tolist() == [1_000] * 3
    assert field.sum(np.empty((0, 2), np.uint64)).tolist() == [0, 0]
    many = [P - 1] * 70
    rows = np.full((70, 1), P - 1, np.uint64)
    assert field.linear_combination(many, rows).tolist() == [70]


def test_linear_combination_by_hand_and_its_errors():
    rows = random_elements((3, 2, 2))
    result = field.linear_combination([-1, 0, 5], rows)
    assert result.tolist() == [
        [(-int(rows[0, i, j]) + 5 * int(rows[2, i, j])) % P for j in range(2)] for i in range(2)
    ]
    for coefficients, wrong in (([], []), ([1], rows), ([1, 2], [rows[0], rows[0][0]])):
        with pytest.raises(ValueError, match=f"got {len(coefficients)} coefficients"):
            field.linear_combination(coefficients, wrong)


@given(st.data(), st.integers(1, 10))
def test_linear_combinations_large_and_small(data, rows):
    """Small coefficients, those of eight units in all, go another way than the others."""
    coefficients = data.draw(
        st.lists(st.integers(-3, 3), min_size=rows, max_size=rows)
        | st.lists(st.sampled_from(EDGES) | st.integers(-P, P), min_size=rows, max_size=rows)
    )
    columns = data.draw(st.lists(st.sampled_from(EDGES), min_size=rows, max_size=rows))
    total = sum(c * x for c, x in zip(coefficients, columns, strict=True)) % P
    assert field.linear_combination(coefficients, array(columns)[:, None]).tolist() == [total]


@pytest.mark.parametrize(
    "coefficients", [[8], [-8], [4, -4], [-7, 1], [9], [-9], [5, -4], [P // 2] * 4, [P // 2] * 5]
)
def test_the_largest_sums_of_a_linear_combination(coefficients):
    for value in (0, 1, 2**31 - 1, P - 2, P - 1):
        for pattern in (1, 0), (0, 1), (1, 1):
            column = [value * pattern[c < 0] for c in coefficients]
            total = sum(c * x for c, x in zip(coefficients, column, strict=True)) % P
            found = field.linear_combination(coefficients, array(column)[:, None])
            assert found.tolist() == [total]


def test_an_empty_list_is_an_empty_array_of_elements():
    for result in (field.elements([]), field.add([], []), field.reduce([])):
        assert (result.dtype, result.shape) == (np.uint64, (0,))


def test_values_outside_the_field_are_refused():
    for wrong in (P, -1, 2**64 - 1):
        with pytest.raises(ValueError, match=f"got {wrong} at index \\(1,\\); use field.reduce"):
            field.elements(np.array([0, wrong], np.int64 if wrong < 2**63 else np.uint64))
    with pytest.raises(ValueError, match="got -1; use"):
        field.add(-1, array([1]))
    with pytest.raises(TypeError, match="got dtype float64"):
        field.multiply(array([1]), 0.5)
    with pytest.raises(TypeError, match="got dtype float64"):
        field.reduce([math.pi])
    with pytest.raises(ValueError, match="exponent must be a whole number of at least 0, got -1"):
        field.power(array([2]), -1)
