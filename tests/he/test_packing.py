"""Slots that never run into each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import packing


def test_slots_of_the_default_encoding():
    """2047 bits hold 85 slots of 24, and the 86th would need 2064."""
    code = FixedPoint()
    assert (code.sum_bits, packing.slots(code, 2047), packing.slots(code, 3071)) == (24, 85, 127)
    assert [packing.slots(code, capacity) for capacity in (24, 47, 48)] == [1, 1, 2]
    with pytest.raises(ValueError, match="23 bits holds no slot of sum_bits=24"):
        packing.slots(code, 23)


@given(st.data())
def test_integers_hold_the_values_where_the_formula_says(data):
    bits, slots = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 20))
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=50))
    numbers = packing.pack(np.array(values, np.uint64), bits, slots)
    chunks = [values[start : start + slots] for start in range(0, len(values), slots)]
    assert numbers == [sum(v << (bits * i) for i, v in enumerate(chunk)) for chunk in chunks]
    assert len(numbers) == packing.packed_count(len(values), slots)
    assert packing.unpack(numbers, bits, slots, len(values)).tolist() == values


def test_a_full_sum_in_every_slot_stays_in_its_slot():
    """256 summands of 2^16 - 1 each fill 24 bits to 99.998%, beside empty slots."""
    code, slots = FixedPoint(), 85
    vectors = np.zeros((256, 170), np.uint64)
    vectors[:, ::2] = 2**16 - 1
    sums = np.sum([packing.pack(row, code.sum_bits, slots) for row in vectors], axis=0)
    found = packing.unpack(sums.tolist(), code.sum_bits, slots, 170)
    assert found.tolist() == [256 * (2**16 - 1), 0] * 85


def test_a_value_too_large_for_its_slot_is_refused():
    assert packing.pack(np.array([255], np.uint64), 8, 4) == [255]
    with pytest.raises(ValueError, match="below 2"):
        packing.pack(np.array([256], np.uint64), 8, 4)


@pytest.mark.parametrize(
    ("numbers", "length", "complaint"),
    [
        ([0], 6, "take 2 plaintexts, got 1"),
        ([0, 0], 5, "take 1 plaintexts, got 2"),
        ([2**40], 5, "exceeds 5 slots"),
        ([-1], 5, "exceeds 5 slots"),
        ([2**32], 4, "past its end"),
        ([0, 2**8], 6, "past its end"),
    ],
)
def test_what_is_no_sum_of_packed_values_is_refused(numbers, length, complaint):
    with pytest.raises(ValueError, match=complaint):
        packing.unpack(numbers, 8, 5, length)


def test_no_values_take_no_plaintext():
    assert packing.pack(np.zeros(0, np.uint64), 24, 85) == []
    assert packing.unpack([], 24, 85, 0).shape == (0,)
