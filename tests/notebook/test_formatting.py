import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.notebook.formatting import human_bytes, readable, significant


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1024, "1.02 kB"),
        (123_456, "123 kB"),
        (1_234_567, "1.23 MB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),  # not "1,000 kB"
        (5e18, "5,000 PB"),
        (49.5, "49.5 B"),
    ],
)
def test_bytes_in_decimal_units(count, text):
    assert human_bytes(count) == text


@pytest.mark.parametrize("count", [-1, math.inf, math.nan])
def test_bytes_must_be_a_count(count):
    with pytest.raises(ValueError, match="count must be a finite number of bytes"):
        human_bytes(count)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97432, "0.9743"),
        (0.9, "0.9"),
        (-0.0, "0"),
        (12345.6, "12,350"),
        (0.99996, "1"),
        (0.00012346, "0.0001235"),
        (1.2346e-9, "1.235e-09"),
        (9_999_999, "1e+07"),
        (-3.14159, "-3.142"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_four_significant_digits(value, text):
    assert significant(value) == text


@given(st.floats(min_value=-1e12, max_value=1e12))
def test_what_is_shown_is_the_value_to_four_digits(value):
    shown = float(significant(value).replace(",", ""))
    assert math.isclose(shown, value, rel_tol=5.001e-4, abs_tol=1e-300)
    assert len(significant(value).replace("-", "").replace(".", "").replace(",", "")) <= 8


def test_cells_keep_counts_in_full_and_say_what_is_missing():
    values = [12_345_678, np.int64(7), True, np.bool_(False), None, math.nan, np.float32(0.25), "a"]
    shown = ["12,345,678", "7", "yes", "no", "–", "–", "0.25", "a"]
    assert [readable(value) for value in values] == shown
