"""Products of shared secrets, against numpy's own products and the equations of the source."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refimpl.arithmetic import randomness, ring
from refimpl.smc import additive, beaver

CASES = {  # product: shapes of the factors, and of what numpy makes of them
    "multiply": ((3, 2), (3, 2), np.multiply),
    "matmul": ((3, 4), (4, 2), np.matmul),
    "dot": ((2, 5), (2, 5), lambda x, y: np.einsum("ij,ij->i", x, y)),
}
every_product = pytest.mark.parametrize("product", CASES)


def words(seed, shape, high=2**64):
    return np.random.default_rng(seed).integers(0, high, shape, np.uint64)


def opened(shares):
    return additive.reconstruct([np.asarray(share) for share in shares])


def multiplied(x, y, triples, rng=None):
    """What the parties of ``triples`` make of secrets x and y, and the two openings."""
    parties = len(triples)
    xs, ys = additive.share(x, parties, rng=rng), additive.share(y, parties, rng=rng)
    parts = [
        beaver.differences(np.asarray(s), np.asarray(t), triple)
        for s, t, triple in zip(xs, ys, triples, strict=True)
    ]
    d, e = (opened(part) for part in zip(*parts, strict=True))
    shares = [
        beaver.product_share(d, e, triple, leads=number == 0)
        for number, triple in enumerate(triples)
    ]
    return opened(shares), d, e


@given(st.integers(2, 6), st.sampled_from(sorted(CASES)), st.integers(0, 2**32))
def test_any_number_of_parties_multiply(parties, product, seed):
    left, right, times = CASES[product]
    x, y = words(seed, left), words(seed + 1, right)
    z, d, e = multiplied(x, y, beaver.deal(product, left, right, parties))
    assert z.dtype == np.uint64
    assert z.tolist() == times(x, y).tolist()
    assert (d.shape, e.shape) == (left, right)


def test_known_answer():
    """By hand: x = 5 = 7 - 2, y = 11 = 1 + 10; a = 3 = 1 + 2, b = 4 = 6 - 2, c = 12 = 20 - 8."""
    minus_two = np.uint64(2**64 - 2)
    first = beaver.Triple("multiply", np.uint64(1), np.uint64(6), np.uint64(20))
    second = beaver.Triple("multiply", np.uint64(2), minus_two, np.uint64(2**64 - 8))
    d1, e1 = beaver.differences(np.uint64(7), np.uint64(1), first)
    d2, e2 = beaver.differences(minus_two, np.uint64(10), second)
    assert [int(v) for v in (d1, e1, d2, e2)] == [6, 2**64 - 5, 2**64 - 4, 12]
    d, e = ring.add(d1, d2), ring.add(e1, e2)
    assert (int(d), int(e)) == (2, 7)  # 5 - 3 and 11 - 4
    # 20 + 2·6 + 1·7 + 2·7 = 53 and -8 + 2·(-2) + 2·7 = 2
    assert int(beaver.product_share(d, e, first, leads=True)) == 53
    assert int(beaver.product_share(d, e, second, leads=False)) == 2


@pytest.mark.parametrize(
    ("product", "left", "right"),
    [
        ("multiply", (), ()),
        ("multiply", (0,), (0,)),
        ("dot", (4,), (4,)),
        ("dot", (2, 0), (2, 0)),
        ("matmul", (1, 0), (0, 3)),
    ],
)
def test_numbers_and_empty_arrays(product, left, right):
    x, y = words(1, left), words(2, right)
    z, _, _ = multiplied(x, y, beaver.deal(product, left, right, 3))
    assert z.tolist() == np.asarray(beaver.PRODUCTS[product](x, y)).tolist()
    assert z.shape == beaver.check_shapes(product, left, right)


def test_signed_secrets():
    x, y = np.array([-3, 7, -(2**31)]), np.array([5, -(2**40), -(2**31)])
    z, _, _ = multiplied(x, y, beaver.deal("multiply", (3,), (3,), 2))
    assert ring.to_signed(z).tolist() == (x * y).tolist()


@every_product
def test_a_dealt_triple_is_a_product_and_a_fresh_one(product):
    left, right, times = CASES[product]
    first, again = (beaver.deal(product, left, right, 4) for _ in range(2))
    for triples in (first, again):
        a, b, c = (opened([getattr(t, key) for t in triples]) for key in "abc")
        assert c.tolist() == times(a, b).tolist()
    a, b = (opened([t.a for t in triples]) for triples in (first, again))
    assert not np.array_equal(a, b)


def test_the_seed_decides_a_triple():
    seeded = [beaver.deal("dot", (3,), (3,), 2, rng=randomness.seeded(k)) for k in (1, 1, 2)]
    first, again, other = ([t.c.tolist() for t in triples] for triples in seeded)
    assert first == again != other


# --- a triple is used once ----------------------------------------------------------------------


def test_a_spent_triple_is_refused():
    triples = beaver.deal("multiply", (2,), (2,), 2)
    multiplied(words(1, 2), words(2, 2), triples)
    with pytest.raises(ValueError, match="a triple must be used once, and this one is spent"):
        multiplied(words(1, 2), words(2, 2), triples)


def test_what_a_triple_used_twice_reveals():
    """The difference of the secrets, to everybody: who knows one of them knows the other."""
    x, other = np.array([41, 1000]), np.array([58, 3])
    triples = beaver.deal("multiply", (2,), (2,), 2)
    _, d, _ = multiplied(x, x, triples)
    for triple in triples:
        triple.spent = False
    _, again, _ = multiplied(other, other, triples)
    assert ring.to_signed(ring.subtract(again, d)).tolist() == (other - x).tolist()


def test_a_refused_share_does_not_spend_the_triple():
    (triple, _) = beaver.deal("multiply", (2,), (2,), 2)
    share = words(1, 2)
    for wrong in (share[:1], share.astype(np.int64), share[None]):
        with pytest.raises(ValueError, match=r"must be uint64 of shape \(2,\) for this triple"):
            beaver.differences(wrong, share, triple)
        with pytest.raises(ValueError, match="y must be"):
            beaver.differences(share, wrong, triple)
    assert not triple.spent
    beaver.differences(share, share, triple)
    assert triple.spent


# --- what is seen says nothing ------------------------------------------------------------------


DRAWS = 1 << 16


def histogram(values, shift):
    """Of 16 bits of each word, from bit ``shift`` on, the four top ones."""
    return np.bincount((values.reshape(-1) >> np.uint64(shift)).astype(np.int64) & 15, minlength=16)


@pytest.mark.parametrize("shift", [0, 60])
@pytest.mark.parametrize("secret", [0, 2**63 - 1])
def test_openings_and_shares_are_uniform_whatever_the_secrets(secret, shift):
    """Chi-square with 15 degrees of freedom on the lowest and the highest four bits.

    Five draws in each of four cases, each with a chance failure of 1e-8. Power: a mask that lacks
    one of these bits empties half of the cells; one that takes a single value with probability
    1/16 + 0.0125 is found with probability above 0.9999 (noncentrality 65536·0.0125²·16·16/15 =
    175, threshold 68).
    """
    rng = randomness.seeded(secret % 1000 + shift)
    x = np.full(DRAWS, secret, np.uint64)
    triples = beaver.deal("multiply", x.shape, x.shape, 2, rng=rng)
    z, d, e = multiplied(x, x, triples, rng=rng)
    assert np.unique(z).size == 1
    shares = [getattr(triples[0], key) for key in "abc"]
    for seen in (d, e, *shares):
        assert stats.chisquare(histogram(seen, shift)).pvalue > 1e-8


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "left", "right", "message"),
    [
        ("times", (1,), (1,), "product must be one of"),
        ("multiply", (2,), (3,), r"one shape, got \(2,\) and \(3,\)"),
        ("multiply", (2,), (1, 2), "one shape"),
        ("dot", (), (), "one shape with an axis"),
        ("dot", (2, 3), (3,), "one shape with an axis"),
        ("matmul", (2, 3), (2, 3), r"\(m, k\) and \(k, n\), got \(2, 3\) and \(2, 3\)"),
        ("matmul", (3,), (3, 1), "matmul must be of"),
    ],
)
def test_factors_that_do_not_fit_are_refused(product, left, right, message):
    with pytest.raises(ValueError, match=message):
        beaver.deal(product, left, right, 2)


@pytest.mark.parametrize("parties", [1, 0, 2.0])
def test_one_party_alone_shares_nothing(parties):
    with pytest.raises(ValueError, match="parties must be a whole number of at least 2"):
        beaver.deal("multiply", (1,), (1,), parties)
