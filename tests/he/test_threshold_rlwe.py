"""RLWE keys in n parts: sums exact with all parts, nothing with fewer, and parameters derived."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from refimpl.arithmetic import randomness
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import lattice_noise, polynomials, threshold_rlwe, wide
from refimpl.he.threshold_parameters import MOST_MODULUS_BITS, Parameters
from tests.he.lattice import DEGREE, ring_product

CODE = FixedPoint(1.0, 16, 256)
AGREED = Parameters(3, bytes(range(16)), CODE)
BITS, BOUND = AGREED.modulus_bits, 1 << AGREED.smudging_bits


def drawn(seed, parameters=AGREED):
    """Key shares (fresh objects, which have decrypted nothing) and the collective key."""
    pairs = [
        threshold_rlwe.generate_share(parameters, party, randomness.seeded(seed, str(party)))
        for party in range(1, parameters.parties + 1)
    ]
    return threshold_rlwe.combine_keys(parameters, [p for p, _ in pairs]), [s for _, s in pairs]


PUBLIC, _ = drawn(1)


def parts_of(ciphertext, seed=1, public=PUBLIC):
    return [share.partial_decrypt(public, ciphertext) for share in drawn(seed)[1]]


def numbers(words):
    """Integers modulo q from (2, n) words."""
    return [int(low) | int(high) << 64 for low, high in zip(*words, strict=True)]


def centred(values, modulus=1 << BITS):
    return [(v + modulus // 2) % modulus - modulus // 2 for v in values]


def unpacked(item):
    return PUBLIC.unpacked(item)


def opened(ciphertext, shares):
    """c0 + c1 (sum of some secrets), modulo q, of all rows; by the products tested elsewhere."""
    total, c1 = np.moveaxis(unpacked(ciphertext), 1, 0)
    for share in shares:
        product = polynomials.wide_product(
            polynomials.wide_limbs(c1), polynomials.transform(share.secret)
        )
        wide.add(total, product)
    return numbers(total.reshape(2, -1))


def expected(vectors, code=CODE):
    total = sum(code.encode(vector).astype(object) for vector in vectors)
    return code.decode(total.astype(np.uint64), summands=len(vectors))


@pytest.mark.parametrize(("parties", "summands"), [(2, 256), (3, 256), (10, 256), (100, 256)])
def test_the_smudging_is_the_smallest_that_hides_and_the_modulus_holds_it(parties, summands):
    """The formulas of the module's text, written out a second time."""
    chosen = Parameters(parties, bytes(16), FixedPoint(1.0, 16, summands))
    coefficients = 245 * 4096
    variance = summands * (2 / 3 * 4096 * 10.5 * parties + 10.5 * (4096 * 2 / 3 * parties + 1))
    distance = coefficients * math.sqrt(variance) / 2 / 2.0**chosen.smudging_bits
    assert 2**-41 < distance <= 2**-40
    half = 2.0 ** (chosen.noise_bits - 1)
    assert half / 2 <= chosen.noise_limit <= half
    # Room beside the largest smudging of all, or beside 9 deviations of it where that is less.
    smudging = min(parties, 9 * math.sqrt(parties / 3)) * 2.0**chosen.smudging_bits
    assert half > smudging + 9 * math.sqrt(variance)
    assert chosen.modulus_bits == chosen.noise_bits + 24
    assert chosen.modulus_bits <= MOST_MODULUS_BITS


def test_ten_parties_need_parameters_of_their_own():
    """At q = 2^64 with two slots Δ/2 is 2^15: about three deviations of ten parties' noise."""
    deviation = math.sqrt(256 * 10 * 2 * 4096 * 10.5 / 2)
    assert 3 < 2**15 / deviation < 3.2
    ten = Parameters(10, bytes(16), CODE)
    assert ten.modulus_bits == 102
    assert Parameters(10, bytes(16), FixedPoint(1.0, 16, 10)).modulus_bits == 96
    public, _ = drawn(1, ten)
    assert public.encrypt(np.zeros(4096 * 10)).nbytes / 40960 == 2 * 102 / 8  # bytes a value


def test_the_keys_are_what_the_definition_says():
    public, shares = drawn(1)
    secret = sum(share.secret.astype(int) for share in shares)
    a = numbers(threshold_rlwe.common_polynomial(AGREED))
    total = [0] * DEGREE
    for share in shares:
        assert set(share.secret.tolist()) == {-1, 0, 1}
        total = [x + y for x, y in zip(total, ring_product(a, share.secret), strict=True)]
    assert np.var(secret) == pytest.approx(2, rel=0.15)  # three ternary; 4.5 deviations
    error = centred([b + y for b, y in zip(numbers(public.b), total, strict=True)])
    assert max(map(abs, error)) <= 3 * 21
    assert np.var(error) == pytest.approx(3 * 10.5, rel=0.12)


@pytest.mark.parametrize("length", [0, 1, 4096, 4097])
def test_sums_are_exact(length):
    rng = np.random.default_rng(length)
    vectors = [rng.uniform(-1, 1, length) for _ in range(5)]
    ciphertexts = [PUBLIC.from_bytes(PUBLIC.encrypt(vector).to_bytes()) for vector in vectors]
    total = PUBLIC.add(PUBLIC.add(*ciphertexts[:3]), *ciphertexts[3:])
    parts = [PUBLIC.partial_from_bytes(part.to_bytes()) for part in parts_of(total)]
    found = PUBLIC.combine(parts[::-1])  # in any order
    assert found.dtype == np.float64
    assert np.array_equal(found, expected(vectors))


def test_the_largest_sum_is_exact_and_one_more_is_refused():
    ends = np.where(np.arange(4096) % 3, 1.0, -1.0)
    rng = randomness.secure()
    total = PUBLIC.add(*[PUBLIC.encrypt(ends, rng) for _ in range(256)])
    assert np.array_equal(PUBLIC.combine(parts_of(total)), 256 * ends)
    with pytest.raises(ValueError, match="summands must be a whole number between 1 and 256"):
        PUBLIC.add(total, PUBLIC.encrypt(ends))


def test_a_part_is_c1_times_the_share_and_uniform_smudging():
    """Power: smudging left out, too narrow by 3 %, or off centre by 3 % of B fails."""
    shares = drawn(1)[1]
    ciphertext = PUBLIC.encrypt(np.zeros(3))
    c0, c1 = (numbers(p[:, 0]) for p in np.moveaxis(unpacked(ciphertext), 1, 0))
    for share in shares[:2]:
        part = numbers(unpacked(share.partial_decrypt(PUBLIC, ciphertext))[:, 0])
        product = ring_product(c1, share.secret)
        base = c0 if share.party == 1 else [0] * DEGREE  # the first party's part has c0 in it
        rest = [p - y - z for p, y, z in zip(part, product, base, strict=True)]
        smudging = centred(rest)
        assert all(-BOUND <= value < BOUND for value in smudging)
        share_of_bound = np.array([value / BOUND for value in smudging])
        assert stats.kstest(share_of_bound, stats.uniform(-1, 2).cdf).pvalue > 1e-7
        low = np.array([value % 2**16 for value in smudging])  # down to the last bits
        assert abs(low.mean() / 2**16 - 0.5) * math.sqrt(12 * DEGREE) < 5.5


def test_both_parts_of_a_ciphertext_have_an_error_of_their_own(monkeypatch):
    """With u known, e1 and e2 are what is left. A missing, halved or repeated one fails."""
    drawn_u, ternary = [], lattice_noise.ternary
    monkeypatch.setattr(
        lattice_noise, "ternary", lambda *given: drawn_u.append(ternary(*given)) or drawn_u[-1]
    )
    ciphertext = PUBLIC.encrypt(np.zeros(4096))
    message = int(CODE.encode(0.0)) << AGREED.noise_bits
    c0, c1 = (numbers(part[:, 0]) for part in np.moveaxis(unpacked(ciphertext), 1, 0))
    keys = (PUBLIC.b, threshold_rlwe.common_polynomial(AGREED))
    errors = []
    for part, key, taken in zip((c0, c1), keys, (message, 0), strict=True):
        product = ring_product(numbers(key), drawn_u[0][0])
        errors.append(centred([x - y - taken for x, y in zip(part, product, strict=True)]))
        assert max(map(abs, errors[-1])) <= 21
        assert np.var(errors[-1]) == pytest.approx(10.5, rel=0.12)  # 5.5 deviations
    assert abs(np.corrcoef(*errors)[0, 1]) < 5.5 / 64


def test_the_collective_noise_has_the_computed_variance():
    """Without smudging, by all secrets at once; 3 % is 5 deviations of 2^15 values' variance."""
    public, shares = drawn(1)
    message = int(CODE.encode(0.0)) << AGREED.noise_bits
    values = opened(public.encrypt(np.zeros(4096 * 8)), shares)
    noise = np.array(centred([value - message for value in values]), float)
    error = numbers(public.b)
    for share in shares:
        a = numbers(threshold_rlwe.common_polynomial(AGREED))
        error = [x + y for x, y in zip(error, ring_product(a, share.secret), strict=True)]
    squared_error = np.square(np.array(centred(error), float)).sum()
    secret = sum(share.secret.astype(int) for share in shares)
    variance = 2 / 3 * squared_error + 10.5 * (np.square(secret).sum() + 1)
    assert noise.var() == pytest.approx(variance, rel=0.04)
    assert variance == pytest.approx(2 * 2 / 3 * 4096 * 10.5 * 3, rel=0.12)  # what B is for


def test_parts_of_one_ciphertext_differ_and_hide_the_share():
    """Two holders of the same share: their parts differ by two smudgings, as wide as B."""
    ciphertext = PUBLIC.encrypt(np.zeros(3))
    one, two = (
        numbers(unpacked(drawn(1)[1][1].partial_decrypt(PUBLIC, ciphertext))[:, 0])
        for _ in range(2)
    )
    difference = centred([x - y for x, y in zip(one, two, strict=True)])
    assert np.std(np.array(difference, float)) == pytest.approx(BOUND * math.sqrt(2 / 3), rel=0.1)


def test_a_second_part_of_a_ciphertext_is_refused():
    share = drawn(1)[1][0]
    ciphertext = PUBLIC.encrypt(np.zeros(3))
    share.partial_decrypt(PUBLIC, ciphertext)
    copies = [
        ciphertext,
        PUBLIC.from_bytes(ciphertext.to_bytes()),
        dataclasses.replace(ciphertext, summands=2),
    ]
    for copy in copies:
        with pytest.raises(ValueError, match="party 1 has decrypted this ciphertext already"):
            share.partial_decrypt(PUBLIC, copy)
    share.partial_decrypt(PUBLIC, PUBLIC.encrypt(np.zeros(3)))  # another one is fine


def test_fewer_than_all_parts_are_refused():
    parts = parts_of(PUBLIC.encrypt([0.5]))
    for missing in range(3):
        some = parts[:missing] + parts[missing + 1 :]
        with pytest.raises(ValueError, match="at least threshold=3 partial decryptions"):
            PUBLIC.combine(some)
    with pytest.raises(ValueError, match="different parties, got two of party 2"):
        PUBLIC.combine([*parts, parts[1]])


def test_all_secrets_but_one_say_nothing_of_the_message():
    """The attempt: two of three secrets. What is left, c1 s_3, is uniform, message or not.

    Power: 2^15 coefficients; a message that shifted the top bits by 1 % of q would show.
    """
    shares = drawn(1)[1]
    for value in (-1.0, 1.0):
        ciphertext = PUBLIC.encrypt(np.full(4096 * 8, value))
        tops = [v % 2**BITS / 2**BITS for v in opened(ciphertext, shares[:2])]
        assert stats.kstest(tops, "uniform").pvalue > 1e-7
    assert np.std([v % 2**BITS / 2**BITS for v in opened(ciphertext, shares)]) < 1e-6


def test_a_missing_partys_part_made_up_is_an_error_and_not_a_sum():
    ciphertext = PUBLIC.encrypt(np.zeros(5000))
    parts = parts_of(ciphertext)
    forged = drawn(99)[1][2].partial_decrypt(PUBLIC, ciphertext)  # of another secret
    with pytest.raises(ValueError, match="noise exceeds"):
        PUBLIC.combine([*parts[:2], forged])


def test_parts_of_different_ciphertexts_or_keys_do_not_mix():
    one, two = PUBLIC.encrypt([0.5]), PUBLIC.encrypt([0.5])
    with pytest.raises(ValueError, match="of one ciphertext"):
        PUBLIC.combine([*parts_of(one)[:2], parts_of(two)[2]])
    other, shares = drawn(5)
    with pytest.raises(ValueError, match="another key"):
        PUBLIC.combine([*parts_of(one)[:2], shares[2].partial_decrypt(other, other.encrypt([0.5]))])
    with pytest.raises(ValueError, match="another public key"):
        shares[0].partial_decrypt(other, one)
    with pytest.raises(ValueError, match="another key"):
        other.partial_from_bytes(parts_of(one)[0].to_bytes())
    with pytest.raises(TypeError, match="a partial decryption is wanted"):
        PUBLIC.combine([one])


def test_a_share_of_other_parameters_is_refused():
    agreed = dataclasses.replace(AGREED, seed=bytes(16))
    public, _ = drawn(1, agreed)
    with pytest.raises(ValueError, match="of other parameters than this share"):
        drawn(1)[1][0].partial_decrypt(public, public.encrypt([0.5]))


def test_misshapen_ciphertexts_and_parts_are_refused():
    one = PUBLIC.encrypt([0.5])
    low, high = one.arrays
    for arrays in [(low,), (low, high[:, :, :-1].copy()), (low[:1].copy(), high), (high, low)]:
        with pytest.raises(ValueError, match="1 values must come as"):
            PUBLIC.add(dataclasses.replace(one, arrays=arrays))
    parts = parts_of(one)
    low, high = parts[0].arrays
    wrong = dataclasses.replace(parts[0], arrays=(low[:0].copy(), high))
    with pytest.raises(ValueError, match="1 values must come as"):
        PUBLIC.combine([wrong, *parts[1:]])
    stranger = dataclasses.replace(parts[2], party=4)
    with pytest.raises(ValueError, match="party must be at most 3, got 4"):
        PUBLIC.combine([*parts[:2], stranger])
    damaged = bytearray(parts[0].to_bytes())
    damaged[400] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        PUBLIC.partial_from_bytes(bytes(damaged))


def test_values_and_lengths_out_of_bounds_are_refused():
    with pytest.raises(ValueError, match="values must lie in"):
        PUBLIC.encrypt([math.nan])
    with pytest.raises(ValueError, match="one dimension"):
        PUBLIC.encrypt([[0.5]])
    short, _ = drawn(1, dataclasses.replace(AGREED, length=10))
    with pytest.raises(ValueError, match="length must be a whole number between 0 and 10"):
        short.encrypt(np.zeros(11))


def test_keys_are_combined_of_all_parties_and_of_the_right_shape():
    shares = [threshold_rlwe.generate_share(AGREED, party)[0] for party in (1, 2, 3)]
    with pytest.raises(ValueError, match=r"parties 1 to 3 is needed, got those of \[1, 2\]"):
        threshold_rlwe.combine_keys(AGREED, shares[:2])
    with pytest.raises(ValueError, match=r"got those of \[1, 2, 2\]"):
        threshold_rlwe.combine_keys(AGREED, [shares[0], shares[1], shares[1]])
    wild = dataclasses.replace(shares[2], b=np.full((2, DEGREE), 2**64 - 1, np.uint64))
    with pytest.raises(ValueError, match="b of party 3 must be"):
        threshold_rlwe.combine_keys(AGREED, [*shares[:2], wild])
    with pytest.raises(ValueError, match="party must be a whole number between 1 and 3"):
        threshold_rlwe.generate_share(AGREED, 4)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"parties": 1}, "parties must be a whole number of at least 2"),
        ({"parties": 2.0}, "parties must be a whole number"),
        ({"seed": b"short"}, "seed must be 16 bytes"),
        ({"length": 0}, "length must be a whole number of at least 1"),
        ({"encoding": FixedPoint(1.0, 32, 256)}, "more than 106"),
        ({"parties": 10**6}, "take fewer of parties, summands or bits"),
    ],
)
def test_impossible_parameters_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(AGREED, **changes)


def test_secrets_are_not_printed():
    assert "secret" not in repr(drawn(1)[1][0])


def test_smudging_is_drawn_from_the_generator_and_fresh_by_default():
    ciphertext = PUBLIC.encrypt([0.5])
    one, two = (
        drawn(1)[1][1].partial_decrypt(PUBLIC, ciphertext, randomness.seeded(4)).to_bytes()
        for _ in range(2)
    )
    assert one == two
    assert lattice_noise.LOG2_FAILURE == -40


def test_short_vectors_that_need_little_smudging_are_exact():
    """Below 2^64 there would be no word to draw it in: the bound is 2^64 then."""
    agreed = Parameters(3, bytes(16), FixedPoint(1.0, 16, 3), length=10)
    assert agreed.smudging_bits == 64
    public, shares = drawn(2, agreed)
    values = np.linspace(-1, 1, 10)
    total = public.add(*(public.encrypt(values) for _ in range(3)))
    found = public.combine([share.partial_decrypt(public, total) for share in shares])
    code = agreed.encoding
    assert found.tolist() == code.decode(3 * code.encode(values), summands=3).tolist()
