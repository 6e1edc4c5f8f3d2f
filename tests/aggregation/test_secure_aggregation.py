"""Exact sums, parameters, bytes, fresh and bound keys. Faults, lies, privacy: own modules."""

import re
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import network
from refimpl.aggregation import Group, SecAggPlus, SecureAggregation
from refimpl.aggregation import secure_aggregation_client as client
from refimpl.aggregation.secure_aggregation_client import Participant
from refimpl.aggregation.secure_aggregation_server import Collector
from refimpl.aggregation.secure_aggregation_terms import Terms
from refimpl.arithmetic import randomness
from refimpl.network import MalformedMessage, NetworkError, codec
from refimpl.smc import masks
from tests.aggregation.secure import VERSIONS, is_exact, names, summed, topics, vectors

every_version = pytest.mark.parametrize("aggregation", VERSIONS.values(), ids=VERSIONS)
EVERYBODY = [SecureAggregation(), SecureAggregation(adversary="active"), SecAggPlus(dropout=0.1)]


@settings(max_examples=30)
@given(
    count=st.integers(3, 8),
    length=st.integers(0, 20),
    bound=st.sampled_from([1.0, 0.25, 100.0]),
    bits=st.integers(4, 24),
    active=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_sum_is_that_of_the_encodings(count, length, bound, bits, active, seed):
    adversary = "active" if active else "honest-but-curious"
    aggregation = SecureAggregation(adversary=adversary, bound=bound, bits=bits)
    inputs = bound * vectors(count, length, seed).astype(np.float64)
    total, who, _ = summed(aggregation, inputs)
    assert who == names(count)
    assert is_exact(total, inputs, who, bound=bound, bits=bits) or length == 0
    assert total.shape == (length,)


@pytest.mark.parametrize(("count", "degree"), [(6, 2), (9, 4), (20, 6), (7, 6), (5, 8)])
def test_the_sum_over_a_graph_is_the_same(count, degree):
    """And everybody shares secrets with its neighbours alone."""
    aggregation = SecAggPlus(neighbours=degree, threshold=2)
    inputs = vectors(count)
    total, who, outcome = summed(aggregation, inputs)
    assert is_exact(total, inputs, names(count)) and who == names(count)
    for message in outcome.transcript.select(topic="shares"):
        assert len(message.payload) == min(degree, count - 1)
    assert aggregation.plan(count).complete == (degree >= count - 1)


def test_the_theorem_sets_the_graph_and_small_groups_are_complete():
    assert SecAggPlus(corrupt=0.4, dropout=0.4).plan(10).complete
    plan = SecAggPlus().plan(1000)
    assert not plan.complete and 2 < plan.threshold < plan.neighbours < 100
    assert plan.enough == 950
    inputs = vectors(10)
    total, who, outcome = summed(SecAggPlus(corrupt=0.4, dropout=0.4), inputs)
    assert is_exact(total, inputs, who)
    assert {len(m.payload) for m in outcome.transcript.select(topic="shares")} == {9}


@every_version
def test_contributors_talk_to_the_collector_alone(aggregation):
    _, _, outcome = summed(aggregation, vectors(6))
    assert all("server" in message[:2] for message in outcome.transcript)
    seen = dict.fromkeys(message.topic for message in outcome.transcript)
    assert list(seen) == topics(aggregation)
    assert not outcome.unread and not outcome.errors


@every_version
def test_a_seed_given_to_setup_decides_every_byte(aggregation):
    def payloads(seed):
        outcome = summed(aggregation, vectors(6), rng=randomness.seeded(seed))[2]
        return [codec.encode(message.payload).join() for message in outcome.transcript]

    first, again, other = payloads(1), payloads(1), payloads(2)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True) if len(a) > 50)


@every_version
def test_keys_and_masks_are_fresh_in_every_sum(aggregation):
    """Of the same round or not: unmasking has revealed them. A reused one shows as a repeat."""
    credentials = aggregation.setup([*names(6), "server"])
    adverts, masked, inputs = [], [], vectors(6, 40)
    for round in (0, 0, 1):
        group = Group("server", names(6), round)
        roles = {
            name: partial(
                aggregation.contribute,
                vector=vector,
                group=group,
                credentials=credentials[name],
            )
            for name, vector in zip(names(6), inputs, strict=True)
        }
        roles["server"] = partial(
            aggregation.collect, group=group, credentials=credentials["server"]
        )
        transcript = network.run(roles).transcript
        for message in transcript.select(topic="keys"):
            adverts += [message.payload[:32], message.payload[32:64]]
        masked += [m.payload[1].tobytes() for m in transcript.select(topic="masked vector")]
    assert len(set(adverts)) == len(adverts) == 3 * 6 * 2
    assert len(set(masked)) == len(masked)


def test_reused_keys_would_be_noticed(monkeypatch):
    """Planted: whoever takes part again has the keys and the self-mask of the last time."""
    first, right = {}, Participant.__init__

    def same(self, name, *rest):
        right(self, name, *rest)
        kept = first.setdefault(name, self)
        self.seed, self.mask_keys, self.channel_keys = kept.seed, kept.mask_keys, kept.channel_keys

    monkeypatch.setattr(Participant, "__init__", same)
    with pytest.raises(AssertionError, match="len"):
        test_keys_and_masks_are_fresh_in_every_sum(SecureAggregation())


@pytest.mark.parametrize(
    ("change", "purpose", "ends"),
    [
        ({"round": 1}, "channel", "must send a share sealed for its reader"),
        ({"session": "another"}, "channel", "must send a share sealed for its reader"),
        ({"collector": "p0001"}, "channel", "must send a share sealed for its reader"),
        ({"round": 1}, "mask", None),
        ({"session": "another"}, "mask", None),
        ({"collector": "p0001"}, "mask", None),
        ("names", "channel", "must send a share sealed for its reader"),
        ("names", "mask", None),
        ("purpose", "channel", "a channel key must be 32 bytes|must send a share sealed"),
        ("purpose", "mask", "seed must be 16 bytes"),
    ],
)
def test_keys_are_bound_to_round_names_purpose_and_sum(monkeypatch, change, purpose, ends):
    """If one party derives a key of another binding, channels do not open, masks do not cancel."""
    right = Terms.key

    def wrong(self, own, peer_public, of, wanted):
        if of[0] == "p0000" and wanted == purpose:
            if change == "names":
                of = ("p0009", of[1])
            elif change == "purpose":
                wanted = "mask" if purpose == "channel" else "channel"
            else:
                return right(replace(self, **change), own, peer_public, of, wanted)
        return right(self, own, peer_public, of, wanted)

    monkeypatch.setattr(Terms, "key", wrong)
    inputs = vectors(4, 3)
    if ends is None:
        try:
            total, who, _ = summed(SecureAggregation(), inputs)
        except MalformedMessage as error:
            assert "is out of range" in str(error)
        else:
            assert not is_exact(total, inputs, who)
    else:
        with pytest.raises((NetworkError, ValueError), match=ends):
            summed(SecureAggregation(), inputs, required=None)


def test_the_expansion_counts_keys_and_shares_as_the_paper_does():
    """2n keys and 5n - 4 shares a contributor, 256 bits each: 1.73431 at n = 2^10, m = 2^20."""

    def elements(count):
        _, _, outcome = summed(SecureAggregation(), vectors(count))
        mine = outcome.transcript.view("p0001")
        keys = 2 + 2 * len(mine.select(topic="roster").messages[0].payload[1])
        shares = 2 * sum(len(m.payload) for m in mine.select(topic="shares"))
        shares += 2 * sum(len(m.payload[1]) for m in mine.select(topic="relayed shares"))
        (answer,) = mine.select(topic="unmasking shares")
        assert len(answer.payload[1]) == 0  # nobody dropped out
        return keys, shares + len(answer.payload[0]) * 8 // (3 * 61)

    assert [elements(count) for count in (3, 6, 11)] == [(6, 11), (12, 26), (22, 51)]  # 2n, 5n-4
    n, m = 2**10, 2**20
    bits = SecureAggregation().encoding(Group("server", names(n), 0)).sum_bits
    assert round((256 * (2 * n + 5 * n - 4) + m * bits) / (16 * m), 5) == 1.73431


def test_the_measured_expansion_is_that_of_the_paper():
    """All bytes of one contributor among 2^10, its vector of 2^20 values put in for a short one."""
    n, m, length = 2**10, 2**20, 64
    transcript = one_among(n, length)
    assert len(transcript) == 7
    bits = 26
    total = transcript.bytes - length * bits // 8 + m * bits // 8
    assert total / (2 * m) <= 1.75
    assert total / (2 * m) > 1.73431  # authentication tags and frames are not in the formula


def test_one_contributor_alone_sees_what_it_sees_among_real_others():
    """The short cut of the test above, at a size at which all of them can play."""
    _, _, outcome = summed(SecureAggregation(), np.zeros((12, 64)))
    real, alone = outcome.transcript.view("p0006"), one_among(12, 64)
    assert [(*m[:4], m.bytes) for m in real] == [(*m[:4], m.bytes) for m in alone]


def one_among(count, length):
    """The transcript of one contributor; the collector plays all the others by the book."""
    aggregation, group = SecureAggregation(), Group("server", names(count), 0)
    me = names(count)[count // 2]
    credentials = aggregation.setup([me, "server"])
    terms = aggregation._terms(group, credentials["server"])
    state = Collector(terms, aggregation._graph(terms, credentials["server"]))
    others = {
        name: Participant(name, terms, credentials["server"]) for name in names(count) if name != me
    }

    async def everybody_else(link):
        keys = {name: other.advertise() for name, other in others.items()}
        keys[me] = await link.receive(me, "keys")
        rosters = state.rosters(keys)
        await link.send(me, "roster", rosters[me])
        shares = {me: await link.receive(me, "shares")}
        mine = terms.contributors.index(me)
        for name, other in others.items():  # each has a share for this one reader
            rows = np.zeros((count - 1, 77), np.uint8)
            key = terms.key(other.channel_keys, keys[me][:32], (name, me), "channel")
            other.public, other.channels = {}, {mine: key}
            sealed = client.key_agreement.seal(key, bytes(61), other._reader(mine))
            rows[mine - (mine > other.me)] = np.frombuffer(sealed, np.uint8)
            shares[name] = rows
        await link.send(me, "relayed shares", state.relay(shares)[me])
        await link.receive(me, "masked vector")
        state.lengths = dict.fromkeys(range(count), length)
        await link.send(me, "survivors", state.announce()[me])
        await link.receive(me, "unmasking shares")

    roles = {
        me: partial(
            aggregation.contribute,
            vector=np.zeros(length),
            group=group,
            credentials=credentials[me],
        ),
        "server": everybody_else,
    }
    return network.run(roles).transcript


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(SecureAggregation, threshold=1), "threshold must be a whole number of at least 2"),
        (partial(SecureAggregation, threshold=2.5), "threshold must be a whole number .* got 2.5"),
        (partial(SecureAggregation, colluders=-1), "colluders must be a whole number .* got -1"),
        (partial(SecureAggregation, adversary="evil"), "adversary must be one of .*'evil'"),
        (partial(SecureAggregation, bound=-1), "bound must be positive and finite"),
        (partial(SecureAggregation, bits=1), "bits must be a whole number between 2 and"),
        (partial(SecAggPlus, neighbours=4), "neighbours and threshold must be given together"),
        (partial(SecAggPlus, neighbours=4, threshold=5), "threshold must be .* between 2 and 4"),
        (partial(SecAggPlus, neighbours=1, threshold=2), "neighbours must be .* at least 2"),
        (partial(SecAggPlus, dropout=1.0), r"dropout must be a fraction between .* got 1\.0"),
        (partial(SecAggPlus, corrupt=-0.1), r"corrupt must be a fraction between .* got -0\.1"),
    ],
)
def test_parameters_that_nothing_fits_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("aggregation", "count", "message"),
    [
        (SecureAggregation(), 2, "contributors of a protected sum must be at least 3, got 2"),
        (SecAggPlus(), 2, "contributors of a protected sum must be at least 3, got 2"),
        (SecureAggregation(threshold=6), 5, "threshold must be between 2 and contributors=5"),
        (
            SecureAggregation(threshold=3, colluders=3),
            5,
            "threshold > colluders must hold, got threshold=3, colluders=3: .* at least 4",
        ),
        (
            SecureAggregation(threshold=3, colluders=1, adversary="active"),
            5,
            r"2 \* threshold > contributors=5 \+ colluders must hold, got threshold=3, "
            "colluders=1: .* at least 4",
        ),
        (
            SecureAggregation(threshold=2, adversary="active"),
            4,
            r"got threshold=2, colluders=0: raise the threshold to at least 3",
        ),
        (SecureAggregation(bits=31), 5, "bits of the sum must be .* between 2 and 32, got 34"),
        (SecAggPlus(neighbours=5, threshold=2), 9, "neighbours must be even"),
        (SecAggPlus(corrupt=0.9, dropout=0.05), 10, "at least two honest clients must stay"),
    ],
)
def test_unfit_parameters_are_refused_before_anything_is_sent(aggregation, count, message):
    group = Group("server", names(count), 0)
    with pytest.raises(ValueError, match=message):
        aggregation.check(group)
    made = aggregation.setup(["p0000", "server"])
    link = mock.Mock(spec=[])  # it has no send
    with pytest.raises(ValueError, match=message):
        aggregation.contribute(link, np.zeros(3), group, made["p0000"]).send(None)
    with pytest.raises(ValueError, match=message):
        aggregation.collect(link, group, made["server"]).send(None)


def test_the_bounds_on_colluders_are_the_papers():
    """One colluder more than the threshold withstands is refused, and only that."""
    for n in range(3, 12):
        for t in range(2, n + 1):
            for c in range(n):
                for adversary, fits in (
                    ("honest-but-curious", t > c),
                    ("active", 2 * t > n + c),
                ):
                    aggregation = SecureAggregation(threshold=t, colluders=c, adversary=adversary)
                    if fits:
                        assert aggregation.plan(n).threshold == t
                    else:
                        with pytest.raises(ValueError, match="must hold") as caught:
                            aggregation.plan(n)
                        least = int(re.search(r"at least (\d+)$", str(caught.value))[1])
                        assert least > t
                        if least <= n:
                            replace(aggregation, threshold=least).plan(n)


def test_a_sum_that_may_leave_one_vector_beside_the_colluders_is_refused():
    """Colluders take their own vectors off the sum: at least two others must be in it."""
    for adversary in ("honest-but-curious", "active"):
        for c in range(6):
            least = {"honest-but-curious": max(2, c + 1), "active": (8 + c) // 2 + 1}[adversary]
            for at_least in range(max(3, least), 9):
                aggregation = SecureAggregation(least, adversary, c)
                group = Group("server", names(8), 0, at_least)
                if at_least >= c + 2:
                    aggregation.check(group)
                else:
                    with pytest.raises(ValueError, match=rf"colluders \+ 2 = {c + 2} .* got"):
                        aggregation.check(group)


@pytest.mark.parametrize("value", [16.5, np.nan, np.inf])
@every_version
def test_a_value_that_cannot_be_encoded_stops_its_owner_before_it_says_anything(aggregation, value):
    inputs = vectors(6)
    inputs[2, 1] = value
    total, who, outcome = summed(aggregation, inputs, at_least=5)
    assert "index" in str(outcome.errors["p0002"])
    assert not outcome.transcript.select(sender="p0002").messages
    assert who == ("p0000", "p0001", "p0003", "p0004", "p0005")
    assert is_exact(total, inputs, who)


def test_vectors_of_different_lengths_are_named():
    inputs = [np.zeros(3)] * 3 + [np.zeros(4)]
    with pytest.raises(MalformedMessage, match="'p0000' sent 3 elements, 'p0003' sent 4"):
        summed(SecureAggregation(), inputs)


def test_credentials_of_another_aggregation_are_refused():
    group = Group("server", names(4), 0)
    for made, used in (EVERYBODY[:2], EVERYBODY[1::-1]):
        with pytest.raises(ValueError, match="credentials must be those that setup"):
            used._terms(group, made.setup(["server"])["server"])
    with pytest.raises(ValueError, match="credentials must be those that setup"):
        EVERYBODY[0]._terms(group, None)


def test_a_participant_shares_once_and_masks_one_vector_only():
    aggregation = SecureAggregation()
    credentials = aggregation.setup(["a"])["a"]
    terms = aggregation._terms(Group("s", ("a", "b", "c"), 0), credentials)
    parties = {name: Participant(name, terms, credentials) for name in terms.contributors}
    state = Collector(terms, aggregation._graph(terms, credentials))
    rosters = state.rosters({name: party.advertise() for name, party in parties.items()})
    me, shares = parties["a"], {n: party.share(rosters[n]) for n, party in parties.items()}
    with pytest.raises(ValueError, match="'a' must share its secrets once only"):
        me.share(rosters["a"])
    me.open(state.relay(shares)["a"])
    with pytest.raises(ValueError, match="'a' must open its shares once only"):
        me.open(state.relay(shares)["a"])
    words = np.zeros(3, np.uint32)
    me.mask(words)
    with pytest.raises(ValueError, match="'a' must mask one vector once only"):
        me.mask(words)


@pytest.mark.parametrize(
    "plant",
    [
        "sign flipped",
        "self mask kept",
        "wrong bits",
        "mask of half",
        "threshold off",
        "own left out",
    ],
)
def test_planted_faults_change_the_sum(monkeypatch, plant):
    """The exact sums above would fail with each of these."""
    each, aggregation = masks.add_each, SecureAggregation()
    if plant == "sign flipped":
        monkeypatch.setattr(
            masks, "add_each", lambda total, signed: each(total, [(seed, 1) for seed, _ in signed])
        )
    elif plant == "self mask kept":
        secrets = Collector._secrets
        monkeypatch.setattr(
            Collector,
            "_secrets",
            lambda self, *rest: dict(list(secrets(self, *rest).items())[1:]),
        )
    elif plant == "wrong bits":
        monkeypatch.setattr(Terms, "bits", property(lambda self: self.encoding.bits))
    elif plant == "mask of half":
        mask = Participant.mask

        def half(self, words):
            self.members = self.members[: len(self.members) // 2]
            return mask(self, words)

        monkeypatch.setattr(Participant, "mask", half)
    elif plant == "threshold off":
        monkeypatch.setattr(
            client.shamir,
            "share",
            lambda secret, parties, threshold, rng, share=client.shamir.share: share(
                secret, parties, threshold + 1, rng=rng
            ),
        )
    else:
        monkeypatch.setattr(
            Participant, "own_share", property(lambda self: 0, lambda self, _: None), raising=False
        )
    inputs = vectors(5, 40)
    try:
        total, who, _ = summed(aggregation, inputs)
    except (NetworkError, ValueError):
        return
    assert not is_exact(total, inputs, who)
