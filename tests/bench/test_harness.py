"""The bench's bookkeeping: what it writes, and that ratios are those of the pairs."""

import json
import platform
import runpy
import time
from pathlib import Path

import pytest

HARNESS = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "harness.py"))


def test_record_replaces_its_section_and_keeps_the_others(tmp_path):
    path = tmp_path / "data" / "measured.json"
    HARNESS["record"]("bench", {"b": 1.23456, "a": [0.000123456, 7, "text", None]}, path)
    HARNESS["record"]("matrix", {"rows": (1.0, True)}, path)
    HARNESS["record"]("bench", {"c": 98765.4}, path)
    measured = json.loads(path.read_text(encoding="utf-8"))
    assert measured["bench"] == {"c": 98770.0}
    assert measured["matrix"] == {"rows": [1.0, True]}
    assert set(measured) == {"bench", "matrix", "recorded", "machine", "versions", "date"}
    assert set(measured["recorded"]) == {"bench", "matrix"}
    assert measured["recorded"]["bench"]["machine"] == measured["machine"]
    assert list(measured) == sorted(measured)
    assert [file.name for file in path.parent.iterdir()] == ["measured.json"]
    assert HARNESS["recorded"](tmp_path / "absent.json") == {}


def test_numbers_are_rounded_to_four_digits(tmp_path):
    path = tmp_path / "measured.json"
    HARNESS["record"]("bench", {"x": [1.23456, 0.000123456, 12]}, path)
    assert json.loads(path.read_text(encoding="utf-8"))["bench"]["x"] == [1.235, 0.0001235, 12]


def test_the_stamp_names_versions_but_no_host():
    stamp = HARNESS["stamp"]()
    assert {"numpy", "cryptography"} <= set(stamp["versions"])
    assert "cores" in stamp["machine"] and "CPython" in stamp["machine"]
    assert platform.node() not in json.dumps(stamp) or not platform.node()


def test_rows_relate_each_function_to_the_first(monkeypatch, capsys):
    """Each call takes as long as it says, on a clock that the test moves."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def lasting(seconds: float):
        def function() -> None:
            clock[0] += seconds

        return function

    functions = {"ours": lasting(0.5), "theirs": lasting(2.0), "fast": lasting(0.001)}
    rows = HARNESS["compare"](functions, work="a task", repeats=5, note="unfair")
    assert [row["name"] for row in rows] == ["ours", "theirs", "fast"]
    assert [row["ratio"] for row in rows] == pytest.approx([1.0, 4.0, 0.002])
    assert [row["seconds"] for row in rows] == pytest.approx([0.5, 2.0, 0.001])
    assert {(row["work"], row["repeats"], row["note"]) for row in rows} == {("a task", 5, "unfair")}
    printed = capsys.readouterr().out
    assert "theirs" in printed and "unfair" in printed


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match="repeats must be at least 5, got 4"):
        HARNESS["compare"]({"a": int}, work="", repeats=4)
