"""Threshold Paillier: every set of enough parties decrypts, no smaller one does."""

import dataclasses
from fractions import Fraction
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.arithmetic import randomness
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import integers, paillier, threshold_paillier
from refimpl.he.ciphertext import PartialDecryption
from tests.he.keys import (
    SAFE_PRIMES_OF_64_BITS,
    SAFE_PRIMES_OF_1024_BITS,
    dealt,
)

LEVELS = np.resize([127, -127, 0, 5], 23)


def encrypted(public, summands=3):
    vector = LEVELS * public.encoding.unit
    return public.multiply(public.encrypt(vector), summands), (summands * vector).tolist()


# --- decryption --------------------------------------------------------------------------------


@pytest.mark.parametrize(("parties", "threshold"), [(1, 1), (3, 1), (3, 3), (5, 3), (6, 2)])
def test_every_set_of_enough_parties_reads_the_sum(parties, threshold):
    public, shares = dealt(parties, threshold)
    ciphertext, wanted = encrypted(public)
    partials = [share.partial_decrypt(ciphertext) for share in shares]
    for size in range(threshold, parties + 1):
        for chosen in combinations(partials, size):
            assert public.combine(chosen[::-1]).tolist() == pytest.approx(wanted, abs=1e-12)


def test_the_decryption_is_that_of_the_undivided_key():
    """The oracle is plain Paillier with the same primes."""
    public, shares = dealt(5, 3)
    plain, private = paillier.keypair_of(
        *SAFE_PRIMES_OF_64_BITS, public.encoding, rng=randomness.seeded(1), teaching=True
    )
    ciphertext = public.add(public.encrypt(LEVELS / 127), public.encrypt(-LEVELS / 300))
    found = public.combine([share.partial_decrypt(ciphertext) for share in shares[1:4]])
    numbers = public.to_integers(ciphertext)
    again = plain.from_integers(numbers, length=23, summands=2)
    assert found.tolist() == private.decrypt(again).tolist()


@pytest.mark.parametrize("backend", ["gmpy2", "python"])
def test_a_key_of_full_length(backend, monkeypatch):
    """The 2048 bits of the test vectors, two of three; without gmpy2 the same."""
    if backend == "python":
        monkeypatch.setattr(integers, "gmpy2", None)
    public, shares = threshold_paillier.deal_from_primes(
        *SAFE_PRIMES_OF_1024_BITS, 3, 2, noise=224, rng=randomness.seeded(2)
    )
    vector = np.linspace(-1, 1, 85)
    ciphertext = public.encrypt(vector)
    data = [shares[i].partial_decrypt(ciphertext).to_bytes() for i in (2, 0)]
    found = public.combine([public.partial_from_bytes(part) for part in data])
    code = public.encoding
    assert found.tolist() == code.decode(code.encode(vector), summands=1).tolist()
    paillier.table.cache_clear()


def test_a_dealer_draws_fresh_safe_primes(monkeypatch):
    asked = []

    def drawn(bits, rng):
        asked.append(bits)
        return (*SAFE_PRIMES_OF_1024_BITS[:1] * 2, SAFE_PRIMES_OF_1024_BITS[1])[len(asked) - 1]

    monkeypatch.setattr(integers, "safe_prime", drawn)
    public, shares = threshold_paillier.deal(4, 3, noise=224)
    assert asked == [1024] * 3  # the second was the first again
    assert public.n == SAFE_PRIMES_OF_1024_BITS[0] * SAFE_PRIMES_OF_1024_BITS[1]
    assert [share.party for share in shares] == [1, 2, 3, 4]
    assert (public.parties, public.threshold, public.noise_bits) == (4, 3, 224)


@given(st.integers(1, 30), st.data())
def test_the_coefficients_are_lagranges_and_whole(parties, data):
    size = data.draw(st.integers(1, parties))
    xs = data.draw(st.permutations(range(1, parties + 1)))[:size]
    found = threshold_paillier.coefficients(xs, parties)
    for x, factor in zip(xs, found, strict=True):
        lagrange = Fraction(1)
        for other in xs:
            if other != x:
                lagrange *= Fraction(other, other - x)
        assert factor == factorial(parties) * lagrange


# --- what fewer learn --------------------------------------------------------------------------


@pytest.mark.parametrize(("parties", "threshold"), [(3, 2), (5, 3), (5, 5)])
def test_collusion_of_fewer_fails_however_they_combine(parties, threshold):
    """They ignore the rule, and interpolate as if fewer were enough, for all sets of all sizes.

    What they get is no plaintext: it is not 1 modulo n. By luck it would be with chance 2^-125.
    """
    public, shares = dealt(parties, threshold)
    ciphertext, _ = encrypted(public)
    partials = [share.partial_decrypt(ciphertext) for share in shares]
    for size in range(1, threshold):
        careless = dataclasses.replace(public, threshold=size)
        for chosen in combinations(partials, size):
            with pytest.raises(ValueError, match=f"at least threshold={threshold} .* got {size}"):
                public.combine(chosen)
            with pytest.raises(ValueError, match="do not fit together"):
                careless.combine(chosen)


def test_collusion_of_enough_succeeds():
    """The other side of the measurement: the same attempt by ``threshold`` parties reads all."""
    public, shares = dealt(5, 3)
    ciphertext, wanted = encrypted(public)
    found = public.combine([shares[i].partial_decrypt(ciphertext) for i in (4, 0, 2)])
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)


def test_shares_below_the_threshold_are_the_same_for_any_key():
    """Exact: two shares of three, at any x, are hit once by each of the (n m)^2 polynomials.

    Here for n m = 35 (no factor up to the 3 parties), and threshold 3, whatever d is.
    """
    modulus = 35
    for d in (0, 1, 21):
        for xs in ((1, 2), (1, 3), (2, 3)):
            seen = {
                tuple(threshold_paillier._evaluate([d, a, b], x, modulus) for x in xs)
                for a in range(modulus)
                for b in range(modulus)
            }
            assert len(seen) == modulus**2


def test_shares_are_uniform():
    """Shares of 2,000 dealings, in 16 equal parts of [0, n m): 125 in each expected.

    The standard deviation is 10.8; 7 of them are exceeded with chance 1e-10 in all. Catches a
    coefficient drawn from the lower half only (no share of party 1 in some parts), and one that is
    forgotten (all in one part).
    """
    public, _ = dealt(3, 2)
    modulus, rng, counts = public.n**2 // 3, randomness.seeded(4), np.zeros((3, 16))
    for _ in range(2_000):
        for party, value in enumerate(threshold_paillier._shared(1, modulus, public, rng)):
            counts[party, 16 * value // modulus] += 1
    assert np.abs(counts - 125).max() < 7 * 10.8


def test_the_shares_interpolate_to_the_key():
    """Over the integers modulo n m, which the dealer knows: d is 0 modulo m and 1 modulo n."""
    p, q = SAFE_PRIMES_OF_64_BITS
    n, m = p * q, (p // 2) * (q // 2)
    _, shares = dealt(5, 3)
    factors = threshold_paillier.coefficients([5, 1, 4], 5)
    values = (shares[4].value, shares[0].value, shares[3].value)
    total = sum(f * v for f, v in zip(factors, values, strict=True))
    d = total * pow(factorial(5), -1, n * m) % (n * m)
    assert (d % m, d % n) == (0, 1)


# --- bad input ---------------------------------------------------------------------------------


def test_partial_decryptions_that_do_not_belong_together_are_refused():
    public, shares = dealt(4, 2)
    other, others = dealt(4, 2)
    ciphertext, _ = encrypted(public)
    a, b = (share.partial_decrypt(ciphertext) for share in shares[:2])
    foreign = dataclasses.replace(others[1], public=public).partial_decrypt(ciphertext)
    again = shares[1].partial_decrypt(encrypted(public)[0])
    for chosen, complaint in [
        ([a], "at least threshold=2"),
        ([a, a], "two of party 1"),
        ([a, again], "of one ciphertext"),
        ([a, dataclasses.replace(b, party=3)], "do not fit together"),
        ([a, foreign], "do not fit together"),
        ([a, dataclasses.replace(b, party=5)], "party must be"),
        ([a, dataclasses.replace(b, arrays=(b.arrays[0][:-1],))], "shape"),
        ([a, dataclasses.replace(b, arrays=(b.arrays[0] * 0,))], "outside the group"),
        ([a, others[1].partial_decrypt(encrypted(other)[0])], "another key"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            public.combine(chosen)
    with pytest.raises(ValueError, match="another public key"):
        shares[0].partial_decrypt(encrypted(other)[0])


def test_a_wrong_part_beyond_the_threshold_is_at_least_well_formed():
    public, shares = dealt(4, 2)
    ciphertext, _ = encrypted(public)
    parts = [share.partial_decrypt(ciphertext) for share in shares]
    with pytest.raises(ValueError, match="outside the group"):
        public.combine(
            [*parts[:3], dataclasses.replace(parts[3], arrays=(parts[3].arrays[0] * 0,))]
        )


def test_partial_decryptions_travel():
    public, shares = dealt(3, 2)
    ciphertext, wanted = encrypted(public)
    data = [share.partial_decrypt(ciphertext).to_bytes() for share in shares[1:]]
    found = public.combine([public.partial_from_bytes(part) for part in data])
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)
    with pytest.raises(ValueError, match="not a partial decryption"):
        public.partial_from_bytes(data[0][:-1])
    with pytest.raises(ValueError, match="not a partial decryption"):
        public.partial_from_bytes(ciphertext.to_bytes())
    with pytest.raises(ValueError, match="another key"):
        dealt(3, 2)[0].partial_from_bytes(data[0])
    part = public.partial_from_bytes(data[0])
    assert isinstance(part, PartialDecryption)
    forged = dataclasses.replace(part, party=4)
    with pytest.raises(ValueError, match="party must be"):
        public.partial_from_bytes(forged.to_bytes())


def test_plain_and_threshold_ciphertexts_are_not_mixed():
    public, _ = dealt(3, 2)
    plain = paillier.PublicKey(public.n, public.h, public.encoding, public.noise_bits, True)
    with pytest.raises(ValueError, match="is of paillier, the key of threshold paillier"):
        public.add(plain.encrypt(LEVELS / 127))


def test_a_liar_can_shift_the_sum_unseen():
    """As stated: not detected (honest-but-curious). A part times a power of 1 + n passes."""
    public, shares = dealt(3, 2)
    ciphertext, wanted = encrypted(public, summands=3)
    a, b = (share.partial_decrypt(ciphertext) for share in shares[:2])
    n, (_, factor) = public.n, threshold_paillier.coefficients([1, 2], 3)
    scale = -4 * factorial(3) ** 2 * pow(2 * factor, -1, n)
    first, *rest = integers.from_rows(b.arrays[0])
    lied = public.from_integers([first * (1 + scale * n) % (n * n), *rest], length=23)
    found = public.combine([a, dataclasses.replace(b, arrays=lied.arrays)])
    shift = found - np.array(wanted)
    assert shift == pytest.approx([-public.encoding.unit] + [0.0] * 22, abs=1e-12)


def test_unsound_dealings_are_refused():
    for parties, threshold in [(0, 1), (3, 0), (3, 4), (2**12 + 1, 2), (3.0, 2)]:
        with pytest.raises(ValueError, match=r"(parties|threshold) must be"):
            dealt(parties, threshold)
    p, q = SAFE_PRIMES_OF_64_BITS
    for primes in ((p, p), (p, 2**61 - 1), (p, q + 2)):
        with pytest.raises(ValueError, match="different safe primes"):
            dealt(3, 2, primes)
    with pytest.raises(ValueError, match="bits must be at least 2048"):
        dealt(3, 2, teaching=False)
    with pytest.raises(ValueError, match=r"bits must be .* 2048"):
        threshold_paillier.deal(3, 2, 1024)
    with pytest.raises(ValueError, match="even"):
        threshold_paillier.deal(3, 2, 2049)
    with pytest.raises(ValueError, match="parties must be below p' and q'"):
        dealt(12, 2, (23, 47), encoding=FixedPoint(1.0, 2, 2))


def test_secrets_are_not_printed():
    _, shares = dealt(3, 2)
    assert str(shares[0].value) not in repr(shares[0])


@settings(max_examples=25)
@given(st.lists(st.integers(-127, 127), max_size=30), st.integers(1, 5), st.data())
def test_any_vector_any_parties(levels, parties, data):
    threshold = data.draw(st.integers(1, parties))
    public, shares = dealt(parties, threshold, noise=16)
    ciphertext = public.encrypt(np.array(levels) * public.encoding.unit)
    chosen = data.draw(st.permutations(shares))[:threshold]
    found = public.combine([share.partial_decrypt(ciphertext) for share in chosen])
    assert found.tolist() == [level / public.encoding.scale for level in levels]
