"""Randomness: published vectors, an AES oracle block by block, and statistics with their power.

Each statistical test fails by chance with probability below 1e-8.
"""

import copy
import hashlib
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.arithmetic.randomness import CryptoGenerator

CHANCE = 1e-8


def blocks(key: bytes, first: int, length: int) -> bytes:
    """The stream by its definition: each counter encrypted alone."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    numbers = range(first, first + length // 16 + 1)
    return b"".join(encryptor.update((n % 2**128).to_bytes(16, "big")) for n in numbers)[:length]


@pytest.mark.parametrize(
    ("key", "ciphertext"),
    [
        (  # NIST SP 800-38A, F.5.1 (AES-128)
            "2b7e151628aed2a6abf7158809cf4f3c",
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
            "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        ),
        (  # F.5.5 (AES-256)
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
            "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        ),
    ],
)
def test_nist_vectors(key, ciphertext):
    plaintext = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    rng = CryptoGenerator(bytes.fromhex(key), counter=int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16))
    stream = rng.bytes(64)
    assert bytes(x ^ y for x, y in zip(stream, plaintext, strict=True)).hex() == ciphertext


def test_long_draws_are_the_blocks_one_by_one():
    key = bytes(range(16))
    assert CryptoGenerator(key).bytes(300_001) == blocks(key, 0, 300_001)


def test_domains_are_far_apart_and_named_by_the_counter():
    key = bytes(range(32))
    for domain in (0, 1, 2**64 - 1):
        assert randomness.expand(key, 100, domain=domain) == blocks(key, domain << 64, 100)
    drawn = randomness.expander(key, domain=5).uint64(10)
    assert drawn.astype("<u8").tobytes() == randomness.expand(key, 80, domain=5)


def test_a_seeded_stream_is_fixed_by_seed_and_label():
    key = hashlib.sha256(b"teaching seed 7, stream north").digest()[:16]
    assert randomness.seeded(7, "north").bytes(50) == blocks(key, 0, 50)
    draws = [
        randomness.seeded(*arguments).bytes(16)
        for arguments in ((7,), (8,), (-7,), (7, "north"), (7, "south"), (2**70,))
    ]
    assert len(set(draws)) == len(draws)
    assert randomness.seeded(np.int64(7)).bytes(16) == draws[0]


def test_the_stream_does_not_depend_on_how_it_is_cut():
    whole = randomness.seeded(1).uint64(50_000)
    rng = randomness.seeded(1)
    into = np.zeros((10, 3), np.uint64)
    assert rng.uint64(out=into) is into
    parts = [into.reshape(-1), rng.uint64((2, 5)).reshape(-1), rng.uint64(49_960)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert randomness.seeded(1).bytes(80) == whole[:10].astype("<u8").tobytes()


def test_bits_are_the_low_bits_of_the_smallest_words():
    stream = randomness.seeded(2).bytes(64)
    for bits, size in ((1, 1), (8, 1), (9, 2), (16, 2), (17, 4), (32, 4), (33, 8), (64, 8)):
        expected = [
            int.from_bytes(stream[i : i + size], "little") % 2**bits for i in range(0, 64, size)
        ]
        drawn = randomness.seeded(2).bits(bits, 64 // size)
        assert drawn.dtype == np.uint64
        assert drawn.tolist() == expected


def test_uniform_doubles_are_the_top_53_bits():
    words = randomness.seeded(3).uint64(100).tolist()
    assert randomness.seeded(3).uniform(100).tolist() == [(w >> 11) / 2**53 for w in words]


def test_shapes():
    rng = randomness.seeded(0)
    for draw in (rng.uint64, rng.uniform, partial(rng.bits, 5), partial(rng.below, 9)):
        assert draw().shape == ()
        assert draw(4).shape == (4,)
        assert draw((2, 0, 3)).shape == (2, 0, 3)
    assert rng.bytes(0) == b""


def test_secure_generators_are_keyed_apart():
    assert randomness.secure().bytes(16) != randomness.secure().bytes(16)
    assert randomness.resolve().bytes(16) != randomness.resolve(None).bytes(16)


def chi_square(counts: np.ndarray, shares: np.ndarray | float) -> float:
    expected = counts.sum() * shares
    return float(((counts - expected) ** 2 / expected).sum())


def test_bytes_are_equally_frequent():
    """Power: one byte value that is 15 % too frequent is found with probability over 0.999."""
    draws, degrees = 2**22, 255
    threshold = stats.chi2.isf(CHANCE, degrees)
    assert stats.ncx2.sf(threshold, degrees, draws * 0.15**2 / 256) > 0.999
    data = np.frombuffer(randomness.secure().bytes(draws), np.uint8)
    assert chi_square(np.bincount(data, minlength=256), 1 / 256) < threshold


@pytest.mark.parametrize("bound", [3, 10, 200, 1_000, 3 << 30, 3 << 62, 2**61 - 1, 2**64])
def test_below_is_uniform(bound):
    """Power: one bin that is 10 % too frequent is found with probability over 0.999.

    A remainder instead of rejection makes some bin at least 12 % too frequent for every bound
    here except the last two, which check the ends of the range.
    """
    draws = 400_000
    bins = bound if bound <= 10 else 6
    threshold = stats.chi2.isf(CHANCE, bins - 1)
    assert stats.ncx2.sf(threshold, bins - 1, draws * 0.1**2 / bins) > 0.999
    values = randomness.secure().below(bound, draws)
    assert values.dtype == np.uint64
    assert int(values.max()) < bound
    edges = [bound * i // bins for i in range(bins + 1)]
    inner = np.array(edges[1:-1], np.uint64)
    counts = np.bincount(np.searchsorted(inner, values, side="right"))
    shares = np.array([(high - low) / bound for low, high in pairwise(edges)])
    assert chi_square(counts, shares) < threshold


def test_below_small_bounds_reach_every_value():
    """Each value is missing from 2,000 draws with probability below 13 * (12/13)^2000 < 1e-60."""
    for bound in range(1, 14):
        values = randomness.secure().below(bound, 2_000)
        assert sorted(set(values.tolist())) == list(range(bound))


@pytest.mark.parametrize("bits", [1, 7, 16, 33, 61, 64])
def test_each_bit_is_fair_and_independent_of_its_neighbour(bits):
    """Power: a bit that is set with probability 0.52, or equal to its neighbour so often."""
    draws, limit = 2**17, 7.0  # standard deviations: chance 3e-12 for each of at most 127 counts
    assert 2 * 0.02 * np.sqrt(draws) - limit > 5
    values = randomness.secure().bits(bits, draws)
    each = (values[:, None] >> np.arange(bits, dtype=np.uint64) & np.uint64(1)).astype(np.int64)
    for counted in (each, each[:, 1:] ^ each[:, :-1], each[1:] ^ each[:-1]):
        deviations = (2 * counted.sum(axis=0) - len(counted)) / np.sqrt(len(counted))
        assert np.all(np.abs(deviations) < limit)


def test_uniform_follows_its_distribution():
    """Power: a distribution function that is off by 0.02 anywhere is found (Massart's bound)."""
    draws = 200_000
    limit = np.sqrt(np.log(2 / CHANCE) / (2 * draws))  # Dvoretzky-Kiefer-Wolfowitz-Massart
    assert limit < 0.01
    values = np.sort(randomness.secure().uniform(draws))
    assert values[0] >= 0 and values[-1] < 1
    steps = np.arange(draws + 1) / draws
    assert max(np.max(steps[1:] - values), np.max(values - steps[:-1])) < limit


def test_a_generator_cannot_be_copied_or_pickled():
    rng = randomness.seeded(0)
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a stream is used once"):
            duplicate(rng)
    with pytest.raises(TypeError, match="a stream is used once"):
        copy.deepcopy({"party": [rng]})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_cannot_repeat_the_stream():
    rng = randomness.secure()
    rng.bytes(1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, rng.bytes(16))
        except RuntimeError as error:
            os.write(writer, f"refused: {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert answer.startswith(b"refused: this generator belongs to the process that made it")
    assert len(rng.bytes(16)) == 16  # the parent goes on


def test_threads_get_disjoint_contiguous_parts():
    words, draws = 1 << 16, 24  # 512 KiB a draw: four chunks, so there are places to interrupt
    whole = randomness.seeded(4).uint64(words * draws)
    starts = {int(whole[i * words]): whole[i * words : (i + 1) * words] for i in range(draws)}
    rng = randomness.seeded(4)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(lambda _: rng.uint64(words), range(draws)))
    finally:
        sys.setswitchinterval(interval)
    assert {int(part[0]) for part in parts} == set(starts)
    assert all(np.array_equal(part, starts[int(part[0])]) for part in parts)


def test_resolve_takes_only_its_own_kind():
    rng = randomness.seeded(0)
    assert randomness.resolve(rng) is rng
    for wrong in (0, np.random.default_rng(0)):
        with pytest.raises(TypeError, match=r"rng must be .* randomness.seeded\(seed\)"):
            randomness.resolve(wrong)


def test_impossible_arguments_are_refused():
    rng = randomness.seeded(0)
    for call, message in (
        (lambda: CryptoGenerator(b"short"), "key must be 16, 24 or 32 bytes, got 5"),
        (
            lambda: CryptoGenerator(bytes(16), counter=2**128),
            "counter must be a whole number between",
        ),
        (
            lambda: randomness.expand(bytes(16), 4, domain=2**64),
            "domain must be a whole number between",
        ),
        (lambda: rng.below(2.5), "bound must be a whole number between 1 and 2\\^64, got 2.5"),
        (lambda: rng.bits(2.5), "bits must be a whole number between 1 and 64, got 2.5"),
        (lambda: rng.bytes(2.5), "length must be a whole number of at least 0, got 2.5"),
        (lambda: rng.bytes(-1), "length must be a whole number of at least 0, got -1"),
        (lambda: rng.below(0), "bound must be a whole number between 1 and 2\\^64, got 0"),
        (lambda: rng.below(2**64 + 1), "bound must be a whole number between"),
        (lambda: rng.bits(65), "bits must be a whole number between 1 and 64, got 65"),
        (lambda: rng.bits(0), "bits must be a whole number between 1 and 64, got 0"),
        (lambda: rng.uint64(out=np.zeros((4, 4), np.uint64)[:, ::2]), "out must be a C-contig"),
        (lambda: rng.uint64(out=np.zeros(4)), "out must be a C-contiguous uint64 array"),
        (lambda: rng.uint64(3, out=np.zeros(4, np.uint64)), "shape must be that of out"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for seed in (0.5, "7", True):
        with pytest.raises(TypeError, match="seed must be an integer"):
            randomness.seeded(seed)
