"""The extrapolation counts every operation, and what is timed is the right sum."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from tests.he.keys import pair

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "paillier.py"))


def test_phe_would_encrypt_100000_add_90000_and_decrypt_10000():
    rows = [
        {"name": "refimpl", "ratio": 1.0, "seconds": 2.0, "work": "w", "note": "", "repeats": 7}
    ]
    names = ["phe, one encryption", "phe, one addition", "phe, one decryption"]
    rows += [
        rows[0] | {"name": name, "ratio": ratio, "seconds": 2 * ratio}
        for name, ratio in zip(names, (0.01, 1e-5, 3e-3), strict=True)
    ]
    (row,) = BENCH["extrapolated"](rows)
    assert row["ratio"] == pytest.approx(1_000 + 0.9 + 30)
    assert row["seconds"] == pytest.approx(2 * (1_000 + 0.9 + 30))
    assert "extrapolated" in row["name"]
    assert BENCH["extrapolated"](rows[:-1]) == []


def test_the_timed_sum_is_right():
    public, private = pair()
    vectors = BENCH["_vectors"](3, 100)
    total = BENCH["sum_once"](public, private, vectors)
    assert np.abs(total - vectors.sum(axis=0)).max() <= public.encoding.rounding_error(3) * 1.001
    assert np.abs(vectors).max() > 0.9


def test_the_peer_computes_the_same():
    _, private = pair()
    found = BENCH["_phe"](private)
    assert [*found] == [*BENCH["OPERATIONS"]]
    assert found["phe, one decryption"]() == pytest.approx(0.25, abs=1e-4)
