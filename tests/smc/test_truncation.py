"""Truncation, exhaustively in a ring of 8 bits and by its stated rates in the real one."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refimpl.arithmetic import randomness, ring
from refimpl.smc import additive, truncation

TINY = 8
RING = np.arange(2**TINY, dtype=np.uint64)


def local(first, second, shift, bits=64):
    """What two parties with these shares end up with, as signed integers."""
    parts = [
        truncation.local(share, shift, party=party, bits=bits)
        for party, share in enumerate((first, second))
    ]
    return ring.to_signed(ring.add(*parts, bits), bits)


def paired(x, shift, parties, *, bits=64, rng=None):
    """What parties that hold shares of ``x`` end up with by a dealer's pairs."""
    pairs = truncation.pairs(x.shape, shift, parties, rng=rng, bits=bits)
    shares = additive.share(x, parties, rng=rng)
    opened = additive.reconstruct(
        [truncation.masked(np.asarray(s), p) for s, p in zip(shares, pairs, strict=True)]
    )
    rest = [truncation.truncated(opened, p, leads=k == 0) for k, p in enumerate(pairs)]
    return ring.to_signed(additive.reconstruct(rest), bits)


def neighbours(x, shift):
    """x / 2^shift rounded down and rounded up."""
    return x >> shift, -(-x >> shift)


# --- the statement, exhaustively ---------------------------------------------------------------


@pytest.mark.parametrize("shift", [1, 3, 6])
def test_of_all_sharings_of_x_exactly_abs_x_fail_and_by_exactly_a_power_of_two(shift):
    """Every x and every r of Z_2^8: 65,536 truncations for each shift."""
    for word in RING:
        x = int(ring.to_signed(word, TINY))
        result = local(ring.add(word, RING, TINY), ring.negate(RING, TINY), shift, TINY)
        down, up = neighbours(x, shift)
        right = (result == down) | (result == up)
        assert np.count_nonzero(~right) == abs(x)
        off = ring.reduce(result - down, TINY)[~right]
        jump = 2 ** (TINY - shift)
        assert {*off.tolist()} <= {v % 2**TINY for v in (jump, -jump, jump + 1, 1 - jump)}


@pytest.mark.parametrize("shift", [1, 3, 6])
def test_it_is_right_on_average(shift):
    """The sum over all r that do not wrap: each x is rounded up as often as its fraction says."""
    for word in range(2 ** (TINY - 1)):
        result = local(ring.add(word, RING, TINY), ring.negate(RING, TINY), shift, TINY)
        down, _ = neighbours(word, shift)
        ups = np.count_nonzero((result == down + 1)[: 2**TINY - word])
        residues = np.arange(2**TINY - word) % 2**shift
        assert ups == np.count_nonzero(residues >= 2**shift - word % 2**shift)
    x = 2**shift - 1  # 2^TINY - x values of r do not wrap, and nearly all of them round up
    result = local(ring.add(x, RING, TINY), ring.negate(RING, TINY), shift, TINY)
    assert abs(result[: 2**TINY - x].mean() - x / 2**shift) < 2.0 ** (2 * shift - TINY)


@pytest.mark.parametrize("parties", [2, 3, 5])
def test_pairs_obey_the_same_statement(parties, monkeypatch):
    """All r in turn, instead of random ones, in Z_2^8."""

    class EveryMask(randomness.CryptoGenerator):
        def bits(self, bits, shape=()):
            assert (bits, shape) == (TINY, RING.shape)
            return RING.copy()

    shift = 3
    for word in RING:
        x = int(ring.to_signed(word, TINY))
        secret = np.full(RING.shape, word)
        result = paired(secret, shift, parties, bits=TINY, rng=EveryMask(bytes(16)))
        down, up = neighbours(x, shift)
        assert np.count_nonzero((result != down) & (result != up)) == abs(x)


# --- the statement, at real size ---------------------------------------------------------------


@given(
    st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=8),
    st.integers(1, 40),
    st.integers(2, 6),
)
def test_at_real_size_the_error_is_below_one_unit(values, shift, parties):
    """|x| up to 2^30: of the at most 1,600 numbers drawn here, one fails with probability 1e-7."""
    x = np.array(values)
    results = [paired(ring.from_signed(x), shift, parties)]
    if parties == 2:
        results.append(local(*additive.share(x, 2), shift))
    for result in results:
        down, up = neighbours(x, shift)
        assert ((result == down) | (result == up)).all()


@pytest.mark.parametrize("way", ["local", "pairs"])
@pytest.mark.parametrize("sign", [1, -1])
def test_at_real_size_it_fails_as_often_as_stated(way, sign):
    """|x| = 2^58: one in 64. Of 40,000 numbers 625 fail, with a standard deviation of 24.8.

    Bounds at ± 6 of them: chance failure 2e-9. A rate of twice or half as much is found for
    certain (25 and 12 deviations away).
    """
    n, bits = 40_000, 58
    x = np.full(n, sign * 2**bits)
    rng = randomness.seeded(bits + sign)
    if way == "local":
        result = local(*additive.share(x, 2, rng=rng), 20)
    else:
        result = paired(ring.from_signed(x), 20, 3, rng=rng)
    wrong = np.count_nonzero(result != sign * 2 ** (bits - 20))
    rate = 2.0 ** (bits - 64)
    assert abs(wrong - n * rate) < 6 * np.sqrt(n * rate * (1 - rate))
    assert truncation.failure_probability(2.0**18, 20) == rate


def test_pairs_round_up_as_often_as_the_fraction_says():
    """A quarter: of 40,000, 10,000 ± 6·86.6. Opening x - r instead would never round up."""
    result = paired(np.full(40_000, 1_000_001 * 4 + 1, np.uint64), 2, 3, rng=randomness.seeded(4))
    assert abs(np.count_nonzero(result == 1_000_002) - 10_000) < 6 * np.sqrt(40_000 * 3 / 16)


def test_three_parties_truncating_locally_would_be_wrong_half_of_the_time():
    """Why it is refused. 10,000 numbers: 5,000 ± 6·50 are right, whatever constant is taken off."""
    x = np.full(10_000, 3 << 20, np.uint64)
    first, second, third = additive.share(x, 3, rng=randomness.seeded(3))
    total = truncation.local(first, 10, party=0)
    for share in (second, third):
        total = ring.add(total, truncation.local(share, 10, party=1))
    off = ring.to_signed(total) - (3 << 10)
    wraps, counts = np.unique(np.rint(off / 2.0**54), return_counts=True)
    assert (np.abs(off - wraps[:, None] * 2**54).min(axis=0) <= 2).all()
    assert 4700 < counts.max() < 5300
    with pytest.raises(ValueError, match=r"parties must be 2 .* got 3: .* use pairs"):
        truncation.local(first, 10, party=0, parties=3)


def test_what_is_opened_is_uniform_whatever_the_secret():
    """Chi-square on the highest four and lowest four bits of x + r, chance failure 1e-8 each.

    Power: as for the openings of a product.
    """
    for secret in (0, 2**63 - 1):
        (pair, other) = truncation.pairs((1 << 16,), 16, 2, rng=randomness.seeded(secret % 99))
        shares = additive.share(np.full(1 << 16, secret), 2, rng=randomness.seeded(secret % 98))
        opened = ring.add(truncation.masked(shares[0], pair), truncation.masked(shares[1], other))
        for seen in (opened, pair.mask, pair.shifted):
            for shift in (0, 60):
                cells = np.bincount((seen >> np.uint64(shift)).astype(np.int64) & 15, minlength=16)
                assert stats.chisquare(cells).pvalue > 1e-8


# --- pairs -------------------------------------------------------------------------------------


def test_a_pair_is_a_number_and_its_truncation_and_a_fresh_one():
    rows = truncation.pairs((5,), 7, 3), truncation.pairs((5,), 7, 3)
    masks = []
    for pairs in rows:
        r, shifted = (
            additive.reconstruct([getattr(p, key) for p in pairs]) for key in ("mask", "shifted")
        )
        assert (shifted == r >> np.uint64(7)).all()
        masks.append(r.tolist())
    assert masks[0] != masks[1]


def test_a_spent_pair_and_a_share_of_another_shape_are_refused():
    pair, _ = truncation.pairs((2,), 3, 2)
    share = np.zeros(2, np.uint64)
    for wrong in (share[:1], share.astype(np.int64)):
        with pytest.raises(ValueError, match=r"share must be uint64 of shape \(2,\)"):
            truncation.masked(wrong, pair)
    truncation.masked(share, pair)
    with pytest.raises(ValueError, match="a pair must be used once, and this one is spent"):
        truncation.masked(share, pair)


def test_numbers_are_truncated_like_arrays():
    assert paired(np.uint64(1 << 20), 10, 3).tolist() == 1 << 10
    first, second = additive.share(1 << 20, 2)
    assert local(first, second, 10).tolist() == 1 << 10


# --- encoding ----------------------------------------------------------------------------------


@given(st.lists(st.floats(-100, 100), min_size=1), st.integers(0, 50))
def test_an_encoding_is_the_nearest_integer(values, fraction_bits):
    """Exact rational arithmetic is the oracle."""
    words = truncation.encode(values, fraction_bits, bound=100)
    for value, integer in zip(values, ring.to_signed(words).tolist(), strict=True):
        assert abs(Fraction(value) * 2**fraction_bits - integer) <= Fraction(1, 2)
    back = truncation.decode(words, fraction_bits)
    assert np.abs(back - values).max() <= 2.0 ** -(fraction_bits + 1) * (1 + 2**-40)


def test_known_encodings():
    words = truncation.encode([1.0, -1.0, 0.0, 0.25, -0.124], 3, bound=1)
    assert words.tolist() == [8, 2**64 - 8, 0, 2, 2**64 - 1]
    assert truncation.decode(words, 3).tolist() == [1, -1, 0, 0.25, -0.125]
    assert truncation.encode(0.5, 1, bound=1).shape == ()
    assert truncation.decode(np.array([2**63], np.uint64), 62).tolist() == [-2.0]


@pytest.mark.parametrize("value", [1.01, -2, np.nan, np.inf, -np.inf])
def test_a_value_beyond_the_bound_is_refused(value):
    with pytest.raises(ValueError, match=r"lie in \[-1, 1\], got .* at index \(1, 0\)"):
        truncation.encode([[0.0], [value]], 16, bound=1)


@pytest.mark.parametrize(
    ("fraction_bits", "bound"), [(16, 2.0**47), (62, 2), (0, np.inf), (8, 0), (8, -1), (8, np.nan)]
)
def test_a_bound_that_does_not_fit_is_refused(fraction_bits, bound):
    with pytest.raises(ValueError, match="bound must be positive and below 2"):
        truncation.encode([0.0], fraction_bits, bound=bound)
    truncation.encode([0.0], 16, bound=2.0**46)


def test_failure_probability():
    assert truncation.failure_probability(1.0, 16) == 2.0**-32
    assert truncation.failure_probability(2.0, 16, numbers=2**10) == 2.0**-21
    assert truncation.failure_probability(1.0, 32, numbers=5) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: truncation.local(RING, 64, party=0),
        lambda: truncation.local(RING, -1, party=0),
        lambda: truncation.local(RING, 8, party=0, bits=8),
        lambda: truncation.local(RING, 3, party=2),
        lambda: truncation.local(RING, 3, party=0, parties=1),
        lambda: truncation.pairs((1,), 64, 2),
        lambda: truncation.pairs((1,), 3, 1),
        lambda: truncation.encode([1.0], 63, bound=1),
        lambda: truncation.encode([1.0], 2.5, bound=1),
        lambda: truncation.decode(RING, -1),
    ],
)
def test_impossible_numbers_are_refused(call):
    with pytest.raises(ValueError, match="must be a whole number"):
        call()
