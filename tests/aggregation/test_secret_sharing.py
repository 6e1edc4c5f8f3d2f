"""Sums by secret sharing: exact, refused where unprotected, blind to all but the sum."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl import network
from refimpl.aggregation import Group, SecretSharing
from refimpl.arithmetic import field, randomness, ring
from refimpl.network import Fault, MalformedMessage, MissingMessage, NetworkError
from refimpl.smc import additive
from tests.smc.oracles import P, Scripted, assert_uniform_bytes, differences, lagrange

NAMES = tuple(f"p{k}" for k in range(5))
both = pytest.mark.parametrize("aggregation", [SecretSharing(), SecretSharing(3)], ids=str)


def vectors_of(names=NAMES, length=4, seed=0):
    """A vector for each name, in [-3, 3]."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-3, 3, length) for name in names}


def outcome_of(aggregation, vectors, *, at_least=None, replaced=(), rngs=None, **options):
    """The run of one sum; ``replaced`` are roles in place of the honest ones."""
    group = Group("server", tuple(vectors), 7, at_least)
    credentials = {**aggregation.setup([*vectors, "server"]), **(rngs or {})}
    roles = {
        name: partial(
            aggregation.contribute, vector=vector, group=group, credentials=credentials[name]
        )
        for name, vector in vectors.items()
    }
    roles["server"] = partial(aggregation.collect, group=group, credentials=credentials["server"])
    roles.update(replaced)
    return network.run(roles, **options)


def exact_sum(aggregation, vectors, who):
    """What the sum of the encodings stands for, added up in Python integers."""
    code = aggregation.encoding(Group("server", tuple(vectors), 0))
    encoded = [[int(level) for level in code.encode(vectors[name])] for name in who]
    return [
        (sum(column) - len(who) * code.offset) / code.scale for column in zip(*encoded, strict=True)
    ]


# --- the sum -----------------------------------------------------------------------------------


@given(st.integers(3, 7), st.integers(0, 6), st.integers(2, 30), st.data())
def test_it_is_the_exact_sum_of_the_encodings(parties, length, bits, data):
    threshold = data.draw(st.none() | st.integers(2, parties))
    aggregation = SecretSharing(threshold, bound=3.0, bits=bits)
    vectors = vectors_of([f"p{k}" for k in range(parties)], length, seed=bits)
    total, who = outcome_of(aggregation, vectors).results["server"]
    assert (total.dtype, total.shape) == (np.float64, (length,))
    assert (total.tolist(), who) == (exact_sum(aggregation, vectors, vectors), tuple(vectors))
    error = aggregation.encoding(Group("server", tuple(vectors), 0)).rounding_error(parties)
    exact = np.sum([*vectors.values()], axis=0)
    np.testing.assert_allclose(total, exact, rtol=0, atol=error * (1 + 1e-6))


@both
def test_the_largest_values_do_not_wrap_around(aggregation):
    largest = {name: np.array([16.0, -16.0, 16.0], np.float32) for name in NAMES}
    total, _ = outcome_of(aggregation, largest).results["server"]
    assert total.tolist() == [80.0, -80.0, 80.0]


@both
def test_names_out_of_order_and_longer_than_the_block(aggregation):
    vectors = vectors_of(("z", "a", "m", "b"), length=20_000)
    total, who = outcome_of(aggregation, vectors).results["server"]
    assert who == ("a", "b", "m", "z")
    assert total.tolist() == exact_sum(aggregation, vectors, vectors)


def test_parties_may_list_the_group_in_different_orders():
    vectors, aggregation = vectors_of(), SecretSharing(3)
    group = Group("server", NAMES[::-1], 7)
    reverse = {"server": lambda link: aggregation.collect(link, group)}
    reverse["p3"] = lambda link: aggregation.contribute(link, vectors["p3"], group)
    total, who = outcome_of(aggregation, vectors, replaced=reverse).results["server"]
    assert (total.tolist(), who) == (exact_sum(aggregation, vectors, NAMES), NAMES)


@both
def test_a_party_in_several_groups_of_one_round(aggregation):
    """Everybody collects from all others, as in gossip on a complete graph."""
    vectors = vectors_of()
    credentials = aggregation.setup(NAMES)

    async def role(link):
        for collector in NAMES:
            group = Group(collector, tuple(n for n in NAMES if n != collector), 0)
            if collector == link.name:
                result = await aggregation.collect(link, group, credentials[link.name])
            else:
                vector = vectors[link.name]
                await aggregation.contribute(link, vector, group, credentials[link.name])
        return result

    outcome = network.run(dict.fromkeys(NAMES, role))
    for name in NAMES:
        total, who = outcome.results[name]
        others = {other: vectors[other] for other in NAMES if other != name}
        assert (total.tolist(), who) == (exact_sum(aggregation, others, others), tuple(others))
    assert not outcome.unread


def test_each_party_draws_from_a_generator_of_its_own():
    made = SecretSharing().setup(["a", "b"], randomness.seeded(1))
    again = SecretSharing().setup(["a", "b"], randomness.seeded(1))
    assert made["a"].bytes(16) == again["a"].bytes(16) != made["b"].bytes(16)
    assert made["a"].bytes(16) == again["a"].bytes(16)  # whatever b drew in between
    assert made["a"] is not made["b"]
    fresh = SecretSharing().setup(["a"])["a"].bytes(16)
    assert fresh != SecretSharing().setup(["a"])["a"].bytes(16)


def test_what_travels():
    """Additive: n - 1 seeds, then sum_bits a value. Shamir: a field element a value."""
    vectors = vectors_of(length=1000)
    transcript = outcome_of(SecretSharing(bits=16), vectors).transcript
    seeds = transcript.select(topic="seed for server")
    assert [len(message.payload) for message in seeds] == [16] * 20
    for message in transcript.select(topic="partial sum"):
        length, packed = message.payload
        assert (length, packed.nbytes) == (1000, 1000 * 19 // 8)  # 5 (2^16 - 1) < 2^19
    transcript = outcome_of(SecretSharing(3), vectors).transcript
    assert len(transcript.select(topic="share for server")) == 20
    for topic in ("share for server", "partial sum"):
        assert {m.payload.nbytes for m in transcript.select(topic=topic)} == {8000}


# --- privacy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("colluders", combinations(NAMES, 2))
def test_a_shamir_coalition_sees_the_same_for_any_two_inputs_of_one_sum(colluders):
    """Exact. The collector and threshold - 1 contributors see the same messages, bit for bit, if
    two honest vectors change but not their sum, when the two draw r + shift instead of r. All
    draws are equally likely, so the coalition's view has one distribution for both inputs.
    """
    aggregation, vectors = SecretSharing(3, bits=20), vectors_of()
    first, second, *_ = (name for name in NAMES if name not in colluders)
    code = aggregation.encoding(Group("server", NAMES, 0))
    gap = 40_000  # levels that go from one vector to the other
    moved = {
        **vectors,
        first: vectors[first] + gap * code.unit,
        second: vectors[second] - gap * code.unit,
    }
    for name in NAMES:  # the encodings differ by exactly that
        change = code.encode(moved[name]).astype(int) - code.encode(vectors[name]).astype(int)
        assert set(change) == {gap * ((name == first) - (name == second))}
    points = [(0, gap), *((NAMES.index(name) + 1, 0) for name in colluders)]
    shift = differences([lagrange(points, at=x) for x in range(3)])[1:]
    draws = {name: randomness.seeded(0, name).below(P, (2, 4)) for name in NAMES}
    shifted = dict(draws)
    shifted[first] = field.add(draws[first], np.array(shift, np.uint64)[:, None])
    shifted[second] = field.subtract(draws[second], np.array(shift, np.uint64)[:, None])
    views = []
    for inputs, script in ((vectors, draws), (moved, shifted)):
        rngs = {name: Scripted([script[name]]) for name in NAMES}
        transcript = outcome_of(aggregation, inputs, rngs=rngs).transcript
        views.append(
            [
                (*message[:4], np.asarray(message.payload).tolist())
                for message in transcript.view("server", *colluders)
            ]
        )
    assert len(views[0]) == len(views[1]) == 5 * 3 + 8 + 6
    assert views[0] == views[1]


@pytest.mark.parametrize("sign", [0, 1])
def test_an_additive_coalition_sees_uniform_words(sign):
    """The collector and one of three contributors, for honest vectors 0, 0 and 3, -3: what is left
    of a partial sum when the colluder's seeds are taken off. 768 KiB each: catches a bit that is
    set 52% of the time.
    """
    aggregation, length = SecretSharing(bound=3.0, bits=22), 2**18  # 24 bits travel: 3 bytes
    ones = np.ones(length)
    vectors = {"colluder": 0 * ones, "p1": 3.0 * sign * ones, "p2": -3.0 * sign * ones}
    view = outcome_of(aggregation, vectors).transcript.view("server", "colluder")
    seeds = view.select(topic="seed for server")
    for honest in ("p1", "p2"):
        ((_, packed),) = (m.payload for m in view.select(topic="partial sum", sender=honest))
        assert_uniform_bytes(packed.copy(), least_power=0.52)
        (sent,) = (m.payload for m in seeds.select(sender=honest))
        (got,) = (m.payload for m in seeds.select(receiver=honest))
        rest = ring.unpack(packed, 24, length)
        rest = rest + additive.expand(sent, length) - additive.expand(got, length)
        assert_uniform_bytes(ring.pack(ring.reduce(rest, 24), 24), least_power=0.52)


def test_a_view_holds_nothing_else():
    """Who sees which messages, and of what kind they are."""
    vectors = vectors_of()
    additive_run = outcome_of(SecretSharing(), vectors).transcript
    shamir_run = outcome_of(SecretSharing(3), vectors).transcript
    assert {(m.topic, type(m.payload)) for m in additive_run.view("server")} == {
        ("partial sum", tuple)
    }
    assert {(m.topic, type(m.payload)) for m in shamir_run.view("server")} == {
        ("received", list),
        ("in the sum", list),
        ("partial sum", np.ndarray),
    }
    for transcript, topic, count in (
        (additive_run, "seed for server", 9),
        (shamir_run, "share for server", 11),
    ):
        view = transcript.view("p1")
        assert len(view) == count
        assert all("p1" in (m.sender, m.receiver) and m.round == 7 for m in view)
        assert {m.topic for m in view if m.receiver == "p1"} <= {topic, "in the sum"}
    for message in shamir_run.select(topic="received"):
        assert message.payload == list(NAMES)


# --- network faults ----------------------------------------------------------------------------

KINDS = ("drop", "delay", "duplicate", "truncate", "tamper")
LOST = ("drop", "truncate", "tamper")
PHASES = {  # topic: whether the struck party is its receiver, not its sender
    "share for server": False,
    "received": False,
    "in the sum": True,
    "partial sum": False,
}


def strike(kind, topic, parties):
    to = PHASES.get(topic, False)
    return [
        Fault(kind, topic=topic, round=7, **{"receiver" if to else "sender": party})
        for party in parties
    ]


def survivors(kind, topic, struck, needed):
    """Whose sum it must be, None for an error; threshold 3 of five contributors.

    A delayed message is late for those who can go on without it. Where nobody can, it arrives.
    """
    left = len(NAMES) - len(struck)
    if topic == "share for server":
        if kind == "duplicate" or (kind == "delay" and needed == 5):
            return NAMES
        return tuple(n for n in NAMES if n not in struck) if left >= needed else None
    enough = needed if topic == "received" else 3
    return NAMES if left >= enough or kind in ("delay", "duplicate") else None


@pytest.mark.parametrize("at_least", [3, None])
@pytest.mark.parametrize("struck", [("p1",), ("p0", "p3"), ("p1", "p2", "p4")])
@pytest.mark.parametrize("topic", PHASES)
@pytest.mark.parametrize("kind", KINDS)
def test_shamir_under_every_network_fault(kind, topic, struck, at_least):
    aggregation, vectors = SecretSharing(3), vectors_of()
    run = partial(
        outcome_of,
        aggregation,
        vectors,
        at_least=at_least,
        faults=strike(kind, topic, struck),
        required=["server"],
    )
    expected = survivors(kind, topic, struck, at_least or 5)
    if expected is None:
        with pytest.raises(NetworkError, match=r"\d of [45] .* need") as error:
            run()
        assert error.value.parties
        return
    outcome = run()
    total, who = outcome.results["server"]
    assert (total.tolist(), who) == (exact_sum(aggregation, vectors, expected), expected)
    assert all(isinstance(error, NetworkError) for error in outcome.errors.values())
    hit = topic == "in the sum" and kind in LOST
    assert set(outcome.errors) == (set(struck) if hit else set())


@pytest.mark.parametrize("struck", [("p1",), ("p0", "p3")])
@pytest.mark.parametrize("topic", ["seed for server", "partial sum"])
@pytest.mark.parametrize("kind", KINDS)
def test_additive_under_every_network_fault(kind, topic, struck):
    aggregation, vectors = SecretSharing(), vectors_of()
    run = partial(outcome_of, aggregation, vectors, faults=strike(kind, topic, struck))
    if kind not in LOST:
        assert run().results["server"][0].tolist() == exact_sum(aggregation, vectors, NAMES)
        return
    with pytest.raises(NetworkError, match="Missing: 'p") as error:
        run()
    assert set(error.value.parties) <= set(struck)
    with pytest.raises(NetworkError, match=r"'server' received 'partial sum' .* of 5 parties"):
        run(required=["server"])


@pytest.mark.parametrize("kind", LOST)
def test_whoever_is_cut_off_is_missed_by_itself_only(kind):
    """No share reaches p2, but its own reach everybody: its vector is in the sum."""
    vectors = vectors_of()
    fault = Fault(kind, receiver="p2", topic="share for server")
    outcome = outcome_of(SecretSharing(3), vectors, at_least=3, faults=[fault], required=["server"])
    total, who = outcome.results["server"]
    assert (total.tolist(), who) == (exact_sum(SecretSharing(3), vectors, NAMES), NAMES)
    assert set(outcome.errors) == {"p2"}
    assert "from 0 of 4 parties, and needs 2" in str(outcome.errors["p2"])


def test_one_lost_share_leaves_its_sender_out_of_everybodys_sum():
    vectors = vectors_of()
    fault = Fault("drop", sender="p2", receiver="p4", topic="share for server")
    outcome = outcome_of(SecretSharing(3), vectors, at_least=3, faults=[fault])
    total, who = outcome.results["server"]
    assert who == ("p0", "p1", "p3", "p4")
    assert total.tolist() == exact_sum(SecretSharing(3), vectors, who)


def test_shares_of_too_few_name_those_that_did_not_arrive():
    faults = strike("drop", "share for server", ("p1", "p2", "p4"))
    with pytest.raises(MissingMessage, match=r"shares of 2 of 5 .* and 3 are needed") as error:
        outcome_of(SecretSharing(3), vectors_of(), at_least=3, faults=faults, required=["server"])
    assert error.value.parties == ("p1", "p2", "p4")


@pytest.mark.parametrize("gone", [("p1",), ("p1", "p2"), ("p1", "p2", "p3")])
def test_parties_that_never_speak(gone):
    async def silent(link):
        """Sends nothing."""

    vectors, left = vectors_of(), tuple(n for n in NAMES if n not in gone)
    run = partial(outcome_of, vectors=vectors, replaced=dict.fromkeys(gone, silent))
    with pytest.raises(MissingMessage, match="it ended without sending it") as error:
        run(SecretSharing())
    assert error.value.parties == gone
    if len(left) >= 3:
        total, who = run(SecretSharing(3), at_least=3).results["server"]
        assert (total.tolist(), who) == (exact_sum(SecretSharing(3), vectors, left), left)
    else:
        with pytest.raises(MissingMessage, match="from 1 of 4 parties, and needs 2"):
            run(SecretSharing(3), at_least=3)


# --- groups that are refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregation", "group", "message"),
    [
        (SecretSharing(), ("s", ("a", "b"), 0), "must be at least 3, got 2 .*'s'.* denser graph"),
        (SecretSharing(2), ("s", ("a",), 0), "must be at least 3, got 1"),
        (SecretSharing(4), ("s", ("a", "b", "c"), 0), "at most contributors=3 .* got 4"),
        (SecretSharing(4), ("s", NAMES, 0, 3), "at_least must be between 4 and .*=5 .* got 3"),
        (SecretSharing(2), ("s", NAMES, 0, 2), "at_least must be between 3 and .*=5 .* got 2"),
        (SecretSharing(), ("s", NAMES, 0, 4), r"must be None .* SecretSharing\(threshold=4\)"),
        (
            SecretSharing(bits=48),
            ("s", tuple(map(str, range(5000))), 0),
            "sum_bits must be at most",
        ),
    ],
)
def test_unfit_groups_are_refused_before_anything_is_sent(aggregation, group, message):
    unfit = Group(*group)
    with pytest.raises(ValueError, match=message):
        aggregation.check(unfit)
    for role in (aggregation.contribute(None, np.ones(2), unfit), aggregation.collect(None, unfit)):
        with pytest.raises(ValueError, match=message):  # the link, None, is never used
            role.send(None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"threshold": 1},
            "threshold must be .* at least 2, got 1; with 1 every share is the value",
        ),
        ({"threshold": 2.0}, r"threshold must be .* got 2\.0"),
        ({"threshold": True}, "threshold must be .* got True"),
        ({"bound": 0.0}, "bound must be positive and finite"),
        ({"bits": 49}, "bits must be a whole number between 2 and 48, got 49"),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SecretSharing(**arguments)


@both
@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.array([0, np.nan, 1, 1]), "'p1' must be finite, got nan at index 1"),
        (np.array([0, 1, 16.1, 1]), r"must lie in \[-16\.0, 16\.0\], got 16\.1 at index \(2,\)"),
        (np.ones((2, 2)), r"must be a float array of one dimension"),
        ([1.0, 2.0, 3.0, 4.0], "must be a float array"),
    ],
)
def test_a_value_that_cannot_be_shared_is_named_and_nothing_is_sent(aggregation, vector, message):
    vectors = {**vectors_of(), "p1": vector}
    with pytest.raises(ValueError, match=message):
        outcome_of(aggregation, vectors)
    with pytest.raises(MissingMessage):  # that the server waits in vain is all it learns
        outcome_of(aggregation, vectors, required=["server"])


@pytest.mark.parametrize("aggregation", [SecretSharing(), SecretSharing(3)])
def test_vectors_of_different_lengths_are_an_error(aggregation):
    vectors = {**vectors_of(), "p1": np.ones(3)}
    with pytest.raises(MalformedMessage, match=r"of one length|shape \(4,\)"):
        outcome_of(aggregation, vectors)
