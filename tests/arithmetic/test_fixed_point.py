"""Fixed point against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.arithmetic import field, ring
from refimpl.arithmetic.fixed_point import FixedPoint


def test_four_bits_by_hand():
    code = FixedPoint(bound=1.0, bits=4, summands=2)
    assert (code.offset, code.scale, code.unit) == (7, 7.0, 1 / 7)
    assert code.encode([-1, -0.5, 0, 0.07, 0.08, 1]).tolist() == [0, 3, 7, 7, 8, 14]
    assert code.decode(np.array([0, 14, 28], np.uint64), summands=2).tolist() == [-2.0, 0.0, 2.0]
    assert code.sum_bits == 5  # two encodings of at most 15 need ceil(log2(31)) bits


def test_the_bits_of_a_sum_are_those_of_secure_aggregation():
    # Bonawitz et al. 2017: expansion 1.73 for 2^10 users with 2^20 values of 16 bits each.
    n, m = 2**10, 2**20
    bits = FixedPoint(bits=16, summands=n).sum_bits
    assert (256 * (7 * n - 4) + m * bits) / (16 * m) == pytest.approx(1.73431, abs=5e-6)
    assert FixedPoint(bits=16, summands=256).sum_bits == 24  # a 24-bit slot holds 256 summands
    assert FixedPoint(bits=16, summands=1).sum_bits == 16


@given(st.integers(2, 48), st.integers(1, 2**58))
def test_sum_bits_are_enough_and_not_one_too_many(bits, summands):
    largest = summands * (2**bits - 1)
    if largest >= 2**60:
        with pytest.raises(ValueError, match="sum_bits must be at most 60"):
            FixedPoint(bits=bits, summands=summands)
        return
    code = FixedPoint(bits=bits, summands=summands)
    assert 2 ** (code.sum_bits - 1) <= largest < 2**code.sum_bits


@given(
    st.integers(2, 48),
    st.floats(1e-6, 1e6),
    st.lists(st.floats(-1, 1), min_size=1, max_size=30),
)
def test_a_value_is_off_by_at_most_half_a_unit(bits, bound, parts):
    code = FixedPoint(bound=bound, bits=bits, summands=1)
    values = np.array(parts) * bound
    decoded = code.decode(code.encode(values), summands=1)
    unit = Fraction(bound) / (2 ** (bits - 1) - 1)
    slack = 1 + Fraction(2) ** (bits - 51)  # the documented share of the doubles, in half units
    for value, got in zip(values, decoded, strict=True):
        assert abs(Fraction(float(value)) - Fraction(float(got))) <= unit / 2 * slack
    assert code.rounding_error() == pytest.approx(float(unit) / 2)


@given(st.integers(2, 32), st.integers(1, 12), st.integers(0, 2**32))
def test_sums_agree_in_every_ring_that_can_hold_them(bits, count, seed):
    code = FixedPoint(bound=0.3, bits=bits, summands=12)
    values = np.random.default_rng(seed).uniform(-0.3, 0.3, (count, 5))
    values[:, 0], values[:, 1], values[:, 2] = 0.3, -0.3, 0.0
    encoded = code.encode(values)
    exact = [sum(column) for column in encoded.T.tolist()]
    in_ring = np.zeros(5, np.uint64)
    for row in encoded:
        in_ring = ring.add(in_ring, row, code.sum_bits)
    assert in_ring.tolist() == exact
    assert field.sum(encoded).tolist() == exact
    decoded = code.decode(in_ring, summands=count)
    assert decoded[:3] == pytest.approx([0.3 * count, -0.3 * count, 0.0], rel=1e-14, abs=0)
    slack = 1 + 2.0 ** (bits - 50)
    assert np.all(np.abs(decoded - values.sum(0)) <= code.rounding_error(count) * slack)


def test_zero_and_the_bounds_cost_no_error():
    code = FixedPoint(bound=2.5, bits=16, summands=3)
    values = np.array([-2.5, 0.0, 2.5])
    assert code.decode(code.encode(values), summands=1).tolist() == values.tolist()


@pytest.mark.parametrize("wrong", [1.01, -1.01, np.nan, np.inf, -np.inf, 1e300])
def test_values_outside_the_bound_are_refused_with_their_index(wrong):
    values = np.zeros((2, 3))
    values[1, 2] = wrong
    with pytest.raises(ValueError, match=r"\[-1.0, 1.0\], got .* at index \(1, 2\); clip them"):
        FixedPoint(bound=1.0).encode(values)
    with pytest.raises(ValueError, match=r"at index \(\)"):
        FixedPoint(bound=1.0).encode(wrong)


def test_the_bound_in_single_precision_passes_and_a_unit_more_does_not():
    code = FixedPoint(bound=0.1, bits=16)
    rounded_up = np.float32(0.1)
    assert float(rounded_up) > 0.1
    assert code.encode(np.array([rounded_up])).tolist() == [2 * code.offset]
    with pytest.raises(ValueError, match="at index"):
        code.encode([0.1 + 0.51 * code.unit])


def test_arguments_of_numpy_types_are_those_of_python():
    code = FixedPoint(np.float32(0.1), np.int64(48), np.int32(2))
    assert code == FixedPoint(float(np.float32(0.1)), 48, 2)
    assert [type(value) for value in (code.bound, code.bits, code.summands)] == [float, int, int]
    assert type(code.scale) is float
    assert code.encode([code.bound, -code.bound]).tolist() == [2 * code.offset, 0]


def test_shapes_and_types():
    code = FixedPoint()
    assert code.encode(0.0).shape == ()
    assert code.encode(np.zeros((2, 0))).shape == (2, 0)
    assert code.encode(np.zeros((2, 3), np.float32)).dtype == np.uint64
    assert code.decode([], summands=1).tolist() == []
    given_values = np.full(3, 0.3)
    code.encode(given_values)
    assert given_values.tolist() == [0.3] * 3
    assert code.decode(np.zeros((2, 3), np.uint64), summands=2).shape == (2, 3)


def test_decoding_too_many_summands_or_an_impossible_total_is_refused():
    code = FixedPoint(bits=8, summands=3)
    for count in (0, 4, -1, 1.5, 2.0, True):
        with pytest.raises(
            ValueError, match=f"summands must be a whole number between 1 and 3, got {count}"
        ):
            code.decode(np.array([5], np.uint64), summands=count)
    assert code.decode(np.array([254], np.uint64), summands=1).tolist() == [1.0]
    with pytest.raises(ValueError, match=r"\[0, 254\] for summands=1, got 255 at index \(1,\)"):
        code.decode(np.array([0, 255], np.uint64), summands=1)
    with pytest.raises(ValueError, match=r"got 18446744073709551615 at index"):
        code.decode(np.array([2**64 - 1], np.uint64), summands=1)
    with pytest.raises(ValueError, match=r"got -1 at index"):
        code.decode(np.array([-1]), summands=1)
    with pytest.raises(TypeError, match="got dtype float64"):
        code.decode(np.array([0.5]), summands=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bound": 0.0}, "bound must be positive and finite, got 0.0"),
        ({"bound": np.nan}, "bound must be positive and finite, got nan"),
        ({"bound": np.inf}, "bound must be positive and finite, got inf"),
        ({"bound": 5e-324}, "bound=5e-324 is too small"),
        ({"bits": 1}, "bits must be a whole number between 2 and 48, got 1"),
        ({"bits": 49}, "bits must be a whole number between 2 and 48, got 49"),
        ({"bits": 16.0}, "bits must be a whole number between 2 and 48, got 16.0"),
        ({"summands": 2.5}, "summands must be a whole number of at least 1, got 2.5"),
        ({"summands": 0}, "summands must be a whole number of at least 1, got 0"),
        ({"bits": 40, "summands": 2**21}, "sum_bits must be at most 60, got 61"),
    ],
)
def test_impossible_encodings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FixedPoint(**arguments)
