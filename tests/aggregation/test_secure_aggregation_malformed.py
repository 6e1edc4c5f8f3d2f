"""Messages that are no messages: each ends in a ``MalformedMessage`` that names its sender."""

from unittest import mock

import numpy as np
import pytest

from refimpl.aggregation import Group, SecAggPlus, SecureAggregation
from refimpl.aggregation import secure_aggregation_roles as roles
from refimpl.aggregation.secure_aggregation_client import Participant
from refimpl.aggregation.secure_aggregation_server import Collector
from refimpl.aggregation.secure_aggregation_terms import pack_elements, pack_set
from refimpl.arithmetic import field, ring
from refimpl.network import MalformedMessage
from tests.aggregation.secure import VERSIONS, names, summed, topics, vectors

COUNT, INPUTS, LIAR = 6, vectors(6, 4), "p0002"
BYTES = np.zeros(7, np.uint8)
JUNK = [
    "text",
    b"",
    b"x" * 500,
    {},
    (1, 2, 3),
    (None, BYTES),
    (BYTES, BYTES),
    (-1, BYTES),
    (2**70, BYTES),
    (4.0, np.zeros(10, np.uint8)),
    np.zeros((), np.uint8),
    np.zeros((5, 78), np.uint8),
    (np.zeros((), np.uint8), np.zeros((), np.uint8)),
]
SAYS = {
    "keys": "advertise",
    "shares": "share",
    "masked vector": "mask",
    "consistency": "accept",
    "unmasking shares": "reveal",
}
ASKS = {
    "roster": "rosters",
    "relayed shares": "relay",
    "survivors": "announce",
    "endorsements": "endorse",
}


def cases(of):
    return [
        pytest.param(aggregation, topic, id=f"{version}, {topic}")
        for version, aggregation in VERSIONS.items()
        for topic in topics(aggregation)
        if topic in of
    ]


def liar(**methods):
    """A ``Participant`` of other methods where it is the ``LIAR``."""
    lying = type("Lying", (Participant,), methods)
    return lambda name, *rest: (lying if name == LIAR else Participant)(name, *rest)


@pytest.mark.parametrize(("aggregation", "topic"), cases(SAYS))
def test_junk_from_a_contributor(aggregation, topic):
    for junk in [None, *JUNK]:
        says = {SAYS[topic]: lambda *_, junk=junk: junk}
        refused = pytest.raises(MalformedMessage, match=f"'{LIAR}' must send")
        with mock.patch.object(roles, "Participant", liar(**says)), refused as caught:
            summed(aggregation, INPUTS)
        assert caught.value.parties == (LIAR,)


@pytest.mark.parametrize(("aggregation", "topic"), cases(ASKS))
def test_junk_from_the_collector(aggregation, topic):
    """(None is no junk: it says that one is out.)"""
    for junk in JUNK:
        asks = {
            ASKS[topic]: lambda self, *_, junk=junk: dict.fromkeys(self.terms.contributors, junk)
        }
        lying = mock.patch.object(roles, "Collector", type("Lying", (Collector,), asks))
        with lying, pytest.raises(MalformedMessage, match="'server' must send") as caught:
            summed(aggregation, INPUTS, required=None)
        assert caught.value.parties == ("server",)


def roster(change):
    """A collector whose rosters are changed: ``change(own position, positions, adverts)``."""

    class Lying(Collector):
        def rosters(self, adverts):
            messages, bits = super().rosters(adverts), self.terms.positions_bits()
            for name, (packed, rows) in messages.items():
                peers = ring.unpack(packed, bits, len(rows)).astype(np.int64)
                own = np.frombuffer(adverts[name], np.uint8)
                peers, rows = change(self._position(name), peers, rows.copy(), own)
                messages[name] = ring.pack(peers, bits), rows
            return messages

    return Lying


def same_key_twice(me, peers, rows, own):
    rows[1, 32:64] = rows[0, :32]
    return peers, rows


def own_key_back(me, peers, rows, own):
    rows[0, :32] = own[:32]
    return peers, rows


def weak_key(me, peers, rows, own):
    rows[0, :32] = 0
    return peers, rows


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda me, peers, rows, own: (peers[::-1], rows), "other contributors, in order"),
        (lambda me, peers, rows, own: (peers * 0, rows), "other contributors, in order"),
        (lambda me, peers, rows, own: (np.where(peers == 5, 7, peers), rows), "in order|shares"),
        (lambda me, peers, rows, own: (np.sort([me, *peers[1:]]), rows), "in order"),
        (lambda me, peers, rows, own: (peers[:2], rows[:2]), "at least threshold=4 holders"),
        (same_key_twice, "a key is there twice"),
        (own_key_back, "a key is there twice"),
        (weak_key, "a public key: the public key of .* is of small order"),
    ],
)
def test_a_roster_that_cannot_be(change, says):
    lying = mock.patch.object(roles, "Collector", roster(change))
    with lying, pytest.raises(MalformedMessage, match=says):
        summed(SecureAggregation(threshold=4), INPUTS, required=None)


def test_too_few_who_shared_are_refused_before_anything_is_masked():
    """The collector relays the shares of two peers where threshold - 1 = 3 are needed."""

    class Lying(Collector):
        def relay(self, shares):
            messages = super().relay(shares)
            return {
                name: (pack_set(self.members[me][:2], self.peers[me]), rows[:2])
                for name, (_, rows) in messages.items()
                for me in [self._position(name)]
            }

    lying = mock.patch.object(roles, "Collector", Lying)
    with lying, pytest.raises(MalformedMessage, match="threshold=4 parties that shared"):
        summed(SecureAggregation(threshold=4), INPUTS, required=None)


def test_a_share_outside_the_field():
    """2^61 - 1 fits in 61 bits but is no element."""
    full = np.full((6, 3), field.P, np.uint64)
    says = {"reveal": lambda self, _: (pack_elements(full), pack_elements(full[:0]))}
    refused = pytest.raises(MalformedMessage, match=f"'{LIAR}' must send .* elements must lie")
    with mock.patch.object(roles, "Participant", liar(**says)), refused:
        summed(SecureAggregation(), INPUTS)


def test_a_sum_out_of_range_names_its_contributors():
    """Six of 16 bits do not fill 19 bits: 5 * 32767 + 300000 is more than six can add up to."""
    inputs = np.zeros((COUNT, 3))
    says = {"mask": lambda self, words: Participant.mask(self, words * 0 + np.uint32(300_000))}
    refused = pytest.raises(MalformedMessage, match="is out of range: total must lie in")
    with mock.patch.object(roles, "Participant", liar(**says)), refused as caught:
        summed(SecureAggregation(), inputs)
    assert LIAR in caught.value.parties and len(caught.value.parties) == COUNT


@pytest.mark.parametrize(
    "aggregation", [SecureAggregation(), SecAggPlus(neighbours=4, threshold=2)]
)
def test_a_graph_is_drawn_anew_and_generators_are_apart(aggregation):
    credentials = aggregation.setup(["a", "b", "server"])
    assert len({id(one.rng) for one in credentials.values()}) == 3
    assert len({one.session for one in credentials.values()}) == 1
    assert credentials["a"].session != aggregation.setup(["a"])["a"].session
    terms = aggregation._terms(Group("server", names(20), 0), credentials["server"])
    first, second = (aggregation._graph(terms, credentials["server"]) for _ in range(2))
    same = all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert same == aggregation.plan(20).complete
