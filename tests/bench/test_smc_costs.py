"""The sums whose times are recorded are the right ones."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT))  # bench is no part of the installed package
    try:
        return runpy.run_path(str(ROOT / "bench" / "smc_costs.py"))
    finally:
        sys.path.remove(str(ROOT))


def test_every_protocol_adds_up(bench):
    for name, make in bench["PROTOCOLS"].items():
        total = bench["sum_once"](make(10), 10, 3)
        np.testing.assert_allclose(total, [5, 5, 5], atol=10 * 2**-15, err_msg=name)


def test_a_row_says_how_many_and_how_long(bench, monkeypatch):
    timed = {}

    def compare(functions, **about):
        timed.update(functions)
        return [{"name": name, **about} for name in functions]

    monkeypatch.setitem(bench["sums"].__globals__, "compare", compare)
    rows = bench["sums"](10, 1_000)
    assert list(timed) == list(bench["PROTOCOLS"])
    assert {(row["participants"], row["length"]) for row in rows} == {(10, 1_000)}
