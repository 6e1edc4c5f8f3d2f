"""Large integers: with gmpy2 and without it the same results; primes that are prime."""

from collections import Counter
from math import gcd

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.arithmetic import randomness
from refimpl.he import integers

RNG = randomness.seeded(1)
CARMICHAEL = [561, 1105, 1729, 75361, 825265, 9746347772161, 3778118040573702001]
MERSENNE = [2**89 - 1, 2**107 - 1, 2**521 - 1]
# a strong pseudoprime to the 12 bases 2..37 (Sorenson and Webster, 2015, its psi_12)
PSEUDOPRIME = 318665857834031151167461


@pytest.fixture(params=[True, False], ids=["gmpy2", "python"])
def either(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(integers, "gmpy2", None)


def trial(number):
    return number > 1 and all(number % factor for factor in range(2, int(number**0.5) + 1))


@pytest.mark.usefixtures("either")
def test_small_primes_are_those_of_trial_division():
    around = [*range(1, 3000), *range(2**16 - 60, 2**16 + 60), *range(2**20, 2**20 + 60)]
    assert [n for n in around if integers.is_prime(n, RNG)] == [n for n in around if trial(n)]


@pytest.mark.usefixtures("either")
def test_primes_pass_and_pseudoprimes_do_not():
    assert all(integers.is_prime(prime, RNG) for prime in MERSENNE)
    large = [(2**89 - 1) * (2**107 - 1), (2**61 - 1) ** 2, PSEUDOPRIME]
    assert not any(integers.is_prime(number, RNG) for number in [*CARMICHAEL, *large])


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("bits", [8, 33, 256])
def test_drawn_primes_are_as_promised(bits):
    for draw in (integers.blum_prime, integers.safe_prime):
        for _ in range(3):
            prime = draw(bits, RNG)
            assert prime.bit_length() == bits
            assert prime >> (bits - 2) == 3
            assert prime % 4 == 3
            assert integers.is_prime(prime, RNG)
    assert integers.is_prime(prime // 2, RNG)


def test_every_small_safe_prime_can_be_drawn():
    """All of 8 bits with the top two set: 227. All of 12 bits: each of them within 400 draws.

    Were all equally likely, one would be missing by chance in 11 (1 - 1/11)^400 = 3e-16 of runs.
    """
    assert integers.safe_prime(8, RNG) == 227
    wanted = {p for p in range(3 << 10, 1 << 12) if trial(p) and trial(p // 2)}
    assert {integers.safe_prime(12, RNG) for _ in range(400)} == wanted


def test_the_sieve_strikes_out_exactly_what_has_a_small_factor():
    start = 2**40 + 1
    kept = integers._sieved(start, 300)
    for index, keep in enumerate(kept):
        half = start + 2 * index
        small = [p for p in integers._small_primes() if half % p == 0 or (2 * half + 1) % p == 0]
        assert keep == (not small)


def test_small_factors():
    assert integers.small_factors(2 * 3 * 3 * 65521 * 65537) == [2, 3, 65521]


@pytest.mark.usefixtures("either")
@given(st.lists(st.integers(1, 2**80), max_size=7), st.integers(0, 2**70), st.integers(2, 2**90))
def test_powers_are_those_of_python(bases, exponent, modulus):
    wanted = [pow(base, exponent, modulus) for base in bases]
    large = [integers.integer(base) for base in bases]
    assert integers.powers(large, exponent, modulus) == wanted
    assert [integers.power(base, exponent, modulus) for base in large] == wanted


@pytest.mark.usefixtures("either")
def test_inverses():
    assert integers.inverse(3, 7) == 5
    assert integers.power(3, -2, 7) == 4
    with pytest.raises((ZeroDivisionError, ValueError)):
        integers.inverse(6, 9)


@pytest.mark.usefixtures("either")
@given(st.lists(st.integers(0, 2**72 - 1), max_size=5))
def test_rows_of_bytes(values):
    rows = integers.to_rows(values, 9)
    assert (rows.dtype, rows.shape) == (np.uint8, (len(values), 9))
    assert integers.from_rows(rows) == values
    with pytest.raises(OverflowError):
        integers.to_rows([2**72], 9)


def test_draws_are_uniform_below_the_bound():
    """Six residues, 30,000 draws: catches one that comes a tenth too rarely or too often.

    A count is 5,000 with a standard deviation of 65; 7 of them are exceeded once in 1e11 runs.
    """
    counts = Counter(integers.below(6, RNG) for _ in range(30_000))
    assert set(counts) == set(range(6))
    assert all(abs(count - 5_000) < 7 * 65 for count in counts.values())
    large = {integers.below(2**200 + 1, RNG) for _ in range(50)}
    assert len(large) == 50
    assert max(large) > 2**190


def test_units_are_invertible():
    """48 of the 210 numbers modulo 2 * 3 * 5 * 7 are; that 100 draws all are has chance 1e-64."""
    assert {gcd(integers.unit(210, RNG), 210) for _ in range(100)} == {1}
