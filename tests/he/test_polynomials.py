"""Ring products by transforms of doubles: every digit right, against large integers."""

import numpy as np
import pytest

from refimpl.he import polynomials
from tests.he.lattice import DEGREE, ring_product

WORST = {
    "all ones": (np.full(DEGREE, 2**64 - 1, np.uint64), np.ones(DEGREE, np.int8)),
    # Limbs of the largest magnitude, -2^31 and -2^31: nothing cancels.
    "largest limbs": (np.full(DEGREE, 2**63 - 2**31, np.uint64), np.ones(DEGREE, np.int8)),
    "alternating": (
        np.full(DEGREE, 0x8000000080000000, np.uint64),
        np.where(np.arange(DEGREE) % 2, 1, -1).astype(np.int8),
    ),
    "just under the carry": (
        np.full(DEGREE, 2**63 - 2**31 - 1, np.uint64),
        np.full(DEGREE, -1, np.int8),
    ),
}


def random_pair(seed):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (2, DEGREE), dtype=np.uint64)
    return words, rng.integers(-1, 2, DEGREE).astype(np.int8)


@pytest.mark.parametrize("seed", range(3))
def test_products_modulo_2_64_and_2_128_are_those_of_integers(seed):
    (low, high), small = random_pair(seed)
    wide = [int(a) | int(b) << 64 for a, b in zip(low, high, strict=True)]
    true = ring_product(wide, small)
    spectrum = polynomials.transform(small)
    found = polynomials.product(polynomials.limbs(low), spectrum)
    assert found.tolist() == [value % 2**64 for value in true]
    low, high = polynomials.wide_product(
        polynomials.wide_limbs(np.stack([low, high])), spectrum
    ).tolist()
    assert [a | b << 64 for a, b in zip(low, high, strict=True)] == [v % 2**128 for v in true]


@pytest.mark.parametrize("name", WORST)
def test_the_largest_products_are_exact_and_their_error_is_far_below_the_bound(name):
    words, small = WORST[name]
    true = ring_product(words, small)
    limbs, spectrum = polynomials.limbs(words), polynomials.transform(small)
    assert polynomials.product(limbs, spectrum).tolist() == [value % 2**64 for value in true]
    both = np.stack([words, words])
    low, high = polynomials.wide_product(polynomials.wide_limbs(both), spectrum).tolist()
    wide = [value * (2**64 + 1) % 2**128 for value in true]
    assert [a | b << 64 for a, b in zip(low, high, strict=True)] == wide
    unrounded = np.fft.ifft(limbs * spectrum) * polynomials._UNTWIST
    parts = unrounded.view(np.float64)
    assert np.abs(parts - np.rint(parts)).max() < 0.01  # proved: 0.27


def test_x_to_the_degree_is_minus_one():
    one = np.zeros(DEGREE, np.uint64)
    one[DEGREE - 1] = 5  # 5 X^4095
    x = np.zeros(DEGREE, np.int8)
    x[1] = 1
    found = polynomials.product(polynomials.limbs(one), polynomials.transform(x))
    assert found[0] == 2**64 - 5
    assert not found[1:].any()


def test_many_polynomials_at_once_are_each_alone():
    rng = np.random.default_rng(9)
    words = rng.integers(0, 2**64, (3, DEGREE), dtype=np.uint64)
    small = rng.integers(-1, 2, (3, DEGREE)).astype(np.int8)
    spectra = polynomials.transform(small)
    together = polynomials.product(polynomials.limbs(words), spectra)
    for row in range(3):
        alone = polynomials.product(polynomials.limbs(words[row]), spectra[row])
        assert np.array_equal(together[row], alone)


def test_blocks_cover_all_rows_once():
    for count in (0, 1, 4, 5, 9):
        rows = [*range(count)]
        assert [row for block in polynomials.blocks(count) for row in rows[block]] == rows
