"""Ring LWE: exact sums, noise as computed, bytes, and every misuse an error."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.arithmetic import randomness
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import lattice_noise, rlwe, slots
from refimpl.he.ciphertext import Ciphertext
from tests.he.lattice import DEGREE, ring_product, signed

CODE = FixedPoint(1.0, 16, 256)
PUBLIC, PRIVATE = rlwe.generate_keypair(encoding=CODE, rng=randomness.seeded(7))
OTHER, OTHER_PRIVATE = rlwe.generate_keypair(encoding=CODE, rng=randomness.seeded(8))
FORMS = pytest.mark.parametrize("form", ["public", "seeded"])


def encrypt(form, vector, rng=None):
    return {"public": PUBLIC, "seeded": PRIVATE}[form].encrypt(vector, rng)


def expected(vectors, code=CODE):
    """The fixed-point sum, by whole numbers."""
    total = sum(code.encode(vector).astype(object) for vector in vectors)
    return code.decode(total.astype(np.uint64), summands=len(vectors))


def changed(ciphertext, **changes):
    return dataclasses.replace(ciphertext, **changes)


def test_the_keys_are_what_the_definition_says():
    """b + a s is the error: at most 21 in magnitude, by products of large integers."""
    a = randomness.expander(PUBLIC.seed).uint64((DEGREE,))
    product = ring_product(a, PRIVATE.secret)
    error = [(int(b) + c + 2**63) % 2**64 - 2**63 for b, c in zip(PUBLIC.b, product, strict=True)]
    assert max(map(abs, error)) <= 21
    assert 9.5 < np.var(error) < 11.5  # 10.5 within 4.5 standard deviations
    assert set(PRIVATE.secret.tolist()) == {-1, 0, 1}
    assert rlwe.variance_of(PRIVATE.secret, np.array(error)) == pytest.approx(
        np.square(error).sum() / 2 + 10.5 * (np.count_nonzero(PRIVATE.secret) + 1)
    )


@FORMS
def test_the_decryption_is_that_of_the_definition(form):
    """c0 + c1 s by large integers; the message stands in the top 48 bits, two slots of 24."""
    vector = np.linspace(-1, 1, 8192)
    ciphertext = encrypt(form, vector)
    c0, rest = ciphertext.arrays
    c1 = rest[0] if form == "public" else randomness.expander(rest.tobytes()).uint64((DEGREE,))
    product = ring_product(c1, PRIVATE.secret)
    phase = [(int(x) + y) % 2**64 for x, y in zip(c0[0], product, strict=True)]
    message = [((p + 2**15) % 2**64) >> 16 for p in phase]
    values = [m % 2**24 for m in message] + [m >> 24 for m in message]
    assert values == CODE.encode(vector).tolist()
    noise = [(p + 2**15) % 2**16 - 2**15 for p in phase]
    assert PRIVATE.noise(ciphertext)[0].tolist() == noise


@FORMS
@given(data=st.data())
@settings(max_examples=15)
def test_sums_are_exact_over_random_programs(form, data):
    """Any tree of additions of any vectors gives the fixed-point sum, bit for bit."""
    length = data.draw(st.sampled_from([0, 1, 2, 4095, 4096, 4097, 8192, 8193]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    vectors = [rng.uniform(-1, 1, length) for _ in range(data.draw(st.integers(1, 6)))]
    pool = [encrypt(form, vector) for vector in vectors]
    while len(pool) > 1:
        taken = data.draw(st.integers(2, len(pool)))
        pool = [*pool[taken:], PUBLIC.add(*pool[:taken])]
    found = PRIVATE.decrypt(PUBLIC.from_bytes(pool[0].to_bytes()))
    assert found.dtype == np.float64
    assert np.array_equal(found, expected(vectors))


@FORMS
def test_the_largest_sum_is_exact_at_both_ends_and_one_more_is_refused(form):
    """256 fresh summands at the bounds: every slot full."""
    ends = np.where(np.arange(8192) % 3, 1.0, -1.0)
    rng = randomness.secure()
    total = PUBLIC.add(*[encrypt(form, ends, rng) for _ in range(256)])
    assert total.summands == 256
    assert np.array_equal(PRIVATE.decrypt(total), 256 * ends)
    with pytest.raises(ValueError, match="summands must be a whole number between 1 and 256"):
        PUBLIC.add(total, encrypt(form, ends))


@pytest.mark.parametrize(
    ("bits", "summands", "slots"),
    [(16, 256, 2), (8, 10, 4), (16, 10, 2), (24, 256, 1), (2, 1, 26), (32, 1000, 1)],
)
def test_slots_are_derived_and_sums_exact_for_other_encodings(bits, summands, slots):
    code = FixedPoint(3.0, bits, summands)
    public, private = rlwe.generate_keypair(encoding=code)
    assert public.slots.count == slots
    assert public.log2_failure(10**6, summands) < -40
    vectors = [np.full(5000, sign * 3.0) for sign in (1, -1, 1)][: min(3, summands)]
    total = public.add(*[public.encrypt(vector) for vector in vectors])
    assert np.array_equal(private.decrypt(total), expected(vectors, code))


def test_an_encoding_without_room_for_the_noise_is_refused():
    with pytest.raises(ValueError, match="leave no room for the noise in 64 bits"):
        rlwe.generate_keypair(encoding=FixedPoint(1.0, 48, 4096))


def test_the_noise_has_the_computed_variance():
    """Relative error of a variance from 2^17 normal values: 0.4 %; 3 % is far beyond chance.

    A forgotten term (e u or e2 s is half of it) or an error of another width fails.
    """
    ciphertext = PUBLIC.encrypt(np.zeros(8192 * 32))
    a = randomness.expander(PUBLIC.seed).uint64((DEGREE,))
    product = ring_product(a, PRIVATE.secret)
    error = signed(PUBLIC.b + np.array([c % 2**64 for c in product], np.uint64))
    variance = rlwe.variance_of(PRIVATE.secret, error)
    assert PRIVATE.noise(ciphertext).var() == pytest.approx(variance, rel=0.03)
    assert variance <= rlwe.VARIANCE
    assert pytest.approx(rlwe.VARIANCE / 1.1) == 4096 * (10.5 / 2 + 10.5 / 2) + 10.5
    seeded = PRIVATE.noise(PRIVATE.encrypt(np.zeros(8192 * 32)))
    assert seeded.var() == pytest.approx(10.5, rel=0.03)
    assert np.abs(seeded).max() <= 21


def test_both_parts_of_a_public_ciphertext_have_an_error_of_their_own(monkeypatch):
    """With u known, e1 and e2 are what is left: without e1, c0 = b u + Δm could be solved for m.

    Its share in the noise is too small to be seen there. Power: see ``test_lattice_noise``; a
    missing, halved or repeated error fails.
    """
    drawn, binary = [], lattice_noise.binary
    monkeypatch.setattr(
        lattice_noise, "binary", lambda *given: drawn.append(binary(*given)) or drawn[-1]
    )
    vector = np.linspace(-1, 1, 8192)
    c0, c1 = (part[0] for part in PUBLIC.encrypt(vector).arrays)
    (u,) = drawn
    c0 = c0 - PUBLIC.scaled(vector)[0]
    a = randomness.expander(PUBLIC.seed).uint64((DEGREE,))
    errors = []
    for part, key in ((c0, PUBLIC.b), (c1, a)):
        product = np.array([value % 2**64 for value in ring_product(key, u[0])], np.uint64)
        errors.append(signed(part - product))
        assert np.abs(errors[-1]).max() <= 21
        assert errors[-1].var() == pytest.approx(10.5, rel=0.12)  # 5.5 deviations
    assert abs(np.corrcoef(*errors)[0, 1]) < 5.5 / 64


def test_each_seeded_ciphertext_has_a_seed_of_its_own():
    """Under one seed, the difference of two ciphertexts is that of their messages."""
    rng = randomness.seeded(1)
    seeds = {PRIVATE.encrypt([0.5], rng).arrays[1].tobytes() for _ in range(20)}
    assert len(seeds) == 20


def test_the_budget_holds_at_256_summands_and_not_with_ternary_secrets():
    million = 10**6
    assert PUBLIC.log2_failure(million, 256) < -40
    ternary = 256 * (4096 * 10.5 * (2 / 3) * 2 + 10.5)
    coefficients = PUBLIC.slots.coefficients(million)
    assert coefficients == 123 * 4096
    assert lattice_noise.log2_failure(2**15, ternary, coefficients) > -40
    # Not the bound's fault: the normal tail itself exceeds 2^-40.
    deviations = 2**15 / math.sqrt(ternary)
    assert math.log2(coefficients * math.erfc(deviations / math.sqrt(2))) > -40


def test_a_vector_too_long_for_the_budget_is_refused(monkeypatch):
    """20 million values have too many coefficients; so have few, where the noise is larger."""
    assert slots.fits(PUBLIC.slots, CODE, rlwe.VARIANCE, 10**6)
    assert not slots.fits(PUBLIC.slots, CODE, rlwe.VARIANCE, 2 * 10**7)
    monkeypatch.setattr(rlwe, "VARIANCE", 1.5 * rlwe.VARIANCE)
    with pytest.raises(ValueError, match="a vector of 10 values is too long"):
        PUBLIC.encrypt(np.zeros(10))
    with pytest.raises(ValueError, match="too long"):
        PRIVATE.encrypt(np.zeros(10))


def test_bytes_of_a_million_values():
    vector = np.zeros(10**6)
    assert len(PUBLIC.encrypt(vector).to_bytes()) <= 8.1e6
    assert len(PRIVATE.encrypt(vector).to_bytes()) <= 4.1e6


@FORMS
def test_two_encryptions_of_one_vector_differ_and_a_seed_repeats_them(form):
    one, two = (encrypt(form, [0.5]).to_bytes() for _ in range(2))
    assert one != two
    one, two = (encrypt(form, [0.5], randomness.seeded(3)).to_bytes() for _ in range(2))
    assert one == two


@FORMS
def test_a_ciphertext_looks_uniform(form):
    """The top bits of c0 of a constant message: a mean off by 1 % of the range fails."""
    top = encrypt(form, np.zeros(8192 * 16)).arrays[0] >> np.uint64(48)
    mean = top.mean() / 2**16
    assert abs(mean - 0.5) * math.sqrt(12 * top.size) < 5.5


def test_more_summands_than_stated_are_found_out_by_the_noise():
    """64 summands have 8 times the deviation of one, whose limit is at 9.2 deviations."""
    total = PUBLIC.add(*[PUBLIC.encrypt([0.25]) for _ in range(64)])
    with pytest.raises(ValueError, match="what 1 summands explain"):
        PRIVATE.decrypt(changed(total, summands=1))
    total = PUBLIC.add(*[PRIVATE.encrypt([0.25]) for _ in range(64)])
    with pytest.raises(ValueError, match="must hold"):
        PRIVATE.decrypt(changed(total, summands=1))  # 64 seeds


def test_one_ciphertext_added_to_itself_is_right_or_an_error():
    """Its noise grows faster than that of fresh ones: 256 copies would be wrong."""
    one = PUBLIC.encrypt([0.5])
    assert PRIVATE.decrypt(PUBLIC.add(one, one)) == pytest.approx([1.0], abs=1e-4)
    with pytest.raises(ValueError, match="noise exceeds"):
        PRIVATE.decrypt(PUBLIC.add(*[one] * 256))


@FORMS
def test_damage_to_any_coefficient_is_found_by_the_noise_or_harmless(form):
    """A digest of the sender's own over changed numbers: 2^14 on one coefficient shows."""
    ciphertext = encrypt(form, np.zeros(100))
    c0 = ciphertext.arrays[0].copy()
    c0[0, 77] += np.uint64(1 << 14)
    with pytest.raises(ValueError, match="noise exceeds"):
        PRIVATE.decrypt(changed(ciphertext, arrays=(c0, ciphertext.arrays[1])))


@FORMS
def test_a_wrong_key_is_refused_even_where_the_fingerprint_is_forged(form):
    ciphertext = encrypt(form, np.zeros(10))
    with pytest.raises(ValueError, match="another public key"):
        OTHER_PRIVATE.decrypt(ciphertext)
    with pytest.raises(ValueError, match="another public key"):
        OTHER.add(ciphertext)
    terms = OTHER.terms if form == "public" else OTHER.seeded_terms
    with pytest.raises(ValueError, match="noise exceeds"):
        OTHER_PRIVATE.decrypt(changed(ciphertext, terms=terms))


def test_what_may_not_be_added():
    one = PUBLIC.encrypt(np.zeros(10))
    with pytest.raises(ValueError, match="rlwe, seeded"):
        PUBLIC.add(one, PRIVATE.encrypt(np.zeros(10)))
    with pytest.raises(ValueError, match="must be of one length"):
        PUBLIC.add(one, PUBLIC.encrypt(np.zeros(11)))
    with pytest.raises(ValueError, match="another public key"):
        PUBLIC.add(one, OTHER.encrypt(np.zeros(10)))
    with pytest.raises(ValueError, match="at least one"):
        PUBLIC.add()
    with pytest.raises(TypeError, match="a ciphertext is wanted"):
        PUBLIC.add(one, b"bytes")
    other = rlwe.PublicKey(FixedPoint(1.0, 16, 255), PUBLIC.seed, PUBLIC.b)
    with pytest.raises(ValueError, match="all who add must agree on one"):
        PUBLIC.add(one, other.encrypt(np.zeros(10)))


@FORMS
@pytest.mark.parametrize("value", [math.nan, math.inf, 1.1, -1.1])
def test_values_out_of_bounds_are_refused(form, value):
    with pytest.raises(ValueError, match=r"values must lie in .* at index \(2,\)"):
        encrypt(form, [0.0, 1.0, value])


@FORMS
@pytest.mark.parametrize("vector", [[[0.0]], 0.5, ["a"], [1j], None])
def test_only_vectors_of_real_numbers_are_encrypted(form, vector):
    with pytest.raises(ValueError, match="vector must be real numbers in one dimension"):
        encrypt(form, vector)


@FORMS
def test_misshapen_ciphertexts_are_refused(form):
    one = encrypt(form, np.zeros(10))
    c0, rest = one.arrays
    wrong = [
        (c0,),
        (c0, rest, rest),
        (c0[:, :-1].copy(), rest),
        (c0.astype(np.int64), rest),
        (np.concatenate([c0, c0]), rest),
        (c0, rest[:0].copy()),
    ]
    for arrays in wrong:
        bad = Ciphertext(one.terms, one.length, one.summands, arrays)
        for use in (PRIVATE.decrypt, PUBLIC.add, lambda c: PUBLIC.from_bytes(c.to_bytes())):
            with pytest.raises(ValueError, match="must hold"):
                use(bad)
    with pytest.raises(ValueError, match="must hold"):
        PRIVATE.decrypt(changed(one, length=8193))


def test_damaged_or_truncated_bytes_are_refused():
    data = bytearray(PUBLIC.encrypt(np.zeros(10)).to_bytes())
    with pytest.raises(ValueError, match="damaged"):
        PUBLIC.from_bytes(bytes(data[:-1]))
    data[5000] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        PUBLIC.from_bytes(bytes(data))
    with pytest.raises(ValueError, match="another public key"):
        OTHER.from_bytes(PUBLIC.encrypt(np.zeros(1)).to_bytes())


def test_public_keys_are_checked():
    with pytest.raises(ValueError, match="seed must be 16 bytes"):
        rlwe.PublicKey(CODE, b"short", PUBLIC.b)
    with pytest.raises(ValueError, match="b must be uint64 of shape"):
        rlwe.PublicKey(CODE, PUBLIC.seed, PUBLIC.b[:-1])


def test_secrets_are_not_printed():
    assert "secret" not in repr(PRIVATE)
    assert "array" not in repr(PRIVATE) + repr(PUBLIC)


def test_a_key_of_large_variance_is_drawn_again(monkeypatch):
    seen = []
    real = rlwe.variance_of

    def measured(secret, error):
        seen.append(real(secret, error))
        return 2 * rlwe.VARIANCE if len(seen) < 3 else seen[-1]

    monkeypatch.setattr(rlwe, "variance_of", measured)
    rlwe.generate_keypair(encoding=CODE)
    assert len(seen) == 3
