"""The one check of whole-number arguments, so that a float or a bool never passes for one."""

import operator
from typing import SupportsIndex


def whole(
    name: str, value: SupportsIndex, least: int = 0, most: int | None = None, *, remedy: str = ""
) -> int:
    """``value``, any integer type's, as an ``int`` in [least, most].

    Raises ValueError with name, rule and value otherwise, and then the ``remedy``.
    """
    try:
        number = operator.index(value) if not isinstance(value, bool) else least - 1
    except TypeError:
        number = least - 1
    if number < least or (most is not None and number > most):
        rule = f"of at least {least}" if most is None else f"between {least} and {_text(most)}"
        end = f"; {remedy}" if remedy else ""
        raise ValueError(f"{name} must be a whole number {rule}, got {value!r}{end}")
    return number


def _text(limit: int) -> str:
    """A limit near a large power of two as that power, its digits being hard to read."""
    for missing, end in ((0, ""), (1, " - 1")):
        power = (limit + missing).bit_length() - 1
        if power >= 60 and limit + missing == 2**power:
            return f"2^{power}{end}"
    return str(limit)
