"""Renyi divergences: known answers, 40-digit integrals, two formulas against each other, a peer."""

import math

import mpmath
import numpy as np
import pytest
from dp_accounting.rdp import rdp_privacy_accountant as google
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants.analysis import rdp as opacus

from refimpl.dp import pairs, rdp
from tests.dp.oracles import densities

OPACUS_ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))


def divergence(alpha, sigma, rate, direction="remove"):
    """D_alpha to 30 digits, as an integral of positive terms."""
    with mpmath.workdps(30):
        p, q = densities(mpmath.mpf(sigma), mpmath.mpf(rate), direction)
        a = mpmath.mpf(alpha)

        def term(x):
            ratio = p(x) / q(x)
            return q(x) * (ratio**a - 1 - a * (ratio - 1))

        top = 2 * a + 2 + 8 * sigma
        points = [-20 * sigma - 2, *mpmath.linspace(-8 * sigma - 2, top, 31), top + 15 * sigma]
        return mpmath.log1p(mpmath.quad(term, points)) / (a - 1)


@pytest.mark.parametrize(
    ("alpha", "known", "digits"),
    [(1.5, 6.50070897e-4, 9), (5, 2.18075656e-3, 9), (100, 167.416308, 9)],
)
def test_the_sampled_gaussian_at_whole_and_other_orders(alpha, known, digits):
    """The peer that adds absolute values of alternating terms is 3 % above the first of these."""
    (ours,) = 50 * rdp.sampled_gaussian([alpha], noise_multiplier=2.5, sample_rate=0.01)
    assert float(f"{ours:.{digits - 1}e}") == known


@pytest.mark.parametrize("direction", ["remove", "replace"])
@pytest.mark.parametrize(
    ("alpha", "sigma", "rate"),
    [(1.01, 10, 0.002), (1.5, 0.3, 0.1), (2, 4, 1e-6), (7.3, 1.1, 0.01), (9, 1.3, 0.9)],
)
def test_divergences_match_a_high_precision_integral_from_above(alpha, sigma, rate, direction):
    neighbours = {"remove": "add-remove", "replace": "replace-one"}[direction]
    (ours,) = rdp.sampled_gaussian(
        [alpha], noise_multiplier=sigma, sample_rate=rate, neighbours=neighbours
    )
    exact = divergence(alpha, sigma, rate, direction)
    assert exact <= ours <= exact * (1 + mpmath.mpf("3e-11"))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.floats(0.4, 100), st.floats(1e-8, 0.999))
def test_the_sum_and_the_integral_agree_at_whole_orders(alpha, sigma, rate):
    whole = rdp.sampled_gaussian([alpha], noise_multiplier=sigma, sample_rate=rate)
    pair = pairs.GaussianPair(sigma, rate, above=True, below=False)
    other = rdp._integral(np.array([float(alpha)]), pair)
    assert not np.isfinite(other[0]) or whole[0] == pytest.approx(other[0], rel=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.3, 50), st.floats(1e-6, 1))
def test_divergences_rise_with_the_order_and_stay_under_the_unsampled(sigma, rate):
    for neighbours, far in (("add-remove", 1), ("replace-one", 2)):
        curve = rdp.sampled_gaussian(
            rdp.ORDERS, noise_multiplier=sigma, sample_rate=rate, neighbours=neighbours
        )
        order = np.argsort(rdp.ORDERS)
        assert np.all(np.diff(curve[order]) >= -1e-9 * curve[order][:-1])
        assert np.all(curve <= rdp.gaussian(rdp.ORDERS, noise_multiplier=sigma / far))


def test_removing_is_never_cheaper_than_adding():
    """Theorem 5 of Mironov, Talwar and Zhang, on a grid: the accountant relies on it."""
    x = np.arange(-400, 500) / 20
    for sigma in (0.5, 1.0, 4.0):
        centre = np.exp(-0.5 * (x / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi)) / 20
        for rate in (0.01, 0.3, 0.9):
            ratio = 1 - rate + rate * np.exp((x - 0.5) / sigma**2)
            for alpha in (1.3, 2.0, 6.5):
                removed = np.log(centre @ ratio**alpha)
                assert 0 < np.log(centre @ ratio ** (1 - alpha)) < removed


def test_a_peer_agrees_where_it_is_exact():
    """Opacus adds absolute values at orders that are not whole, so it may only be above there."""
    for rate, sigma in [(0.01, 1.1), (0.2, 0.7), (0.001, 5.0)]:
        ours = rdp.sampled_gaussian(OPACUS_ORDERS, noise_multiplier=sigma, sample_rate=rate)
        theirs = opacus.compute_rdp(q=rate, noise_multiplier=sigma, steps=1, orders=OPACUS_ORDERS)
        whole = np.array(OPACUS_ORDERS) % 1 == 0
        assert ours[whole] == pytest.approx(theirs[whole], rel=1e-7)
        assert np.all(ours <= theirs * (1 + 1e-7) + 1e-12)


def test_another_peer_agrees_where_it_converges():
    """dp-accounting's series for other orders gives up at q=0.3, sigma=2, alpha=1.5: infinity."""
    orders = [2, 5, 8, 32, 100]
    for rate, sigma in [(0.01, 1.1), (0.3, 2.0)]:
        ours = rdp.sampled_gaussian(orders, noise_multiplier=sigma, sample_rate=rate)
        theirs = google._compute_rdp_poisson_subsampled_gaussian(rate, sigma, orders)
        assert ours == pytest.approx(theirs, rel=1e-7)


def test_laplace_and_randomised_response():
    """The k-ary response's order-infinity value, and 40-digit sums and integrals elsewhere."""
    pair = pairs.DiscretePair((0.73, *[0.3 / 10] * 9), (0.03, 0.73, *[0.3 / 10] * 8))
    assert float(f"{pair.maximum:.9g}") == 3.19184715
    for alpha in (1.1, 2.0, 17.5):
        with mpmath.workdps(40):
            total = sum(
                mpmath.mpf(p) ** alpha * mpmath.mpf(q) ** (1 - alpha)
                for p, q in zip(pair.p, pair.q, strict=True)
            )
            exact = mpmath.log(total) / (alpha - 1)
        assert rdp.curve(pair, [alpha])[0] == pytest.approx(float(exact), rel=2e-11)
        for epsilon in (0.01, 1.0, 5.0):
            with mpmath.workdps(40):
                p, q = (lambda x, m=m: mpmath.exp(-abs(x - m)) / 2 for m in (0, epsilon))
                total = mpmath.quad(
                    lambda x, p=p, q=q, a=alpha: p(x) ** a * q(x) ** (1 - a),
                    [-mpmath.inf, 0, epsilon, mpmath.inf],
                )
                exact = float(mpmath.log(total) / (alpha - 1))
            ours = rdp.laplace([alpha], epsilon=epsilon)[0]
            assert exact * (1 - 1e-13) <= ours <= exact * (1 + 1e-9) + 1e-13


@pytest.mark.parametrize(
    ("conversion", "known"), [("improved", 0.7242234026), ("classic", 0.9418705672)]
)
def test_both_conversions(conversion, known):
    """TF-Privacy's test: 60,000 records, batches of 150, noise 1.3, 15 epochs, delta 1e-5."""
    orders = range(2, 65)
    curve = rdp.sampled_gaussian(orders, noise_multiplier=1.3, sample_rate=150 / 60000)
    epsilon, order = rdp.epsilon(orders, 6000 * curve, 1e-5, conversion=conversion)
    assert epsilon == pytest.approx(known, abs=1e-9)
    assert order == 19


@settings(deadline=None, max_examples=30)
@given(st.floats(0.5, 20), st.floats(-12, -1))
def test_delta_is_the_inverse_of_epsilon(sigma, log_delta):
    curve = rdp.gaussian(rdp.ORDERS, noise_multiplier=sigma)
    epsilon, _ = rdp.epsilon(rdp.ORDERS, curve, 10**log_delta)
    if epsilon > 0:
        assert rdp.delta(rdp.ORDERS, curve, epsilon)[0] == pytest.approx(10**log_delta, rel=1e-6)


def test_a_whole_order_off_by_one_would_show():
    """Orders 18 and 20 miss TF-Privacy's value by far more than its last digit."""
    for order in (18, 20):
        curve = rdp.sampled_gaussian([order], noise_multiplier=1.3, sample_rate=150 / 60000)
        assert abs(rdp.epsilon([order], 6000 * curve, 1e-5)[0] - 0.7242234026) > 1e-5


@pytest.mark.parametrize("orders", [[1], [0.5, 2], [], [math.inf], [math.nan], [[2, 3]]])
def test_orders_that_are_none(orders):
    with pytest.raises(ValueError, match="orders must be finite numbers above 1"):
        rdp.gaussian(orders, noise_multiplier=1.0)


def test_what_is_not_a_distribution():
    with pytest.raises(ValueError, match="positive and sum to 1"):
        rdp.discrete([2], p=[0.5, 0.5], q=[1.0, 0.0])
    with pytest.raises(ValueError, match="conversion must be"):
        rdp.epsilon([2], [1.0], 1e-5, conversion="best")
    with pytest.raises(TypeError, match=r"one of refimpl.dp.pairs"):
        rdp.curve("gaussian", [2])
