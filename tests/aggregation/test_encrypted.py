"""Encrypted sums: exact, under every network fault or a named error, refused where unprotected."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import network
from refimpl.aggregation import (
    Group,
    Lattice,
    Paillier,
    ThresholdLattice,
    ThresholdPaillier,
    encrypted,
    roles,
)
from refimpl.arithmetic import randomness
from refimpl.he.ciphertext import parse
from refimpl.network import Fault, MalformedMessage, MissingMessage, NetworkError
from tests.aggregation.encrypted import (
    NAMES,
    PRIMES,
    QUORUM,
    ROUND,
    SCHEMES,
    SINGLE,
    credentials_of,
    exact_sum,
    outcome_of,
    vectors_of,
)

every = pytest.mark.parametrize("scheme", SCHEMES)
robust = pytest.mark.parametrize("scheme", [*SINGLE, "ThresholdPaillier"])


# --- the sum -----------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("length", [1, 4, 700])
def test_it_is_the_exact_sum_of_the_encodings(scheme, length):
    vectors = vectors_of(length=length)
    outcome = outcome_of(scheme, vectors)
    total, who = outcome.results["server"]
    assert (total.dtype, total.shape) == (np.float64, (length,))
    assert (total.tolist(), who) == (exact_sum(scheme, vectors, NAMES), NAMES)
    error = SCHEMES[scheme].encoding(Group("server", NAMES, 0)).rounding_error(5)
    exact = np.sum([*vectors.values()], axis=0)
    np.testing.assert_allclose(total, exact, rtol=0, atol=error * (1 + 1e-6))
    assert not outcome.unread


@settings(max_examples=15)
@given(st.integers(3, 7), st.integers(0, 6), st.integers(2, 30), st.booleans())
def test_lattices_are_exact_for_other_groups_and_encodings(parties, length, bits, shared):
    """Against the sum of Python integers."""
    made = {"bound": 3.0, "bits": bits}
    aggregation = ThresholdLattice(**made, length=50) if shared else Lattice(**made)
    vectors = vectors_of([f"p{k}" for k in range(parties)], length, seed=bits)
    total, who = network.run(roles(aggregation, vectors)).results["server"]
    code = aggregation.encoding(Group("server", tuple(vectors), 0))
    levels = [[int(level) for level in code.encode(vector)] for vector in vectors.values()]
    expected = [(sum(c) - parties * code.offset) / code.scale for c in zip(*levels, strict=True)]
    assert (total.tolist(), who) == (expected, tuple(vectors))


@every
def test_the_largest_values_do_not_wrap_around(scheme):
    largest = {name: np.array([16.0, -16.0, 16.0], np.float32) for name in NAMES}
    total, _ = outcome_of(scheme, largest).results["server"]
    assert total.tolist() == [80.0, -80.0, 80.0]


@every
def test_names_out_of_order(scheme):
    vectors = vectors_of(("z", "a", "m", "b"))
    total, who = outcome_of(scheme, vectors).results["server"]
    assert (total.tolist(), who) == (exact_sum(scheme, vectors, vectors), ("a", "b", "m", "z"))


@every
def test_parties_may_list_the_group_in_different_orders(scheme):
    vectors, aggregation, credentials = vectors_of(), SCHEMES[scheme], credentials_of(scheme)
    group = Group("server", NAMES[::-1], ROUND)
    reverse = {"server": lambda link: aggregation.collect(link, group, credentials["server"])}
    reverse["p3"] = lambda link: aggregation.contribute(
        link, vectors["p3"], group, credentials["p3"]
    )
    outcome = outcome_of(scheme, vectors, replaced=reverse, credentials=credentials)
    total, who = outcome.results["server"]
    assert (total.tolist(), who) == (exact_sum(scheme, vectors, NAMES), NAMES)


@pytest.mark.parametrize("scheme", ["ThresholdPaillier", "ThresholdLattice"])
def test_a_party_in_several_groups_of_two_rounds(scheme):
    """Everybody collects from all others, twice, as in gossip on a complete graph."""
    vectors, aggregation = vectors_of(), SCHEMES[scheme]
    credentials = aggregation.setup(NAMES, randomness.seeded(1))

    async def role(link):
        found = []
        for round in range(2):
            for collector in NAMES:
                group = Group(collector, tuple(n for n in NAMES if n != collector), round)
                knows = (group, credentials[link.name])
                if collector == link.name:
                    found.append(await aggregation.collect(link, *knows))
                else:
                    await aggregation.contribute(link, vectors[link.name], *knows)
        return found

    outcome = network.run(dict.fromkeys(NAMES, role))
    for name in NAMES:
        others = {other: vectors[other] for other in NAMES if other != name}
        for total, who in outcome.results[name]:
            assert (total.tolist(), who) == (exact_sum(scheme, others, others), tuple(others))
    assert not outcome.unread


def test_a_group_makes_its_lattice_key_once():
    credentials = credentials_of("ThresholdLattice")
    first, second = (
        outcome_of("ThresholdLattice", vectors_of(), credentials=credentials).transcript
        for _ in range(2)
    )
    assert len(first.select(topic="public key share")) == len(first.select(topic="public key")) == 5
    assert len(first) == 25
    assert {message.topic for message in second} == {"ciphertext", "encrypted sum", "decryption"}


@every
@pytest.mark.parametrize("round", [0, 3, 9])
def test_who_decrypts_rotates_and_the_others_are_let_go(scheme, round):
    who = encrypted.in_turn(Group("server", NAMES, round, 3), NAMES[1:])
    assert who == [NAMES[1:][(round + k) % 4] for k in range(4)] + ["p0"]
    transcript = outcome_of(scheme, vectors_of()).transcript
    quorum = QUORUM[scheme]
    asked = {NAMES[(ROUND + k) % 5] for k in range(quorum)}
    assert {m.sender for m in transcript.select(topic="decryption")} == asked
    for message in transcript.select(topic="encrypted sum"):
        assert (message.payload == b"") == (message.receiver not in asked)


# --- what travels, and who can read it ---------------------------------------------------------


@every
def test_ciphertexts_travel_as_bytes_of_a_known_size(scheme):
    """Paillier: rows of 512 bytes, each with 2047 // (16 + 3) = 107 values. Lattice: two values a
    coefficient of 8 bytes, in one polynomial and a seed, or in two polynomials. Threshold: a value
    a coefficient of q's bits, two polynomials in a ciphertext, one in a part."""
    transcript = outcome_of(scheme, vectors_of(length=1000)).transcript
    threshold = SCHEMES["ThresholdLattice"]._parameters(Group("s", NAMES, 0), bytes(16))
    bits = threshold.modulus_bits
    size, part = {
        "Paillier": (10 * 512, 8000),
        "Lattice": (4096 * 8 + 16, 8000),
        "Lattice, public form": (2 * 4096 * 8, 8000),
        "ThresholdPaillier": (10 * 512, 10 * 512),
        "ThresholdLattice": (2 * 4096 * bits // 8, 4096 * bits // 8),
    }[scheme]
    for message in transcript.select(topic="ciphertext"):
        assert type(message.payload) is bytes
        assert size < len(message.payload) < size + 200
    for message in transcript.select(topic="decryption"):
        payload = message.payload
        assert part <= (payload.nbytes if scheme in SINGLE else len(payload)) < part + 200


@every
def test_equal_vectors_never_make_equal_ciphertexts(scheme):
    """Of two parties, and of one party twice, though the generators were seeded."""
    vectors = dict.fromkeys(NAMES, np.ones(3))
    credentials = credentials_of(scheme)
    seen = [
        message.payload
        for _ in range(2)
        for message in outcome_of(scheme, vectors, credentials=credentials).transcript
        if message.topic == "ciphertext"
    ]
    numbers = [array.tobytes() for data in seen for array in parse(data).arrays]
    assert len(set(numbers)) == len(numbers) >= 10


@every
def test_a_view_shows_the_same_kinds_and_sizes_whatever_the_vectors(scheme):
    views = [
        [(*m[:4], m.bytes) for m in outcome_of(scheme, vectors).transcript.view("server", "p0")]
        for vectors in (vectors_of(), dict.fromkeys(NAMES, np.zeros(4)))
    ]
    assert views[0] == views[1]


@pytest.mark.parametrize("scheme", SINGLE)
def test_under_one_key_the_server_reads_with_any_participant_and_not_alone(scheme):
    credentials, vectors = credentials_of(scheme), vectors_of()
    assert credentials["server"].secret is None
    view = outcome_of(scheme, vectors).transcript.view("server")
    for helper in NAMES:
        private = credentials[helper].secret
        for message in view.select(topic="ciphertext"):
            code = private.public.encoding
            mine = private.decrypt(private.public.from_bytes(message.payload))
            expected = code.decode(code.encode(vectors[message.sender]), summands=1)
            assert mine.tolist() == expected.tolist()


@pytest.mark.parametrize("count", range(1, 6))
def test_shares_of_a_paillier_key_read_a_contribution_from_the_threshold_on(count):
    credentials = credentials_of("ThresholdPaillier")
    assert credentials["server"].secret is None
    vectors = vectors_of()
    view = outcome_of("ThresholdPaillier", vectors).transcript.view("server")
    (message,) = view.select(topic="ciphertext", sender="p4")
    public = credentials["server"].public
    ciphertext = public.from_bytes(message.payload)
    parts = [credentials[name].secret.partial_decrypt(ciphertext) for name in NAMES[:count]]
    if count < 3:
        with pytest.raises(ValueError, match="at least threshold=3 partial decryptions"):
            public.combine(parts)
    else:
        np.testing.assert_allclose(public.combine(parts), vectors["p4"], atol=16 / 32767 / 2)


def test_a_lattice_collector_and_all_contributors_but_one_cannot_decrypt():
    """With the parts of four of five, and with a made-up fifth: an error, or noise refused."""
    credentials, vectors = credentials_of("ThresholdLattice"), vectors_of()
    view = outcome_of("ThresholdLattice", vectors, credentials=credentials).transcript
    (message,) = view.view("server").select(topic="ciphertext", sender="p4")
    place = ("server", NAMES)
    public, own = credentials["server"].of_group[place]
    assert own is None
    ciphertext = public.from_bytes(message.payload)
    parts = [
        credentials[name].of_group[place][1].partial_decrypt(public, ciphertext)
        for name in NAMES[:4]
    ]
    with pytest.raises(ValueError, match="at least threshold=5"):
        public.combine(parts)
    stranger = SCHEMES["ThresholdLattice"].setup((*NAMES, "server"), randomness.seeded(9))
    outcome_of("ThresholdLattice", vectors, credentials=stranger)
    guess = stranger["p4"].of_group[place]
    other = guess[1].partial_decrypt(guess[0], guess[0].encrypt(np.zeros(4)))
    with pytest.raises(ValueError, match="noise exceeds"):
        public.combine([*parts, type(parts[0])(parts[0].terms, 5, *_rest(parts[0], other))])


def _rest(like, other):
    return like.of, like.length, like.summands, other.arrays


def test_each_party_draws_from_a_generator_of_its_own():
    for scheme in SCHEMES.values():
        made = scheme.setup([*NAMES, "server"], randomness.seeded(1))
        again = scheme.setup([*NAMES, "server"], randomness.seeded(1))
        drawn = {name: made[name].rng.bytes(16) for name in made}
        assert len({*drawn.values()}) == 6
        for name in reversed(again):  # whatever the others drew in between
            assert again[name].rng.bytes(16) == drawn[name]
    fresh = (Lattice().setup([*NAMES, "server"])["p0"] for _ in range(2))
    assert len({made.public.terms.key for made in fresh}) == 2


def test_secrets_are_not_printed():
    for scheme, aggregation in SCHEMES.items():
        text = repr(aggregation) + repr(credentials_of(scheme)["p0"])
        assert str(PRIMES[0]) not in text
        assert "secret" not in text
        assert "rng" not in text


# --- network faults ----------------------------------------------------------------------------

KINDS = ("drop", "delay", "duplicate", "truncate", "tamper")
LOST = ("drop", "truncate", "tamper")
TO_CONTRIBUTOR = ("public key", "encrypted sum")


def strike(kind, topic, parties):
    side = "receiver" if topic in TO_CONTRIBUTOR else "sender"
    return [Fault(kind, topic=topic, round=ROUND, **{side: party}) for party in parties]


def expected(scheme, kind, topic, struck, at_least):
    """Whose sum it must be, or None for an error: worked out from the protocol's text."""
    quorum, left = QUORUM[scheme], len(NAMES) - len(struck)
    if kind == "duplicate" or (kind == "delay" and at_least is None):
        return NAMES
    if topic == "ciphertext":
        if at_least is not None and left >= at_least:
            return tuple(name for name in NAMES if name not in struck)
        return NAMES if kind == "delay" else None
    if at_least is None:
        asked = {NAMES[(ROUND + k) % 5] for k in range(quorum)}
        return None if asked & set(struck) else NAMES
    return NAMES if left >= quorum else None


def check_fault(scheme, kind, topic, struck, at_least):
    vectors = vectors_of()
    options = {"at_least": at_least, "required": ["server"], "credentials": credentials_of(scheme)}
    run = partial(outcome_of, scheme, vectors, faults=strike(kind, topic, struck), **options)
    who = expected(scheme, kind, topic, struck, at_least)
    if who is None:
        with pytest.raises(NetworkError) as error:
            run()
        assert error.value.parties
        assert set(error.value.parties) <= set(struck)
        return
    outcome = run()
    total, found = outcome.results["server"]
    assert (total.tolist(), found) == (exact_sum(scheme, vectors, who), who)
    lost = topic == "encrypted sum" and kind in LOST
    assert set(outcome.errors) == (set(struck) if lost else set())
    assert all(error.parties == ("server",) for error in outcome.errors.values())


@pytest.mark.parametrize("at_least", [3, None])
@pytest.mark.parametrize("struck", [("p1",), ("p0", "p3"), ("p2", "p3", "p4")])
@pytest.mark.parametrize("topic", ["ciphertext", "encrypted sum", "decryption"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["Lattice", "ThresholdPaillier"])
def test_every_network_fault_ends_in_the_exact_sum_or_a_named_error(
    scheme, kind, topic, struck, at_least
):
    if topic == "decryption":  # whom nobody asks sends nothing that could be struck
        asked = [NAMES[(ROUND + k) % 5] for k in range(QUORUM[scheme])]
        struck = tuple(name for name in struck if name in asked)
        if not struck:
            return
    check_fault(scheme, kind, topic, struck, at_least)


@pytest.mark.parametrize("struck", [("p1",), ("p0", "p3"), NAMES])
@pytest.mark.parametrize(
    "topic", ["public key share", "public key", "ciphertext", "encrypted sum", "decryption"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_lattice_key_of_all_needs_all(kind, topic, struck):
    vectors = vectors_of()
    run = partial(outcome_of, "ThresholdLattice", vectors, faults=strike(kind, topic, struck))
    if kind not in LOST:
        total, who = run().results["server"]
        assert (total.tolist(), who) == (exact_sum("ThresholdLattice", vectors, NAMES), NAMES)
        return
    with pytest.raises(NetworkError) as error:
        run(required=["server"])
    assert error.value.parties == struck
    with pytest.raises(NetworkError):
        run()


@robust
def test_a_decryption_that_does_not_come_is_asked_of_another(scheme):
    """All but the quorum fail, one after the other; those in the sum are asked before the rest."""
    vectors, quorum = vectors_of(), QUORUM[scheme]
    order = encrypted.in_turn(Group("server", NAMES, ROUND, 3), NAMES)
    gone = order[: 5 - quorum]
    faults = [Fault("drop", sender=name, topic="decryption") for name in gone]
    outcome = outcome_of(scheme, vectors, at_least=3, faults=faults)
    total, who = outcome.results["server"]
    assert (total.tolist(), who) == (exact_sum(scheme, vectors, NAMES), NAMES)
    faults = [Fault("drop", receiver=name, topic="encrypted sum") for name in order[: 6 - quorum]]
    with pytest.raises(MissingMessage, match=rf"decryptions by {quorum - 1} of 5 .* {quorum} are"):
        outcome_of(scheme, vectors, at_least=3, faults=faults, required=["server"])


@robust
@pytest.mark.parametrize("gone", [("p1",), ("p1", "p2"), ("p1", "p2", "p3")])
def test_parties_that_never_speak(scheme, gone):
    async def silent(link):
        """Sends nothing."""

    vectors, left = vectors_of(), tuple(n for n in NAMES if n not in gone)
    run = partial(outcome_of, scheme, vectors, replaced=dict.fromkeys(gone, silent))
    with pytest.raises(MissingMessage, match="it ended without sending it") as error:
        run()
    assert error.value.parties == gone
    if len(left) >= 3:
        total, who = run(at_least=3).results["server"]
        assert (total.tolist(), who) == (exact_sum(scheme, vectors, left), left)
    else:
        with pytest.raises(MissingMessage, match="from 2 of 5 parties, and needs 3"):
            run(at_least=3)


# --- refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregation", "group", "message"),
    [
        (Lattice(), ("server", ("a", "b"), 0), "must be at least 3, got 2"),
        (Paillier(), ("a", NAMES, 0), "collector is 'a': a collector that held the private key"),
        (Lattice(server="s"), ("server", NAMES, 0), "must have the server 's' as its collector"),
        (ThresholdPaillier(4), ("s", ("a", "b", "c"), 0), "at most contributors=3 .* got 4"),
        (ThresholdPaillier(4), ("s", NAMES, 0, 3), "at_least must be between 4 and .*=5 .* got 3"),
        (ThresholdLattice(), ("s", NAMES, 0, 4), r"None, got 4.*ThresholdPaillier\(threshold=4\)"),
        (ThresholdLattice(), ("s", ("a", "b"), 0), "must be at least 3, got 2"),
        (
            ThresholdLattice(bits=40),
            ("s", NAMES, 0),
            "the modulus would need .* bits, more than 106",
        ),
    ],
)
def test_unfit_groups_are_refused_before_anything_is_sent(aggregation, group, message):
    unfit = Group(*group)
    with pytest.raises(ValueError, match=message):
        aggregation.check(unfit)
    for role in (
        aggregation.contribute(None, np.ones(2), unfit, None),
        aggregation.collect(None, unfit, None),
    ):
        with pytest.raises(ValueError, match=message):  # the link, None, is never used
            role.send(None)


@pytest.mark.parametrize("aggregation", [Paillier(), Lattice()])
def test_one_key_has_no_place_where_all_collect(aggregation):
    with pytest.raises(ValueError, match=r"there is none among the parties.*ThresholdLattice"):
        aggregation.setup(NAMES)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(ThresholdPaillier, 1), "threshold must be .* 2, got 1; with 1 every share is"),
        (partial(ThresholdPaillier, 2.0), r"threshold must be .* got 2\.0"),
        (partial(Lattice, bound=0.0), "bound must be positive and finite"),
        (partial(Paillier, bits=49), "bits must be a whole number between 2 and 48, got 49"),
        (partial(ThresholdLattice, length=0), "length must be .* at least 1, got 0"),
        (partial(ThresholdLattice, bits=1), "bits must be"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_short_key_or_one_without_room_is_refused_by_the_key_holder():
    with pytest.raises(ValueError, match=r"bits must be .* 2048"):
        Paillier(key_bits=1024).setup([*NAMES, "server"])
    with pytest.raises(ValueError, match=r"bits must be .* 2048"):
        ThresholdPaillier(3, key_bits=1024).setup(NAMES)
    with pytest.raises(ValueError, match="leave no room for the noise"):
        Lattice(bits=48).setup([*map(str, range(1000)), "server"])


@every
@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.array([0, np.nan, 1, 1]), "'p1' must be finite, got nan at index 1"),
        (np.array([0, 1, 16.1, 1]), r"must lie in \[-16\.0, 16\.0\], got 16\.1 at index \(2,\)"),
        (np.ones((2, 2)), r"must be a float array of one dimension"),
        ([1.0, 2.0, 3.0, 4.0], "must be a float array"),
    ],
)
def test_a_value_that_cannot_be_encrypted_is_named_and_nothing_is_sent(scheme, vector, message):
    vectors = {**vectors_of(), "p1": vector}
    credentials = credentials_of(scheme)
    with pytest.raises(ValueError, match=message):
        outcome_of(scheme, vectors, credentials=credentials)
    with pytest.raises(MissingMessage):  # that the server waits in vain is all it learns
        outcome_of(scheme, vectors, required=["server"])


def test_a_vector_longer_than_the_noise_was_made_for_is_refused():
    vectors = vectors_of(length=1001)
    with pytest.raises(ValueError, match=r"length of the vector .* 1000, got 1001; raise length"):
        outcome_of("ThresholdLattice", vectors)


@every
def test_vectors_of_different_lengths_are_an_error(scheme):
    vectors = {**vectors_of(), "p1": np.ones(3)}
    with pytest.raises(MalformedMessage, match=r"of one length, got \[3, 4\]") as error:
        outcome_of(scheme, vectors)
    assert error.value.parties == NAMES
