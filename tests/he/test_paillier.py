"""Paillier against the definition, against python-paillier, and at every bound."""

import dataclasses
from math import gcd

import numpy as np
import phe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.arithmetic import randomness
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import integers, paillier, python_paillier
from refimpl.he.ciphertext import Ciphertext
from tests.he.keys import pair, short_pair

SMALL = FixedPoint(2.0, 8, 20)


def values(length=200, seed=0, bound=1.0):
    return np.random.default_rng(seed).uniform(-bound, bound, length)


def exact_sum(encoding, *vectors):
    """The sum of the roundings, in Python's integers."""
    rows = [encoding.encode(vector).tolist() for vector in vectors]
    totals = [sum(column) - len(rows) * encoding.offset for column in zip(*rows, strict=True)]
    return [total / encoding.scale for total in totals]


# --- known answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["gmpy2", "python"])
def test_the_published_example(backend, monkeypatch):
    """n = 293 * 433, g = n + 1, message 10100 with r = 74384; and E(1; r=1) = n + 1."""
    if backend == "python":
        monkeypatch.setattr(integers, "gmpy2", None)
    assert paillier.encrypt_integer(10100, 126869, 74384) == 935906717
    assert paillier.encrypt_integer(1, 126869, 1) == 126870
    assert paillier.decrypt_integers([935906717, 126870, 1], 293, 433) == [10100, 1, 0]
    assert paillier.decrypt_integers([935906717], 433, 293) == [10100]


def test_every_plaintext_of_a_tiny_key():
    numbers = [paillier.encrypt_integer(m, 77, 2 + m % 5) for m in range(77)]
    assert paillier.decrypt_integers(numbers, 7, 11) == [*range(77)]


# --- with python-paillier ----------------------------------------------------------------------


def test_phe_reads_what_we_encrypt():
    public, private = pair()
    vector = values(100)
    theirs = python_paillier.private_key(private)
    ciphertext = public.add(public.encrypt(vector), public.encrypt(-vector / 3))
    numbers = [theirs.raw_decrypt(int(c)) for c in public.to_integers(ciphertext)]
    digits = [(numbers[i // 85] >> (24 * (i % 85))) % 2**24 for i in range(100)]
    code = public.encoding
    wanted = code.encode(vector) + code.encode(-vector / 3)
    assert digits == wanted.tolist()


def test_we_read_what_phe_encrypts():
    public, private = pair()
    theirs, code = python_paillier.public_key(public), public.encoding
    vector = values(90)
    encoded = code.encode(vector).tolist()
    packed = [sum(v << (24 * i) for i, v in enumerate(encoded[s : s + 85])) for s in (0, 85)]
    numbers = [theirs.raw_encrypt(number) for number in packed]
    ciphertext = public.from_integers(numbers, length=90)
    assert private.decrypt(ciphertext).tolist() == exact_sum(code, vector)
    both = public.add(ciphertext, public.encrypt(vector))
    assert private.decrypt(both).tolist() == exact_sum(code, vector, vector)


def test_a_key_of_phe_is_taken_if_its_primes_fit():
    fit = unfit = 0
    while not (fit and unfit):
        _, theirs = phe.generate_paillier_keypair(n_length=512)
        try:
            public, private = paillier.keypair_of(theirs.p, theirs.q, SMALL, teaching=True)
        except ValueError as error:
            assert "3 modulo 4" in str(error)
            assert theirs.p % 4 == 1 or theirs.q % 4 == 1 or gcd(theirs.p - 1, theirs.q - 1) > 2
            unfit += 1
            continue
        fit += 1
        vector = values(30)
        assert private.decrypt(public.encrypt(vector)).tolist() == exact_sum(SMALL, vector)


def test_phe_tells_magnitudes_and_we_do_not():
    """Its exponent tells 1e-9 from 0.5. Ours: the same number of bytes, whatever the values."""
    assert python_paillier.exponents([0.5, 1e-9]) == [-14, -21]
    public, _ = short_pair()
    small, large = (public.encrypt(np.full(50, value)) for value in (1e-9, 0.5))
    header = [ciphertext.to_bytes()[: -16 - ciphertext.nbytes] for ciphertext in (small, large)]
    assert header[0] == header[1]
    assert small.nbytes == large.nbytes


# --- the homomorphism --------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.data())
def test_any_program_of_sums_and_multiples(data):
    """Random sums of sums, against the same sums of Python's integers, bit for bit."""
    public, private = short_pair(128, SMALL)
    length = data.draw(st.integers(0, 25))
    pool = []
    for _ in range(data.draw(st.integers(1, 4))):
        levels = data.draw(st.lists(st.integers(-127, 127), min_size=length, max_size=length))
        pool.append((public.encrypt(np.array(levels) * SMALL.unit), levels, 1))
    for _ in range(data.draw(st.integers(0, 5))):
        a, b = data.draw(st.sampled_from(pool)), data.draw(st.sampled_from(pool))
        times = data.draw(st.integers(1, 3))
        if a[2] * times + b[2] <= SMALL.summands:
            ciphertext = public.add(public.multiply(a[0], times), b[0])
            levels = [times * x + y for x, y in zip(a[1], b[1], strict=True)]
            pool.append((ciphertext, levels, a[2] * times + b[2]))
    for ciphertext, levels, summands in pool:
        assert (ciphertext.length, ciphertext.summands) == (length, summands)
        assert private.decrypt(ciphertext).tolist() == [level / SMALL.scale for level in levels]


@pytest.mark.parametrize(("bits", "noise", "exponent"), [(2048, "half", 1024), (3072, 256, 256)])
def test_full_length_keys(bits, noise, exponent):
    public, private = pair(bits, noise)
    assert (public.n.bit_length(), public.noise_bits) == (bits, exponent)
    vectors = [values(300, seed) for seed in range(3)]
    total = public.add(*[public.encrypt(vector) for vector in vectors])
    assert private.decrypt(total).tolist() == exact_sum(public.encoding, *vectors)
    assert total.nbytes == -(-300 // public.slots) * bits // 4


def test_ten_thousand_values_take_at_most_six_and_a_half_bytes_each():
    public, _ = pair()
    hidden = [1] * 118
    data = public.from_integers(hidden, length=10_000).to_bytes()
    assert public.slots == 85
    assert len(data) <= 65_000


@pytest.mark.parametrize("noise", ["full", 256])
def test_other_lengths_of_noise(noise):
    public, private = pair()
    wanted = {"full": 2112, 256: 256}[noise]
    again, _ = paillier.keypair_of(private.p, private.q, noise=noise)
    assert again.noise_bits == wanted
    public = dataclasses.replace(public, noise_bits=wanted)
    vector = values(10)
    assert private.decrypt(public.encrypt(vector)).tolist() == exact_sum(public.encoding, vector)


def test_without_gmpy2_the_same_numbers(monkeypatch):
    public, private = short_pair()
    vector, rng = values(40), randomness.seeded
    with_gmpy2 = public.encrypt(vector, rng(5)).to_bytes()
    monkeypatch.setattr(integers, "gmpy2", None)
    paillier.table.cache_clear()
    fresh = paillier.PublicKey(public.n, public.h, noise_bits=public.noise_bits, teaching=True)
    ciphertext = fresh.encrypt(vector, rng(5))
    assert ciphertext.to_bytes() == with_gmpy2
    assert type(fresh.to_integers(ciphertext)[0]) is int
    total = fresh.add(ciphertext, fresh.multiply(ciphertext, 2))
    found = paillier.PrivateKey(fresh, private.p, private.q).decrypt(total)
    assert found.tolist() == exact_sum(fresh.encoding, vector, vector, vector)
    paillier.table.cache_clear()


def test_no_two_encryptions_are_alike_and_a_seed_repeats_them():
    public, _ = short_pair()
    numbers = [n for _ in range(20) for n in public.to_integers(public.encrypt(np.zeros(50)))]
    assert len(set(numbers)) == len(numbers) == 20 * 10
    one, other = (public.encrypt([0.5], randomness.seeded(1)).to_bytes() for _ in range(2))
    assert one == other


def test_the_encryption_is_the_definition_with_an_n_th_power():
    """c (1 + n)^-m is an n-th power: raised to (p-1)(q-1) it is 1 modulo n^2, and not before."""
    public, private = short_pair()
    n = public.n
    vector = np.array([0.25, -1.0])
    (c,) = public.to_integers(public.encrypt(vector))
    m = sum(int(v) << (24 * i) for i, v in enumerate(public.encoding.encode(vector)))
    noise = int(c) * pow(1 + n, -m, n * n) % (n * n)
    assert pow(noise, (private.p - 1) * (private.q - 1), n * n) == 1
    assert noise not in (0, 1)
    assert pow(int(c), (private.p - 1) * (private.q - 1), n * n) != 1


# --- bounds and bad input ----------------------------------------------------------------------


def test_exact_at_the_bound_and_an_error_one_beyond():
    public, private = short_pair(128, SMALL)
    extreme = np.resize([2.0, -2.0, 0.0], 31)
    full = public.multiply(public.encrypt(extreme), 20)
    assert private.decrypt(full).tolist() == [40.0, -40.0, 0.0] * 10 + [40.0]
    with pytest.raises(ValueError, match=r"summands must be .* 20, got 21; choose"):
        public.add(full, public.encrypt(extreme))
    with pytest.raises(ValueError, match=r"factor times summands must be .* 20, got 40"):
        public.multiply(full, 2)
    with pytest.raises(ValueError, match="factor must be"):
        public.multiply(public.encrypt(extreme), 0)
    with pytest.raises(ValueError, match=r"values must lie in \[-2.0, 2.0\], got 2.01 at index"):
        public.encrypt([0.0, 2.01])
    with pytest.raises(ValueError, match="got nan"):
        public.encrypt([float("nan")])
    for shape in ((), (2, 2)):
        with pytest.raises(ValueError, match="must have one dimension"):
            public.encrypt(np.zeros(shape))


def test_the_slots_stay_below_the_modulus():
    """Eight slots of 16 bits would fill 128 bits, and n is below 2^128: seven it is."""
    public, private = short_pair(128, FixedPoint(1.0, 8, 257))
    assert (public.encoding.sum_bits, public.slots) == (16, 7)
    full = public.multiply(public.encrypt(np.ones(16)), 257)
    assert private.decrypt(full).tolist() == [257.0] * 16


def test_nothing_is_encrypted_to_nothing():
    public, private = short_pair()
    empty = public.from_bytes(public.encrypt([]).to_bytes())
    assert private.decrypt(public.add(empty, empty)).shape == (0,)


def test_keys_and_encodings_are_never_mixed():
    public, private = short_pair(128, SMALL)
    other, others = paillier.generate_teaching_keypair(128, SMALL)
    coarse = dataclasses.replace(public, encoding=FixedPoint(2.0, 7, 20))
    wider = dataclasses.replace(public, encoding=FixedPoint(3.0, 8, 20))
    mine = public.encrypt([1.0])
    for wrong, complaint in [
        (other.encrypt([1.0]), "another public key"),
        (coarse.encrypt([1.0]), "agree on one"),
        (wider.encrypt([1.0]), "agree on one"),
        (public.encrypt([1.0, 2.0]), "one length"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            public.add(mine, wrong)
        if "length" not in complaint:
            with pytest.raises(ValueError, match=complaint):
                private.decrypt(wrong)
            with pytest.raises(ValueError, match=complaint):
                public.from_bytes(wrong.to_bytes())
    with pytest.raises(ValueError, match="another public key"):
        others.decrypt(mine)
    with pytest.raises(ValueError, match="the factors of the public key"):
        paillier.PrivateKey(public, others.p, others.q)


def test_numbers_outside_the_group_are_refused():
    public, private = short_pair(128, SMALL)
    n, length = public.n, 3
    for number in (0, n * n, n * n + 5, n, 7 * private.p, 2 ** (8 * public._width) - 1):
        forged = public.from_integers([number], length=length)
        for refuses in (private.decrypt, public.add, lambda c: public.from_bytes(c.to_bytes())):
            with pytest.raises(ValueError, match="outside the group"):
                refuses(forged)


def test_misshapen_ciphertexts_are_refused():
    public, private = short_pair(128, SMALL)
    good = public.encrypt(np.zeros(25))
    rows = good.arrays[0]
    for arrays in ((), (rows, rows), (rows[:-1],), (rows[:, :-1],), (rows.view("<u4"),)):
        forged = Ciphertext(good.terms, 25, 1, arrays)
        for refuses in (private.decrypt, public.add, lambda c: public.from_bytes(c.to_bytes())):
            with pytest.raises(ValueError, match="must be one array of bytes of shape"):
                refuses(forged)


def test_a_plaintext_that_is_no_sum_of_encodings_is_refused():
    """A count that is too low, something in an empty slot, or above all slots."""
    public, private = short_pair(128, SMALL)
    full = public.multiply(public.encrypt(np.full(3, 2.0)), 20)
    fewer = Ciphertext(full.terms, 3, 19, full.arrays)
    with pytest.raises(ValueError, match="total must lie in"):
        private.decrypt(fewer)
    bits = SMALL.sum_bits
    for message in (1 << (3 * bits), 1 << (public.slots * bits), public.n - 1):
        number = paillier.encrypt_integer(message, public.n, 2)
        with pytest.raises(ValueError, match="no sum of packed values"):
            private.decrypt(public.from_integers([number], length=3))


def test_what_travels_comes_back():
    public, private = short_pair()
    vector = values(70)
    data = public.add(public.encrypt(vector), public.encrypt(vector)).to_bytes()
    found = public.from_bytes(data)
    assert found.summands == 2
    assert private.decrypt(found).tolist() == exact_sum(public.encoding, vector, vector)
    for damaged in (data[:-1], data[:100] + bytes([data[100] ^ 1]) + data[101:], b"", data * 2):
        with pytest.raises(ValueError, match="not a ciphertext"):
            public.from_bytes(damaged)


def test_short_keys_come_only_from_the_function_named_for_teaching():
    for bits in (2047, 1024, 0, 2048.0):
        with pytest.raises(ValueError, match=r"bits must be .* 2048"):
            paillier.generate_keypair(bits)
    _, private = short_pair()
    with pytest.raises(ValueError, match="bits must be at least 2048, got a modulus of 128"):
        paillier.keypair_of(private.p, private.q)
    with pytest.raises(ValueError, match="even"):
        paillier.generate_keypair(2049)


def test_unsound_keys_are_refused():
    public, private = pair()
    n, h = public.n, public.h
    for wrong in ({"h": 0}, {"h": n}, {"h": 1}, {"h": private.p}, {"n": n + 2}):
        with pytest.raises(ValueError, match="n must be 1 modulo 4 and h invertible"):
            paillier.PublicKey(**({"n": n, "h": h} | wrong))
    for wrong in ({"n": 5.0}, {"n": str(n)}, {"h": -1}, {"h": None}):
        with pytest.raises(ValueError, match="must be a whole number"):
            paillier.PublicKey(**({"n": n, "h": h} | wrong))
    assert paillier.PublicKey(integers.integer(n), integers.integer(h)) == public
    for bits in (216, 1025, 2120, 1024.0):
        with pytest.raises(ValueError, match="noise_bits must be"):
            paillier.PublicKey(n, h, noise_bits=bits)
    with pytest.raises(ValueError, match="must be prime"):
        paillier.keypair_of(private.p, private.q + 4)
    with pytest.raises(ValueError, match="noise must be"):
        paillier.keypair_of(private.p, private.q, noise="quarter")


def test_secrets_are_not_printed():
    _, private = short_pair()
    assert str(private.p) not in repr(private)
    assert str(private.q) not in repr(private)
