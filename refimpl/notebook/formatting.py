"""Numbers as a reader sees them: few digits, decimal units, the same text on every machine."""

import math
import numbers

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def human_bytes(count: float) -> str:
    """A number of bytes in decimal units and at most three digits: ``1_234_567`` → ``1.23 MB``.

    Raises ``ValueError`` for a negative or non-finite count.
    """
    if not (math.isfinite(count) and count >= 0):
        raise ValueError(f"count must be a finite number of bytes of at least 0, got {count!r}")
    value, power = float(count), 0
    # 999.5 would be printed as 1000: it belongs to the next unit already.
    while value >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{significant(value, 3)} {_UNITS[power]}"


def significant(value: float, digits: int = 4) -> str:
    """A number in at most ``digits`` significant digits, thousands separated by commas.

    Exponents appear only below 0.0001 and from ten million on. A negative zero is zero.
    """
    if not math.isfinite(value):
        return str(float(value))
    rounded = float(f"{value:.{digits}g}") or 0.0
    if rounded and not 1e-4 <= abs(rounded) < 1e7:
        return f"{rounded:.{digits}g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def readable(value: object) -> str:
    """One table cell: counts in full, other numbers in four digits, nothing as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    # numpy's bool is registered neither as a bool nor as a number.
    if isinstance(value, bool) or type(value).__name__ in {"bool", "bool_"}:
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    if isinstance(value, numbers.Real):
        return "–" if math.isnan(float(value)) else significant(float(value))
    return str(value)
