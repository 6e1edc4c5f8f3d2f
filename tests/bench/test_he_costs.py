"""The encrypted sums whose times are recorded are the right ones."""

import dataclasses
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.he.keys import SAFE_PRIMES_OF_1024_BITS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT))  # bench is no part of the installed package
    try:
        return runpy.run_path(str(ROOT / "bench" / "he_costs.py"))
    finally:
        sys.path.remove(str(ROOT))


def test_every_protocol_adds_up_again_and_again(bench):
    """With the same keys: the first sum of a threshold lattice makes its key."""
    for name, make in bench["PROTOCOLS"].items():
        protocol = make()
        if hasattr(protocol, "primes"):  # drawing them takes seconds
            protocol = dataclasses.replace(protocol, primes=SAFE_PRIMES_OF_1024_BITS)
        sum_once = bench["prepared"](protocol, 3)
        for _ in range(2):
            np.testing.assert_allclose(sum_once(), [5, 5, 5], atol=10 * 2**-15, err_msg=name)


def test_a_row_says_how_long_and_slow_ones_are_left_out(bench, monkeypatch):
    timed = {}

    def compare(functions, **about):
        timed.update(functions)
        return [{"name": name, **about} for name in functions]

    patched = bench["sums"].__globals__
    monkeypatch.setitem(patched, "compare", compare)
    monkeypatch.setitem(patched, "prepared", lambda protocol, length: (protocol, length))
    rows = bench["sums"](100_000)
    assert set(bench["PROTOCOLS"]) - set(timed) == {"threshold Paillier"}
    assert {(row["participants"], row["length"]) for row in rows} == {(10, 100_000)}
    assert {length for _, length in timed.values()} == {100_000}
