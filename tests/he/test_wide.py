"""Words of two words: carries, signs, and what travels."""

import numpy as np
import pytest

from refimpl.he import wide

EDGES = [0, 1, 2**64 - 1, 2**64, 2**127, 2**128 - 1, 2**128 - 2**64, 3**80]


def words(values):
    return np.array([[v % 2**64 for v in values], [v >> 64 for v in values]], np.uint64)


def numbers(array):
    return [int(low) | int(high) << 64 for low, high in zip(*array, strict=True)]


def test_sums_carry():
    pairs = [(a, b) for a in EDGES for b in EDGES]
    total = words([a for a, _ in pairs])
    wide.add(total, words([b for _, b in pairs]))
    assert numbers(total) == [(a + b) % 2**128 for a, b in pairs]


def test_small_numbers_are_added_with_their_sign():
    small = [-21, -1, 0, 1, 21, 2**63 - 1, -(2**63)]
    pairs = [(a, b) for a in EDGES for b in small]
    total = words([a for a, _ in pairs])
    wide.add_small(total, np.array([b % 2**64 for _, b in pairs], np.uint64))
    assert numbers(total) == [(a + b) % 2**128 for a, b in pairs]


@pytest.mark.parametrize("bits", [65, 72, 96, 109, 127, 128])
def test_packing_keeps_what_is_below_the_modulus(bits):
    values = np.random.default_rng(bits).integers(0, 2**64, (2, 3, 8), dtype=np.uint64)
    low, high = wide.pack(values, bits)
    assert high.dtype == np.uint8
    assert high.shape == (3, bits - 64)
    found = wide.unpack(low, high, bits)
    assert np.array_equal(found[0], values[0])
    kept = np.array([int(v) % 2 ** (bits - 64) for v in values[1].ravel()], np.uint64)
    assert np.array_equal(found[1].ravel(), kept)
