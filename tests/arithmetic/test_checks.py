import numpy as np
import pytest

from refimpl.arithmetic.checks import whole


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_integers_of_any_type_become_python_ints(value):
    assert type(whole("bits", value, 3, 3)) is int
    assert whole("bits", value) == 3


@pytest.mark.parametrize(
    "value", [True, np.True_, 2.0, np.float64(2), "2", None, [2], 1, 5, -(2**70)]
)
def test_anything_else_is_refused_with_name_rule_value_and_remedy(value):
    with pytest.raises(ValueError) as caught:
        whole("bits", value, 2, 4, remedy="take fewer")
    rule = "bits must be a whole number between 2 and 4"
    assert str(caught.value) == f"{rule}, got {value!r}; take fewer"


@pytest.mark.parametrize(
    ("most", "text"),
    [
        (None, "of at least 0"),
        (63, "between 0 and 63"),
        (2**64, "between 0 and 2^64"),
        (2**128 - 1, "between 0 and 2^128 - 1"),
        (2**64 + 1, "between 0 and 18446744073709551617"),
    ],
)
def test_large_limits_are_readable(most, text):
    with pytest.raises(ValueError) as caught:
        whole("n", -1, 0, most)
    assert str(caught.value) == f"n must be a whole number {text}, got -1"
