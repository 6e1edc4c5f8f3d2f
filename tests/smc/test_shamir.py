"""Shamir's shares over F_(2^61-1) against Lagrange in Python integers."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from refimpl.arithmetic import field, randomness
from refimpl.smc import shamir
from refimpl.smc.decoding import InconsistentShares
from tests.smc.oracles import (
    P,
    Scripted,
    assert_uniform_bytes,
    differences,
    lagrange,
    polynomial,
)

BLOCK = shamir._BLOCK // 3  # with threshold=3
KNOWN = [1494, 329, 965, 176, 1188, 775]  # 1234 + 166 x + 94 x^2 modulo 1613 at x = 1, ..., 6
elements = st.integers(0, P - 1) | st.sampled_from([0, 1, P - 1, P // 2])
secrets = arrays.arrays(
    np.uint64,
    arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
    elements=elements,
)
sizes = st.integers(2, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


def rows(shares, xs):
    """The shares of these x, as ``reconstruct`` takes them."""
    return {x: shares[x - 1] for x in xs}


# --- known answers -----------------------------------------------------------------------------


def test_the_oracle_knows_the_published_polynomial():
    assert [polynomial([1234, 166, 94], x, 1613) for x in range(1, 7)] == KNOWN
    for three in combinations(enumerate(KNOWN, start=1), 3):
        assert lagrange(three, 1613) == 1234


def test_shares_of_the_published_polynomial():
    """Its values are below p, so modulo 1613 they are those published."""
    draws = np.array([[166 + 94], [2 * 94]])  # f(1) - f(0), and the second difference
    shares = shamir.share([1234], 6, 3, rng=Scripted([draws]))
    assert (shares[:, 0] % 1613).tolist() == KNOWN
    assert shares[:, 0].tolist() == [1234 + 166 * x + 94 * x * x for x in range(1, 7)]
    for xs in combinations(range(1, 7), 3):
        assert shamir.reconstruct(rows(shares, xs), 3).tolist() == [1234]


def test_the_first_rows_have_binomial_coefficients():
    assert shamir.coefficients([1, 2, 3]) == [3, P - 3, 1]
    assert shamir.coefficients([1, 2, 3, 4]) == [4, P - 6, 4, P - 1]
    assert shamir.coefficients([7]) == [1]
    assert shamir.coefficients([2, 5], at=5) == [0, 1]


# --- properties, and the oracle ----------------------------------------------------------------


@given(secrets, sizes, st.data())
def test_any_threshold_rows_give_the_secret_back(secret, size, data):
    parties, threshold = size
    shares = shamir.share(secret, parties, threshold)
    assert (shares.dtype, shares.shape) == (np.uint64, (parties, *secret.shape))
    assert (shares < P).all()
    xs = data.draw(st.permutations(range(1, parties + 1)))
    for count in {threshold, parties}:
        found = shamir.reconstruct(rows(shares, xs[:count]), threshold)
        assert (found.dtype, found.shape) == (np.uint64, secret.shape)
        assert np.array_equal(found, secret)
    assert np.array_equal(shamir.reconstruct(rows(shares, xs)), secret)


@given(st.lists(elements, min_size=1, max_size=6), st.integers(0, 4))
def test_shares_are_the_values_of_the_polynomial_drawn(coefficients, more):
    threshold = len(coefficients)
    parties = max(2, threshold + more)
    values = [polynomial(coefficients, x) for x in range(parties + 1)]
    draws = np.array(differences(values[:threshold])[1:], np.uint64)[:, None]
    shares = shamir.share(coefficients[:1], parties, threshold, rng=Scripted([draws]))
    assert shares[:, 0].tolist() == values[1:]


@given(st.dictionaries(st.integers(1, P - 1), elements, min_size=1, max_size=8), elements)
def test_interpolation_is_lagranges(points, at):
    xs, values = list(points), [np.array([value], np.uint64) for value in points.values()]
    found = field.linear_combination(shamir.coefficients(xs, at), values)
    assert found.tolist() == [lagrange([*points.items()], at=at)]
    secret = shamir.reconstruct({x: [value] for x, value in points.items()})
    assert secret.tolist() == [lagrange([*points.items()])]


@pytest.mark.parametrize("length", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_every_block_is_shared(length):
    secret = randomness.seeded(1).below(P, length)
    shares = shamir.share(secret, 4, 3)
    assert np.array_equal(shamir.reconstruct(rows(shares, (4, 1, 3)), 3), secret)
    assert np.array_equal(shamir.reconstruct(rows(shares, (1, 2, 3, 4)), 3), secret)
    assert len(np.unique(shares)) == 4 * length  # a repeated block would show


def test_sums_of_shares_are_shares_of_the_sum():
    a, b = randomness.seeded(2).below(P, (2, 50))
    both = field.add(shamir.share(a, 5, 3), shamir.share(b, 5, 3))
    found = shamir.reconstruct(rows(both, (5, 2, 4, 1)), 3)
    assert found.tolist() == [(int(x) + int(y)) % P for x, y in zip(a, b, strict=True)]


def test_many_parties():
    secret = np.array([7, P - 1], np.uint64)
    shares = shamir.share(secret, 150, 100)
    assert np.array_equal(shamir.reconstruct(rows(shares, range(150, 40, -1)), 100), secret)


def test_out_is_filled_and_a_seeded_generator_repeats_itself():
    secret, out = np.arange(7), np.full((4, 7), 9, np.uint64)
    shares = shamir.share(secret, 4, 2, rng=randomness.seeded(5), out=out)
    assert shares is out
    assert np.array_equal(out, shamir.share(secret, 4, 2, rng=randomness.seeded(5)))
    assert not np.array_equal(out, shamir.share(secret, 4, 2, rng=randomness.seeded(6)))
    assert not np.array_equal(shamir.share(secret, 4, 2), shamir.share(secret, 4, 2))
    with pytest.raises(ValueError, match=r"out must be uint64 of shape \(3, 7\)"):
        shamir.share(secret, 3, 2, out=out)


def test_pairs_will_do_and_the_shares_are_not_changed():
    shares = shamir.share([3, 4], 5, 2)
    before = shares.copy()
    assert shamir.reconstruct(enumerate(shares, start=1), 2).tolist() == [3, 4]
    assert np.array_equal(shares, before)


# --- privacy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("colluders", combinations(range(1, 6), 2))
def test_threshold_minus_one_shares_are_the_same_for_any_two_secrets(colluders):
    """Exact. What two parties see of secret s with draws r, they see of s' with draws r', and
    r -> r' is a shift, so all draws being equally likely, both views have one distribution.
    """
    rng = randomness.seeded(sum(colluders))
    draws, one, other = rng.below(P, (2, 9)), rng.below(P, 9), rng.below(P, 9)
    # The polynomial that is s' - s at 0 and vanishes at the colluders, and its differences.
    shift = [
        differences([lagrange([(0, gap), *((x, 0) for x in colluders)], at=x) for x in range(3)])
        for gap in field.subtract(other, one).tolist()
    ]
    shifted = field.add(draws, np.array(shift, np.uint64).T[1:])
    seen = rows(shamir.share(one, 5, 3, rng=Scripted([draws])), colluders)
    as_well = rows(shamir.share(other, 5, 3, rng=Scripted([shifted])), colluders)
    for x in colluders:
        assert np.array_equal(seen[x], as_well[x])


@pytest.mark.parametrize("secret", [0, P - 1])
def test_each_share_and_each_pair_are_uniform(secret):
    """The draws themselves: 7/8 of 2^20 bytes, those of the low 56 bits; catches a bit that is
    set 51.5% of the time. Uniform pairs (y_i, y_j) are those whose c y_i + d y_j are uniform.
    """
    shares = shamir.share(np.full(2**17, secret, np.uint64), 4, 3)
    for row in (*shares, *(field.subtract(a, b) for a, b in combinations(shares[:3], 2))):
        assert_uniform_bytes(row.view(np.uint8).reshape(-1, 8)[:, :7].copy(), least_power=0.516)
        assert abs(np.mean(row >= P // 2) - 0.5) < 0.01  # 7 standard deviations of 2^17 flips


def test_threshold_shares_too_few_fit_every_secret():
    """Two of three needed shares, and any secret at all: a polynomial goes through them."""
    shares = shamir.share([42], 5, 3)
    for secret in (0, 42, P - 1):
        third = lagrange([(0, secret), (1, int(shares[0, 0])), (2, int(shares[1, 0]))], at=3)
        assert shamir.reconstruct({1: shares[0], 2: shares[1], 3: [third]}, 3).tolist() == [secret]


# --- wrong shares ------------------------------------------------------------------------------


@given(st.data())
def test_as_many_wrong_rows_as_can_be_named_are_named(data):
    parties, threshold = data.draw(sizes)
    most = (parties - threshold) // 2
    wrong = data.draw(st.sets(st.integers(1, parties), max_size=most))
    shares = shamir.share(np.arange(12).reshape(3, 4), parties, threshold)
    for x in wrong:  # each at places of its own
        places = data.draw(st.sets(st.integers(0, 11), min_size=1))
        for place in places:
            at = (x - 1, *divmod(place, 4))
            shares[at] = (int(shares[at]) + data.draw(st.integers(1, P - 1))) % P
    given_shares = rows(shares, data.draw(st.permutations(range(1, parties + 1))))
    if not wrong:
        assert shamir.reconstruct(given_shares, threshold).tolist() == [
            [0, 1, 2, 3],
            [4, 5, 6, 7],
            [8, 9, 10, 11],
        ]
        return
    with pytest.raises(
        InconsistentShares, match=rf"wrong are those of x = \[{min(wrong)}"
    ) as error:
        shamir.reconstruct(given_shares, threshold)
    assert error.value.rows == tuple(sorted(wrong))


@pytest.mark.parametrize("wrong", [(1, 2), (2, 5), (4, 5), (1, 2, 3)])
def test_more_wrong_rows_than_can_be_named_are_detected(wrong):
    """By chance two wrong rows agree with another polynomial once in 2^58."""
    shares = shamir.share(np.arange(50), 5, 3)
    for x in wrong:
        shares[x - 1, 20 + x] = randomness.secure().below(P)
        shares[x - 1, 7] = randomness.secure().below(P)
    with pytest.raises(
        InconsistentShares, match="cannot be told: 5 shares name at most 1"
    ) as error:
        shamir.reconstruct(rows(shares, range(1, 6)), 3)
    assert error.value.rows == ()


def test_wrong_rows_at_different_places_that_are_too_many_together():
    shares = shamir.share(np.zeros(10, np.uint64), 5, 3)
    shares[1, 2] ^= np.uint64(1)
    shares[3, 8] ^= np.uint64(1)
    with pytest.raises(InconsistentShares) as error:
        shamir.reconstruct(rows(shares, range(1, 6)), 3)
    assert error.value.rows == ()


def test_one_row_to_spare_detects_and_none_does_not():
    shares = shamir.share(np.arange(6), 4, 3)
    shares[2, 4] ^= np.uint64(1)
    with pytest.raises(ValueError, match="do not lie on one polynomial of threshold=3"):
        shamir.reconstruct(rows(shares, (1, 2, 3, 4)), 3)
    assert shamir.reconstruct(rows(shares, (1, 2, 3)), 3).tolist() != list(range(6))
    assert shamir.reconstruct(rows(shares, (1, 2, 4)), 3).tolist() == list(range(6))


def test_without_the_threshold_everything_is_believed():
    shares = shamir.share([5], 5, 3)
    assert shamir.reconstruct(rows(shares, (1, 2))).tolist() != [5]
    assert shamir.reconstruct(rows(shares, (1, 2, 3, 4))).tolist() == [5]


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0, 4, -1, 2.0, True, None])
def test_a_threshold_is_between_one_and_the_parties(threshold):
    with pytest.raises(ValueError, match=rf"between 1 and parties=3, got {threshold}"):
        shamir.share([1], 3, threshold)


@pytest.mark.parametrize("parties", [1, 0, 2.5, True])
def test_parties_must_be_two_or_more(parties):
    with pytest.raises(ValueError, match=r"parties must be .* of at least 2"):
        shamir.share([1], parties, 1)


@pytest.mark.parametrize(
    ("secret", "error", "message"),
    [
        (
            [0, P],
            ValueError,
            r"must lie in \[0, 2\^61 - 1\), got 2305843009213693951 at index \(1,\)",
        ),
        ([-1], ValueError, "got -1"),
        (np.array([2**64 - 1], np.uint64), ValueError, "got 18446744073709551615"),
        ([0.5], TypeError, "dtype float64"),
        ([float("nan")], TypeError, "dtype float64"),
        (["a"], TypeError, "must be integers"),
    ],
)
def test_a_secret_must_be_of_field_elements(secret, error, message):
    with pytest.raises(error, match=message):
        shamir.share(secret, 3, 2)


GOOD = {x: np.array([x, x], np.uint64) for x in (1, 2, 3)}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({}, r"at least threshold=3 shares are needed, got 0"),
        (
            {1: GOOD[1], 3: GOOD[3]},
            r"at least threshold=3 shares are needed, got 2 \(x = \[1, 3\]\)",
        ),
        ([(1, GOOD[1]), (1, GOOD[2]), (3, GOOD[3])], "must have different x, got two of x=1"),
        ({**GOOD, 0: GOOD[1]}, r"x of a share must be .* between 1 and 2305843009213693950, got 0"),
        ({**GOOD, P: GOOD[1]}, "x of a share must be .* got 2305843009213693951"),
        ({**GOOD, -1: GOOD[1]}, "x of a share must be .* got -1"),
        ({**GOOD, 4.0: GOOD[1]}, r"x of a share must be .* got 4\.0"),
        ({**GOOD, "4": GOOD[1]}, "x of a share must be .* got '4'"),
        (
            {**GOOD, 2: GOOD[1][:1]},
            r"of one shape, got the shapes {1: \(2,\), 2: \(1,\), 3: \(2,\)}",
        ),
        ({**GOOD, 2: np.array([1, P], np.uint64)}, r"the share of x=2 is not one: .* got 2305843"),
        ({**GOOD, 2: [1.0, 2.0]}, "the share of x=2 is not one: .* dtype float64"),
        ({**GOOD, 2: [1, float("nan")]}, "the share of x=2 is not one"),
        ({**GOOD, 2: [1, -2]}, "the share of x=2 is not one: .* got -2"),
        ({**GOOD, 2: None}, "the share of x=2 is not one"),
    ],
)
def test_shares_must_be_enough_different_and_alike(shares, message):
    with pytest.raises(ValueError, match=message):
        shamir.reconstruct(shares, 3)


@pytest.mark.parametrize("threshold", [0, -1, 1.5, True])
def test_reconstruction_refuses_a_threshold_that_is_none(threshold):
    with pytest.raises(ValueError, match="threshold must be a whole number of at least 1"):
        shamir.reconstruct(GOOD, threshold)


def test_nothing_to_reconstruct_from():
    with pytest.raises(ValueError, match="at least threshold=1 shares are needed, got 0"):
        shamir.reconstruct({})
