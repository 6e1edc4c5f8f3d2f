"""Masks: NIST's vectors, an AES oracle block by block, cancellation, and uniformity with power."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from refimpl.smc import masks

SEED = bytes(range(16))
seeds = st.binary(min_size=16, max_size=16)


def oracle(seed: bytes, length: int) -> np.ndarray:
    """The stream by its definition: each counter encrypted alone, four bytes to a word."""
    encryptor = Cipher(algorithms.AES(seed), modes.ECB()).encryptor()
    stream = b"".join(
        encryptor.update(number.to_bytes(16, "big")) for number in range(length // 4 + 1)
    )
    words = [int.from_bytes(stream[i : i + 4], "little") for i in range(0, 4 * length, 4)]
    return np.array(words, np.uint32)


def test_the_first_block_is_fips_197():
    """AES of the counter 0 under the key of zeros: the AESAVS vector for a zero key and block."""
    assert masks.mask(4, bytes(16)).astype("<u4").tobytes().hex() == (
        "66e94bd4ef8a2c3b884cfa59ca342b2e"
    )


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 1_000, 2**15 - 1, 2**15, 70_001])
def test_the_stream_is_aes_in_counter_mode(length):
    drawn = masks.mask(length, SEED)
    assert drawn.dtype == np.uint32 and drawn.shape == (length,)
    assert np.array_equal(drawn, oracle(SEED, length))


@given(seeds, st.lists(st.integers(0, 2**32 - 1), max_size=50))
def test_adding_is_addition_modulo_2_to_the_32(seed, values):
    before = np.array(values, np.uint32)
    plus, minus = before.copy(), before.copy()
    masks.add(plus, seed)
    masks.add(minus, seed, sign=-1)
    mask = [int(word) for word in oracle(seed, len(values))]
    assert plus.tolist() == [(v + m) % 2**32 for v, m in zip(values, mask, strict=True)]
    assert minus.tolist() == [(v - m) % 2**32 for v, m in zip(values, mask, strict=True)]


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(1, 32), st.randoms(use_true_random=False))
def test_pairwise_masks_cancel_in_the_sum_of_any_ring(parties, bits, random):
    """Section 4.1 of Bonawitz et al.: each pair adds and subtracts; the sum is the values'."""
    inputs = np.array(
        [[random.randrange(2**bits) for _ in range(7)] for _ in range(parties)], np.uint32
    )
    masked = inputs.copy()
    for low in range(parties):
        for high in range(low + 1, parties):
            seed = random.randbytes(16)
            masks.add(masked[low], seed)
            masks.add(masked[high], seed, sign=-1)
    assert not np.array_equal(masked, inputs)
    sent = masked & np.uint32(2**bits - 1)
    total = [int(column.sum(dtype=np.uint64)) % 2**bits for column in sent.T]
    assert total == [int(column.sum(dtype=np.uint64)) % 2**bits for column in inputs.T]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [0, 3, 2**15 + 1, 70_001])
def test_many_masks_are_added_as_one_after_the_other(length, threads, monkeypatch):
    """Also where there are more threads than masks."""
    monkeypatch.setattr(masks, "_threads", lambda words: threads)
    signed = [(bytes([number]) * 16, sign) for number, sign in enumerate([1, -1, -1, 1, 1])]
    one_by_one, at_once = np.full((2, length), 7, np.uint32)
    for seed, sign in signed:
        masks.add(one_by_one, seed, sign=sign)
    masks.add_each(at_once, iter(signed))
    assert np.array_equal(at_once, one_by_one)
    masks.add_each(at_once, [])
    masks.add_each(at_once, [(seed, -sign) for seed, sign in signed])
    assert (at_once == 7).all()


def test_threads_are_started_for_much_work_alone(monkeypatch):
    for cores, words, expected in [
        (2, 0, 1),
        (2, 2**21 - 1, 1),
        (2, 2**21, 2),
        (8, 3 * 2**20, 3),
        (8, 2**30, 8),
        (None, 2**30, 1),
    ]:
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert masks._threads(words) == expected


def test_a_bad_seed_among_many_changes_nothing():
    total = np.zeros(3, np.uint32)
    with pytest.raises(ValueError, match="seed must be 16 bytes"):
        masks.add_each(total, [(SEED, 1), (b"short", 1)])
    assert not total.any()


def test_a_slice_is_changed_in_place_and_its_neighbours_are_not():
    grid = np.zeros((3, 5), np.uint32)
    masks.add(grid[1], SEED)
    masks.add(grid[:, 0], SEED)
    expected = np.zeros((3, 5), np.uint32)
    expected[1] += oracle(SEED, 5)
    expected[:, 0] += oracle(SEED, 3)
    assert np.array_equal(grid, expected)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("value", [0, 1])
def test_a_masked_vector_of_chosen_inputs_is_uniform(bits, value):
    """Low bits of ``value`` under a mask; chi-square over all 2^bits classes, false below 1e-8.

    Power over 0.999 for one class that is 15 % too frequent.
    """
    draws, degrees = 2**22, 2**bits - 1
    threshold = stats.chi2.isf(1e-8, degrees)
    assert stats.ncx2.sf(threshold, degrees, draws * 0.15**2 / 2**bits) > 0.999
    masked = np.full(draws, value, np.uint32)
    masks.add(masked, bytes(reversed(SEED)))
    counts = np.bincount(masked & np.uint32(2**bits - 1), minlength=2**bits)
    expected = draws / 2**bits
    assert float(((counts - expected) ** 2 / expected).sum()) < threshold


def test_threads_do_not_share_a_block():
    seeds = [number.to_bytes(16, "big") for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda seed: masks.mask(100_000, seed), seeds))
    for seed, words in zip(seeds, drawn, strict=True):
        assert np.array_equal(words, masks.mask(100_000, seed))


def test_neighbouring_seeds_give_unrelated_masks():
    """Agreeing bits of two masks: 2^21 of them, five standard deviations are 1e-6 by chance.

    Finds masks that agree in 50.2 % of their bits, or in all of them.
    """
    bits = 2**21
    first = masks.mask(bits // 32, SEED)
    for bit in (0, 7, 127):
        number = int.from_bytes(SEED, "big") ^ 1 << bit
        other = masks.mask(bits // 32, number.to_bytes(16, "big"))
        agree = bits - int(np.bitwise_count(first ^ other).sum())
        assert abs(agree - bits / 2) < 5.5 * (bits / 4) ** 0.5


@pytest.mark.parametrize(
    ("total", "complaint"),
    [
        ([0, 0], "uint32 array of one dimension, got <class 'list'>"),
        (np.zeros(3, np.uint64), "got uint64"),
        (np.zeros(3, np.int32), "got int32"),
        (np.zeros(3, np.float32), "got float32"),
        (np.zeros((2, 2), np.uint32), r"got uint32 \(2, 2\)"),
    ],
)
def test_other_arrays_are_refused(total, complaint):
    with pytest.raises(ValueError, match=complaint):
        masks.add(total, SEED)


def test_a_read_only_array_is_refused():
    total = np.zeros(3, np.uint32)
    total.flags.writeable = False
    with pytest.raises(ValueError, match="total must be writeable"):
        masks.add(total, SEED)


@pytest.mark.parametrize("seed", [b"", bytes(4), bytes(15), bytes(17), bytes(32), bytearray(16), 7])
def test_a_seed_has_16_bytes_and_is_not_printed(seed):
    with pytest.raises(ValueError, match="seed must be 16 bytes, got"):
        masks.mask(1, seed)
    with pytest.raises(ValueError) as caught:
        masks.mask(1, b"secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("sign", [0, 2, -2, None, "+"])
def test_a_sign_is_one_or_minus_one(sign):
    total = np.zeros(3, np.uint32)
    with pytest.raises(ValueError, match="sign must be 1 or -1"):
        masks.add(total, SEED, sign=sign)
    assert not total.any()


@pytest.mark.parametrize("length", [-1, 1.5, True])
def test_a_length_is_a_whole_number(length):
    with pytest.raises(ValueError, match="length must be a whole number"):
        masks.mask(length, SEED)
