"""The table's noise against the definition, and where it lives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.arithmetic import randomness
from refimpl.he import integers, noise

P, Q = 1019, 1187  # safe primes, so 3 modulo 4
N = P * Q
H = N - 17**2
TABLE = noise.NoiseTable(N, H, 3)


def by_definition(message, exponent, n=N, h=H):
    """Python's own integers: (1 + n)^message (h^n)^exponent modulo n^2."""
    return pow(1 + n, message, n * n) * pow(pow(h, n, n * n), exponent, n * n) % (n * n)


def jacobi(a, n):
    """The Jacobi symbol (a / n) by reciprocity."""
    sign, a = 1, a % n
    while a:
        while a % 2 == 0:
            a //= 2
            if n % 8 in (3, 5):
                sign = -sign
        a, n = n, a
        if a % 4 == 3 and n % 4 == 3:
            sign = -sign
        a %= n
    return sign if n == 1 else 0


@given(st.lists(st.tuples(st.integers(0, N - 1), st.binary(min_size=3, max_size=3)), max_size=4))
def test_the_table_computes_the_definition(pairs):
    messages = [message for message, _ in pairs]
    exponents = np.array([[*drawn] for _, drawn in pairs], np.uint8).reshape(-1, 3)
    found = TABLE.with_exponents(messages, exponents)
    assert found == [by_definition(m, int.from_bytes(drawn, "little")) for m, drawn in pairs]


@pytest.mark.parametrize("exponent", [0, 1, 255, 256, 2**16, 2**24 - 1])
def test_every_row_of_the_table(exponent):
    rows = np.frombuffer(exponent.to_bytes(3, "little"), np.uint8).reshape(1, 3)
    assert TABLE.with_exponents([5], rows) == [by_definition(5, exponent)]


def test_large_numbers_without_gmpy2_too(monkeypatch):
    monkeypatch.setattr(integers, "gmpy2", None)
    n = (2**521 - 1) * (2**607 - 1)
    h = n - 3**2
    (found,) = noise.NoiseTable(n, h, 2).with_exponents([2**900], np.array([[7, 200]], np.uint8))
    assert found == by_definition(2**900, 7 + 256 * 200, n, h)
    assert type(found) is int


def test_noise_is_fresh_for_each_message():
    found = TABLE.encrypt([0] * 500, randomness.seeded(1))
    assert len(set(found)) > 400  # of 604,174 possible ones; one in common is already unlikely
    assert TABLE.encrypt([0] * 5, randomness.seeded(1)) == found[:5]
    assert TABLE.encrypt([0] * 5, randomness.seeded(2)) != found[:5]


def test_every_bit_of_the_exponent_is_random():
    """Of 4,000 exponents, each bit is set in 2,000 with a standard deviation of 32.

    Seven of them: a chance of 24 * 2.6e-12. Catches a bit that is set 44% of the time.
    """
    seen = []
    table = noise.NoiseTable(N, H, 3)
    table.with_exponents = lambda messages, exponents: seen.append(exponents)
    table.encrypt([0] * 4_000, randomness.seeded(3))
    bits = np.unpackbits(seen[0], axis=1)
    assert bits.shape == (4_000, 24)
    assert np.abs(bits.sum(axis=0) - 2_000.0).max() < 7 * 32


def test_all_n_th_powers_of_jacobi_symbol_1_are_reached():
    """Of n = 11 * 47: exactly the (p-1)(q-1)/2 = 230 of them, each as often as 2^16 allows."""
    h = noise.noise_base(11, 47, randomness.seeded(1))
    exponents = np.stack(np.divmod(np.arange(2**16), 256)[::-1], axis=1).astype(np.uint8)
    found = noise.NoiseTable(517, h, 2).with_exponents([0] * 2**16, exponents)
    wanted = {pow(x, 517, 517**2) for x in range(1, 517) if jacobi(x, 517) == 1}
    assert set(found) == wanted
    assert len(wanted) == 230
    counts = np.unique(np.array(found, np.int64), return_counts=True)[1]
    assert set(counts.tolist()) <= {2**16 // 230, 2**16 // 230 + 1}


def test_the_base_has_the_whole_order():
    """p - 1 = 2 * 3 * 7 and q - 1 = 2 * 5: a third of the h of a careless draw miss a factor 3."""
    p, q, rng = 43, 11, randomness.seeded(2)
    assert jacobi(-(5**2), p * q) == 1
    for _ in range(50):
        h = noise.noise_base(p, q, rng)
        assert jacobi(h, p * q) == 1
        orders = {pow(h, (p - 1) * (q - 1) // 2 // factor, p * q) == 1 for factor in (2, 3, 5, 7)}
        assert orders == {False}


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (13, 11),  # 1 modulo 4
        (11, 13),
        (7, 19),  # gcd(6, 18) = 6
        (23, 47),  # 23 divides 46
        (11, 11),
    ],
)
def test_unfit_primes_are_refused(p, q):
    with pytest.raises(ValueError, match="p and q must be 3 modulo 4"):
        noise.noise_base(p, q, randomness.seeded(1))


def test_the_length_of_the_exponent():
    assert noise.exponent_bits("half", 2048) == 1024
    assert noise.exponent_bits("half", 2049) == 1032  # ceil(2049 / 2) in whole bytes
    assert noise.exponent_bits("full", 2048) == 2112
    assert noise.exponent_bits(250, 2048) == 256
    for wrong in ("short", 0, -8, 2.5, True):
        with pytest.raises(ValueError, match="noise must be"):
            noise.exponent_bits(wrong, 2048)


def test_a_table_is_made_once():
    assert noise.table(N, H, 2) is noise.table(N, H, 2)
    assert noise.table(N, H, 2) is not noise.table(N, H, 3)
