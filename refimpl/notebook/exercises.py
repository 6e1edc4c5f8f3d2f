"""Self-checking exercises: the reader's function is compared with the tested one."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fresh:
    """An input of ``check`` that cannot be copied: ``make()`` gives each call its own.

    For example ``Fresh(lambda: randomness.seeded(1))``: a cryptographic stream is used once.
    """

    make: Callable[[], object]

    def __deepcopy__(self, memo: dict) -> object:
        return self.make()


def check(
    answer: Callable[..., object],
    *,
    like: Callable[..., object] | None = None,
    on: Iterable[object] | None = None,
    cases: Iterable[tuple[object, object]] | None = None,
    tolerance: float = 1e-9,
) -> None:
    """Compare ``answer`` with the tested function and print what came of it.

    Give ``like``, the tested function, and ``on``, the inputs to try (a tuple holds several
    arguments); or ``cases``, pairs of input and expected result. Numbers and arrays agree within
    ``tolerance``, absolute and relative; shapes must be equal. Each call gets its own copy of the
    input, numpy's random generators included; put what cannot be copied in a ``Fresh``.

    Prints "Not answered yet" when the first call returns None or ``...`` or raises
    NotImplementedError, the first counterexample when an answer is wrong, and "Correct" when all
    agree. A wrong or failing answer never raises. An error of the tested function does.
    """
    pairs = _pairs(like, on, cases)
    for number, (arguments, expected) in enumerate(pairs):
        own = copy.deepcopy(arguments)
        try:
            got = answer(*own)
        except NotImplementedError:
            got = None
        except Exception as error:
            told = f": {error}" if str(error) else ""
            _print_counterexample(arguments, expected, f"{type(error).__name__}{told}")
            return
        if number == 0 and (got is None or got is ...):
            print(f"Not answered yet: complete {_name(answer)}, then run this cell again.")
            return
        try:
            agree = _agree(got, expected, tolerance)
        except Exception:  # what cannot even be compared is not the expected result
            agree = False
        if not agree:
            _print_counterexample(arguments, expected, _told(got, expected))
            return
    print(f"Correct: {len(pairs)} case{'s agree' if len(pairs) > 1 else ' agrees'}.")


def _pairs(
    like: Callable[..., object] | None,
    on: Iterable[object] | None,
    cases: Iterable[tuple[object, object]] | None,
) -> list[tuple[tuple[object, ...], object]]:
    if (like is None) != (on is None) or (like is None) == (cases is None):
        raise ValueError("check needs either like= and on=, or cases=")
    if cases is not None:
        pairs = [(_as_arguments(given), expected) for given, expected in cases]
    else:
        inputs = [_as_arguments(given) for given in on or ()]
        assert like is not None
        pairs = [(arguments, like(*copy.deepcopy(arguments))) for arguments in inputs]
    if not pairs:
        raise ValueError("check needs at least one case")
    if pairs[0][1] is None:
        raise ValueError("the expected result must not be None: that means 'not answered yet'")
    return pairs


def _as_arguments(given: object) -> tuple[object, ...]:
    return given if isinstance(given, tuple) else (given,)


def _agree(got: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, Mapping):
        return (
            isinstance(got, Mapping)
            and got.keys() == expected.keys()
            and all(_agree(got[key], expected[key], tolerance) for key in expected)
        )
    if not (_is_numeric(got) and _is_numeric(expected)):
        if _is_sequence(got) and _is_sequence(expected):
            return len(got) == len(expected) and all(
                _agree(one, other, tolerance) for one, other in zip(got, expected, strict=True)
            )
        # A data frame compares cell by cell, anything else as a whole.
        return type(got) is type(expected) and bool(np.all(np.asarray(got == expected)))
    return _arrays_agree(np.asarray(got), np.asarray(expected), tolerance)


def _arrays_agree(got: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if got.shape != expected.shape or (got.dtype.kind == "b") != (expected.dtype.kind == "b"):
        return False
    if got.dtype.kind in "fc" or expected.dtype.kind in "fc":
        return np.allclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    # Integers are exact: through floats, neighbours above 2^53 would look equal.
    return bool(np.all(got == expected))


def _is_sequence(value: object) -> bool:
    return isinstance(value, list | tuple)


def _is_numeric(value: object) -> bool:
    """Whether numpy holds the value as one array of numbers."""
    try:
        return np.asarray(value).dtype.kind in "biufc"
    except ValueError:  # rows of different length
        return False


def _print_counterexample(arguments: tuple[object, ...], expected: object, got: str) -> None:
    shown = ", ".join(_show(argument) for argument in arguments)
    print(f"Not yet. For the input {shown}\n  expected: {_show(expected)}\n  got:      {got}")


def _told(got: object, expected: object) -> str:
    text = _show(got)
    if text != _show(expected):
        return text
    if type(got) is not type(expected):
        return f"{text} (a {type(got).__name__}, not a {type(expected).__name__})"
    return f"{text} (equal in the digits shown, different further on)"


def _show(value: object) -> str:
    if isinstance(value, np.ndarray):
        shape = "×".join(str(size) for size in value.shape)
        text = np.array2string(value, precision=4, threshold=20, edgeitems=3, separator=", ")
        return f"{text} ({shape} array)" if value.size > 20 else text
    if isinstance(value, np.random.Generator):
        return "a random generator"
    if isinstance(value, Fresh):
        return _show(value.make())
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, np.generic):
        return str(value.item())
    if isinstance(value, list | tuple):
        inside = ", ".join(_show(item) for item in value[:8]) + (", …" if len(value) > 8 else "")
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str | bytes | int | type(None)):
        return repr(value)
    return f"a {type(value).__name__}"  # its repr could hold an address, different in each run


def _name(function: Callable[..., object]) -> str:
    name = getattr(function, "__name__", "your function")
    return "your function" if name == "<lambda>" else name
