"""Additive shares over Z_2^64 against Python integers and AES itself."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from refimpl.arithmetic import randomness
from refimpl.smc import additive
from tests.smc.oracles import Scripted, assert_uniform_bytes

BLOCK = additive._BLOCK
secrets = arrays.arrays(
    st.sampled_from([np.uint64, np.int64, np.uint8, np.int16]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


def modulo(array):
    """The elements as Python integers modulo 2^64."""
    return [int(value) % 2**64 for value in array.reshape(-1)]


@given(secrets, st.integers(2, 6))
def test_the_secret_is_the_sum_of_the_shares_modulo_2_64(secret, parties):
    shares = additive.share(secret, parties)
    assert (shares.dtype, shares.shape) == (np.uint64, (parties, *secret.shape))
    columns = [modulo(row) for row in shares]
    assert [sum(column) % 2**64 for column in zip(*columns, strict=True)] == modulo(secret)
    found = additive.reconstruct(shares, parties=parties)
    assert (found.dtype, found.shape) == (np.uint64, secret.shape)
    assert modulo(found) == modulo(secret)


@pytest.mark.parametrize("length", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_every_block_is_shared(length):
    secret = randomness.seeded(1).uint64(length)
    shares = additive.share(secret, 3)
    assert np.array_equal(shares.sum(axis=0, dtype=np.uint64), secret)
    assert np.array_equal(additive.reconstruct(shares), secret)
    assert len(np.unique(shares)) == 3 * length  # a repeated block would show


def test_sums_of_shares_are_shares_of_the_sum():
    a, b = randomness.seeded(2).uint64((2, 50))
    both = additive.share(a, 4) + additive.share(b, 4)
    assert modulo(additive.reconstruct(both)) == [
        (int(x) + int(y)) % 2**64 for x, y in zip(a, b, strict=True)
    ]


def test_rows_may_be_separate_arrays_in_any_order():
    secret = np.array([[1, 2], [3, 2**64 - 1]], np.uint64)
    rows = list(additive.share(secret, 4))
    assert np.array_equal(additive.reconstruct(rows[::-1]), secret)


def test_out_is_filled_and_a_seeded_generator_repeats_itself():
    secret, out = np.arange(7), np.full((3, 7), 9, np.uint64)
    shares = additive.share(secret, 3, rng=randomness.seeded(5), out=out)
    assert shares is out
    assert np.array_equal(out, additive.share(secret, 3, rng=randomness.seeded(5)))
    assert not np.array_equal(out, additive.share(secret, 3, rng=randomness.seeded(6)))
    assert not np.array_equal(additive.share(secret, 3), additive.share(secret, 3))
    assert secret.tolist() == [0, 1, 2, 3, 4, 5, 6]


# --- privacy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", range(4))
def test_all_but_one_of_the_shares_are_the_same_for_any_two_secrets(missing):
    """Exact. What n-1 parties see of secret s with draws r, they see of s' with draws r', and
    r -> r' is a shift, so all draws being equally likely, both views have one distribution.
    """
    rng = randomness.seeded(missing)
    draws, one, other = rng.uint64((3, 9)), rng.uint64(9), rng.uint64(9)
    shifted = draws.copy()
    if missing < 3:
        shifted[missing] += other - one
    seen = np.delete(additive.share(one, 4, rng=Scripted(draws)), missing, axis=0)
    as_well = np.delete(additive.share(other, 4, rng=Scripted(shifted)), missing, axis=0)
    assert np.array_equal(seen, as_well)


@pytest.mark.parametrize("secret", [0, 2**64 - 1])
def test_each_share_and_each_difference_of_two_is_uniform(secret):
    """The draws themselves, over 2^20 bytes: catches a bit that is set 51.5% of the time."""
    shares = additive.share(np.full(2**17, secret, np.uint64), 3)
    for row in (*shares, shares[0] - shares[1], shares[1] - shares[2]):
        assert_uniform_bytes(row, least_power=0.515)


# --- seeds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (BLOCK + 3,), (2, 2 * BLOCK)])
def test_shares_from_seeds_are_shares(shape):
    secret = randomness.seeded(3).uint64(shape)
    seeds, last = additive.share_from_seeds(secret, 4)
    assert [len(seed) for seed in seeds] == [16, 16, 16]
    assert len(set(seeds)) == 3
    rows = [additive.expand(seed, shape) for seed in seeds]
    assert np.array_equal(additive.reconstruct([*rows, last], parties=4), secret)
    total = additive.sum_of_seeds(seeds, shape)
    assert np.array_equal(total, rows[0] + rows[1] + rows[2])


def test_a_seed_stands_for_its_aes_stream():
    seed = bytes(range(16))
    encryptor = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    stream = np.frombuffer(encryptor.update(bytes(8 * 20)), "<u8")
    assert additive.expand(seed, 20).tolist() == stream.tolist()


def test_seeds_are_new_each_time_and_their_last_share_is_uniform():
    """2^20 bytes: catches a bit that is set 51.5% of the time."""
    secret = np.zeros(2**17, np.uint64)
    (first, last), (second, _) = (additive.share_from_seeds(secret, 2) for _ in range(2))
    assert first != second
    assert_uniform_bytes(last, least_power=0.515)


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [additive.share, additive.share_from_seeds])
@pytest.mark.parametrize("parties", [1, 0, -1, 2.0, True, None])
def test_parties_must_be_two_or_more(function, parties):
    with pytest.raises(ValueError, match=r"parties must be .* at least 2, .* is the secret itself"):
        function([1, 2], parties)


@pytest.mark.parametrize("function", [additive.share, additive.share_from_seeds])
@pytest.mark.parametrize("secret", [[0.5], [float("nan")], [1 + 2j], ["a"], [2**64], [None]])
def test_a_secret_must_be_of_integers(function, secret):
    with pytest.raises(TypeError, match=r"secret must hold integers .* FixedPoint"):
        function(secret, 3)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((3, 4), np.int64), r"out must be uint64 of shape \(3, 4\), got int64"),
        (np.empty((4, 3), np.uint64), r"got uint64 of shape \(4, 3\)"),
        ([[0] * 4] * 3, "got list"),
        (np.empty((4, 3), np.uint64).T, "must be C-contiguous"),
        (np.broadcast_to(np.uint64(0), (3, 4)), "must be C-contiguous, writeable"),
    ],
)
def test_out_must_be_able_to_hold_the_shares(out, message):
    with pytest.raises(ValueError, match=message):
        additive.share(np.arange(4), 3, out=out)


def test_out_must_not_hold_the_secret():
    out = np.zeros((3, 4), np.uint64)
    with pytest.raises(ValueError, match="apart from the secret"):
        additive.share(out[1], 3, out=out)


@pytest.mark.parametrize(
    ("shares", "parties", "message"),
    [
        (np.zeros((2, 3), np.uint64), 3, "must be those of all parties=3, got 2"),
        (np.zeros((4, 3), np.uint64), 3, "must be those of all parties=3, got 4"),
        (np.zeros((1, 3), np.uint64), None, r"two or more arrays .* \[\(3,\)\]"),
        ([], None, "two or more arrays"),
        ([np.zeros(3, np.uint64), np.zeros(2, np.uint64)], None, r"\[\(3,\), \(2,\)\]"),
        ([np.zeros(3, np.uint64), np.zeros((1, 3), np.uint64)], None, "of one shape"),
        ([np.zeros(3, np.uint64), np.zeros(3, np.int64)], None, "share 1 .* got dtype int64"),
        (np.zeros((2, 3)), None, "share 0 must be an array of uint64, got dtype float64"),
        ([[1, 2], [3, 4]], None, "share 0 must be an array of uint64"),
    ],
)
def test_shares_must_be_all_there_and_alike(shares, parties, message):
    with pytest.raises(ValueError, match=message):
        additive.reconstruct(shares, parties=parties)


@pytest.mark.parametrize("seed", [b"", bytes(15), bytes(17), "0" * 16, None])
def test_a_seed_must_be_16_bytes(seed):
    with pytest.raises(ValueError, match="a seed must be 16 bytes"):
        additive.expand(seed, 3)


def test_a_missing_or_changed_share_is_not_detected():
    """What the docstring says: with a changed share the secret changes by as much."""
    shares = additive.share(np.array([5, 6]), 3)
    shares[1, 0] += np.uint64(7)
    assert additive.reconstruct(shares).tolist() == [12, 6]
    assert additive.reconstruct(shares[:2]).tolist() != [12, 6]
