"""LWE in Phong's form: exact sums, noise as computed, refusals; mostly at a toy dimension."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl.arithmetic import randomness
from refimpl.arithmetic.fixed_point import FixedPoint
from refimpl.he import lattice_noise, lwe

CODE = FixedPoint(1.0, 16, 256)
PUBLIC, PRIVATE = lwe.generate_teaching_keypair(64, encoding=CODE, rng=randomness.seeded(7))
OTHER, OTHER_PRIVATE = lwe.generate_teaching_keypair(64, encoding=CODE)


def centred(value):
    return (value + 2**63) % 2**64 - 2**63


def matrix_product(a, b):
    """By Python's integers."""
    return np.asarray(a).astype(object) @ np.asarray(b).astype(object)


def expected(vectors, code=CODE):
    total = sum(code.encode(vector).astype(object) for vector in vectors)
    return code.decode(total.astype(np.uint64), summands=len(vectors))


def test_the_keys_and_the_decryption_are_those_of_the_definition():
    a = randomness.expander(PUBLIC.seed).uint64((64, 64))
    # P + A S = p R modulo q, R small.
    multiple = (PUBLIC.p.astype(object) + matrix_product(a, PRIVATE.secret)) % 2**64
    inverse = pow(PUBLIC.modulus, -1, 2**64)
    r = np.vectorize(centred, otypes=[object])(multiple * inverse)
    assert np.abs(r).max() <= 21
    secret = np.vectorize(centred, otypes=[object])(PRIVATE.secret.astype(object))
    assert np.abs(secret).max() <= 21
    vector = np.linspace(-1, 1, 8 * PUBLIC.slots.count * 2)
    c1, c2 = PUBLIC.encrypt(vector).arrays
    phase = (matrix_product(c1, secret) + c2.astype(object)) % 2**64
    values = [centred(v) % PUBLIC.modulus for v in phase.reshape(-1)]
    slots = [v >> (24 * slot) & 0xFFFFFF for slot in range(PUBLIC.slots.count) for v in values]
    assert slots == CODE.encode(vector).tolist()


@given(data=st.data())
@settings(max_examples=20)
def test_sums_are_exact_over_random_programs(data):
    length = data.draw(st.sampled_from([0, 1, 7, 8, 9, 40]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    vectors = [rng.uniform(-1, 1, length) for _ in range(data.draw(st.integers(1, 6)))]
    pool = [PUBLIC.encrypt(vector) for vector in vectors]
    while len(pool) > 1:
        taken = data.draw(st.integers(2, len(pool)))
        pool = [*pool[taken:], PUBLIC.add(*pool[:taken])]
    found = PRIVATE.decrypt(PUBLIC.from_bytes(pool[0].to_bytes()))
    assert found.dtype == np.float64
    assert np.array_equal(found, expected(vectors))


@pytest.mark.parametrize(
    ("bits", "summands", "slots"), [(16, 256, 2), (8, 10, 4), (24, 256, 1), (2, 1, 26)]
)
def test_slots_are_derived_and_full_sums_exact(bits, summands, slots):
    code = FixedPoint(2.0, bits, summands)
    public, private = lwe.generate_teaching_keypair(64, encoding=code)
    assert public.slots.count == slots
    assert public.log2_failure(10**6, summands) < -40
    ends = np.where(np.arange(100) % 3, 2.0, -2.0)
    total = public.add(*[public.encrypt(ends) for _ in range(summands)])
    assert np.array_equal(private.decrypt(total), summands * ends)


def test_the_secure_dimension_sums_exactly_with_the_computed_noise():
    """10 % of the variance of 2^13 values is 6 deviations of it; a forgotten term is half of it."""
    public, private = lwe.generate_keypair(encoding=CODE, columns=64)
    assert public.dimension == 2560
    assert public.slots.count == 1
    assert public.log2_failure(10**6, 256) < -40
    vector = np.linspace(-1, 1, 64 * 128)
    ciphertext = public.encrypt(vector)
    assert np.array_equal(private.decrypt(ciphertext), expected([vector]))
    assert ciphertext.nbytes == 128 * (2560 + 64) * 8
    assert private.noise(ciphertext).var() == pytest.approx(10.5 * (2 * 2560 * 10.5 + 1), rel=0.1)


def test_both_parts_of_a_ciphertext_have_an_error_of_their_own(monkeypatch):
    """With e1 known, p e2 and p e3 are what is left. A missing or halved one fails."""
    drawn, error = [], lattice_noise.error
    monkeypatch.setattr(
        lattice_noise, "error", lambda *given: drawn.append(error(*given)) or drawn[-1]
    )
    vector = np.zeros(8 * PUBLIC.slots.count * 512)
    c1, c2 = (part.astype(object) for part in PUBLIC.encrypt(vector).arrays)
    e1 = drawn[0][0].astype(object)
    offset = int(CODE.encode(0.0))
    c2 = c2 - sum(offset << (24 * slot) for slot in range(PUBLIC.slots.count))
    a = randomness.expander(PUBLIC.seed).uint64((64, 64)).astype(object)
    inverse = pow(PUBLIC.modulus, -1, 2**64)
    for part, key in ((c1, a), (c2, PUBLIC.p.astype(object))):
        left = [centred(value) for value in ((part - e1 @ key) * inverse % 2**64).reshape(-1)]
        assert max(map(abs, left)) <= 21
        assert np.var(left) == pytest.approx(10.5, rel=0.12)  # of 4096 and more: 5.5 deviations


def test_an_encoding_without_room_for_the_noise_is_refused():
    with pytest.raises(ValueError, match="leave no room for the noise in 64 bits"):
        lwe.generate_teaching_keypair(64, encoding=FixedPoint(1.0, 48, 4096))


def test_a_key_of_any_shape_is_found():
    """Redrawing a key is rare whatever its shape, so this never hangs."""
    for dimension, columns in [(1, 1), (1, 300), (3, 8)]:
        public, private = lwe.generate_teaching_keypair(
            dimension, encoding=FixedPoint(1.0, 8, 2), columns=columns
        )
        assert private.decrypt(public.encrypt([1.0])) == [1.0]


def test_the_message_modulus_is_odd():
    """With an even p, c1 modulo 2 would be e1 A modulo 2: linear equations without noise."""
    assert PUBLIC.modulus % 2 == 1
    assert math.gcd(PUBLIC.modulus, 2**64) == 1


def test_one_summand_too_many_and_wrong_counts_are_refused():
    total = PUBLIC.add(*[PUBLIC.encrypt([0.5])] * 2, *[PUBLIC.encrypt([0.5]) for _ in range(254)])
    with pytest.raises(ValueError, match="summands must be a whole number between 1 and 256"):
        PUBLIC.add(total, PUBLIC.encrypt([0.5]))
    wide = PUBLIC.add(*[PUBLIC.encrypt(np.zeros(500)) for _ in range(256)])
    with pytest.raises(ValueError, match="what 1 summands explain"):
        PRIVATE.decrypt(dataclasses.replace(wide, summands=1))


def test_a_wrong_key_is_refused_even_where_the_fingerprint_is_forged():
    ciphertext = PUBLIC.encrypt(np.zeros(50))
    with pytest.raises(ValueError, match="another public key"):
        OTHER_PRIVATE.decrypt(ciphertext)
    with pytest.raises(ValueError, match="noise exceeds"):
        OTHER_PRIVATE.decrypt(dataclasses.replace(ciphertext, terms=OTHER.terms))
    with pytest.raises(ValueError, match="another public key"):
        PUBLIC.add(ciphertext, OTHER.encrypt(np.zeros(50)))


def test_what_may_not_be_added_or_read():
    one = PUBLIC.encrypt(np.zeros(10))
    with pytest.raises(ValueError, match="must be of one length"):
        PUBLIC.add(one, PUBLIC.encrypt(np.zeros(11)))
    with pytest.raises(TypeError, match="a ciphertext is wanted"):
        PUBLIC.add(one, None)
    c1, c2 = one.arrays
    for arrays in [(c1,), (c2, c1), (c1[:, :-1].copy(), c2), (c1.astype(np.int64), c2)]:
        with pytest.raises(ValueError, match="must hold"):
            PRIVATE.decrypt(dataclasses.replace(one, arrays=arrays))
    data = bytearray(one.to_bytes())
    data[300] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        PUBLIC.from_bytes(bytes(data))
    with pytest.raises(ValueError, match="damaged"):
        PUBLIC.from_bytes(one.to_bytes()[:-5])


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.1])
def test_values_out_of_bounds_are_refused(value):
    with pytest.raises(ValueError, match="values must lie in"):
        PUBLIC.encrypt([0.0, value])


def test_public_keys_and_arguments_are_checked(monkeypatch):
    with pytest.raises(ValueError, match="seed must be 16 bytes"):
        lwe.PublicKey(CODE, b"short", PUBLIC.p)
    with pytest.raises(ValueError, match="p must be uint64"):
        lwe.PublicKey(CODE, PUBLIC.seed, PUBLIC.p[0])
    with pytest.raises(ValueError, match="dimension must be a whole number"):
        lwe.generate_teaching_keypair(0)
    with pytest.raises(ValueError, match="columns must be a whole number"):
        lwe.generate_teaching_keypair(8, columns=0)
    with pytest.raises(ValueError, match="one dimension"):
        PUBLIC.encrypt([[0.5]])
    assert "secret" not in repr(PRIVATE)
    _ = PUBLIC.slots
    monkeypatch.setattr(lwe, "_most_variance", lambda n, columns: 1e9)
    with pytest.raises(ValueError, match="a vector of 10 values is too long"):
        PUBLIC.encrypt(np.zeros(10))
