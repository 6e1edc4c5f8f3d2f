"""The bench's bookkeeping: ratios are those of the pairs."""

import runpy
import time
from pathlib import Path

import pytest

from bench.harness import installed

HARNESS = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "harness.py"))


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


@pytest.mark.parametrize(
    ("found", "right"), [("0.16", True), ("0.16.3", True), ("0.160", False), ("1.16", False)]
)
def test_a_peer_takes_part_in_its_version_only(monkeypatch, capsys, found, right):
    monkeypatch.setattr("bench.harness.version", lambda name: found)
    assert installed("peer", "0.16") is right
    assert ("peer 0.16 is left out, found " in capsys.readouterr().out) is not right


def test_a_peer_that_is_absent_is_left_out_with_a_line(capsys):
    assert not installed("no-such-peer", "1.0")
    assert "no-such-peer 1.0 is left out, found none" in capsys.readouterr().out
