"""Parties that send well-formed falsehoods to a sum by secret sharing: which are detected."""

import numpy as np
import pytest

from refimpl import network
from refimpl.aggregation import Group, SecretSharing
from refimpl.arithmetic import ring
from refimpl.network import MalformedMessage, MissingMessage
from refimpl.smc import shamir
from tests.aggregation.test_secret_sharing import NAMES, exact_sum, outcome_of, vectors_of


class Liar:
    """A party's link, on which ``lie(receiver, topic, payload)`` is sent in place of payloads."""

    def __init__(self, link, lie):
        self.link, self.lie, self.name = link, lie, link.name
        self.receive, self.gather = link.receive, link.gather

    def in_round(self, round):
        return Liar(self.link.in_round(round), self.lie)

    async def send(self, receiver, topic, payload):
        await self.link.send(receiver, topic, self.lie(receiver, topic, payload))

    async def broadcast(self, receivers, topic, payload):
        for receiver in receivers:
            await self.send(receiver, topic, payload)


def lied_to(aggregation, lie, *, who="p1", **options):
    """The run of one sum in which ``who`` lies, and the vectors."""
    vectors = vectors_of()
    group = Group("server", NAMES, 7, options.get("at_least"))

    async def liar(link):
        rng = aggregation.setup([who])[who]
        if who == "server":
            return await aggregation.collect(Liar(link, lie), group, rng)
        return await aggregation.contribute(Liar(link, lie), vectors[who], group, rng)

    return outcome_of(aggregation, vectors, replaced={who: liar}, **options), vectors


def only(topic, change, to=None):
    """A lie in the messages of one topic (to one receiver), the others as they are."""

    def lie(receiver, of, payload):
        return change(payload) if of == topic and to in (None, receiver) else payload

    return lie


def one_more(values):
    """The first value one larger: field elements, or (length, packed) of 27 bits."""
    if isinstance(values, tuple):
        length, packed = values
        words = ring.unpack(packed, 27, length)
        words[0] = (int(words[0]) + 1) % 2**27
        return length, ring.pack(words, 27)
    changed = values.copy()
    changed[0] = (int(changed[0]) + 1) % (2**61 - 1)
    return changed


# --- not detected (honest-but-curious) -----------------------------------------------------------


def test_a_false_additive_partial_sum_is_not_detected():
    """The sum is off by as much, here one level."""
    outcome, vectors = lied_to(SecretSharing(), only("partial sum", one_more))
    total, who = outcome.results["server"]
    right = exact_sum(SecretSharing(), vectors, NAMES)
    unit = SecretSharing().encoding(Group("server", NAMES, 0)).unit
    assert who == NAMES
    assert total[1:].tolist() == right[1:]
    assert total[0] - right[0] == pytest.approx(unit, rel=1e-6)


def test_a_false_seed_is_detected_only_if_the_sum_leaves_its_range():
    """Another seed makes each sum random in 27 bits, of which 5/8 can be: 50 do not all pass, but
    once in 10^10; one does, with the right draws."""
    lie = only("seed for server", lambda seed: bytes(16), to="p3")
    vectors, passed = vectors_of(length=50), 0

    async def liar(link, values):
        group = Group("server", NAMES, 7)
        await SecretSharing().contribute(Liar(link, lie), values, group)

    replaced = {"p1": lambda link: liar(link, vectors["p1"])}
    with pytest.raises(MalformedMessage, match="total must lie in") as error:
        outcome_of(SecretSharing(), vectors, replaced=replaced)
    assert error.value.parties == NAMES
    short = {name: vector[:1] for name, vector in vectors.items()}
    for _ in range(40):
        try:
            total, _ = outcome_of(
                SecretSharing(), short, replaced={"p1": lambda link: liar(link, short["p1"])}
            ).results["server"]
        except MalformedMessage:
            continue
        passed += total.tolist() != exact_sum(SecretSharing(), short, NAMES)
    assert passed > 0  # not detected; none passes once in 10^17


def test_a_false_partial_sum_is_not_detected_where_no_share_is_to_spare():
    outcome, vectors = lied_to(SecretSharing(5), only("partial sum", lambda p: weighted(p, 1)))
    total, _ = outcome.results["server"]
    right = exact_sum(SecretSharing(5), vectors, NAMES)
    assert total[1:].tolist() == right[1:]
    assert total[0] != right[0]


def weighted(partial, levels):
    """What p1 (x = 2) must send for a secret that is ``levels`` larger."""
    weight = shamir.coefficients([1, 2, 3, 4, 5])[1]
    changed = partial.copy()
    changed[0] = (int(partial[0]) + levels * pow(weight, -1, 2**61 - 1)) % (2**61 - 1)
    return changed


def test_leaving_somebody_out_is_not_detected():
    """p1 says that it has no share of p4, and p4 is not in the sum; that it is not is told."""
    lie = only("received", lambda names: [name for name in names if name != "p4"])
    outcome, vectors = lied_to(SecretSharing(3), lie, at_least=3)
    total, who = outcome.results["server"]
    assert who == ("p0", "p1", "p2", "p3")
    assert total.tolist() == exact_sum(SecretSharing(3), vectors, who)


def two_sets(names, threshold):
    """A collector that names one set to the first half and another to the rest, and what it
    can make of the answers: the vector of p0, or None."""
    aggregation, vectors = SecretSharing(threshold), vectors_of(names)
    sets = [list(names), list(names[1:])]
    half = len(names) // 2

    async def collector(link):
        here = link.in_round(7)
        await here.gather(names, "received")
        for party in names:
            await here.send(party, "in the sum", sets[names.index(party) >= half])
        partials = await here.gather(names, "partial sum", at_least=0)
        return {names.index(name) + 1: partial for name, partial in partials.items()}

    rows = outcome_of(
        aggregation, vectors, at_least=len(names) - 1, replaced={"server": collector}
    ).results["server"]
    assert len(rows) == len(names)  # nobody noticed
    code = aggregation.encoding(Group("server", names, 0))
    try:
        with_p0 = shamir.reconstruct({x: rows[x] for x in rows if x <= half}, threshold)
        without = shamir.reconstruct({x: rows[x] for x in rows if x > half}, threshold)
    except ValueError:
        return None
    return np.allclose(code.decode(with_p0 - without, summands=1), vectors["p0"], atol=code.unit)


def test_two_sets_named_by_the_collector_reveal_a_vector_if_thresholds_are_low():
    """Not detected; and without success where 2 * threshold > contributors + colluders."""
    names = ("p0", "p1", "p2", "p3", "p4", "p5")
    assert two_sets(names, 3)
    assert two_sets(names, 4) is None


# --- detected ------------------------------------------------------------------------------------


def test_a_false_partial_sum_is_detected_and_named_with_two_to_spare():
    with pytest.raises(MalformedMessage, match=r"those of \['p1'\] are wrong") as error:
        lied_to(SecretSharing(3), only("partial sum", one_more))
    assert error.value.parties == ("p1",)


def test_a_false_partial_sum_is_detected_with_one_to_spare():
    with pytest.raises(MalformedMessage, match="which are wrong cannot be told") as error:
        lied_to(SecretSharing(4), only("partial sum", one_more))
    assert error.value.parties == NAMES


def test_an_inconsistent_dealer_makes_its_receiver_be_named():
    """What the docstring warns of: p1 lied to p3, and p3 is named."""
    with pytest.raises(MalformedMessage) as error:
        lied_to(SecretSharing(3), only("share for server", one_more, to="p3"))
    assert error.value.parties == ("p3",)


SHORT, FLOAT = (lambda a: a[:-1]), (lambda a: a.astype(float))


@pytest.mark.parametrize(
    ("aggregation", "topic", "change", "rule"),
    [
        (SecretSharing(), "seed for server", lambda s: s[:15], "must send a seed of 16 bytes"),
        (SecretSharing(), "seed for server", lambda s: None, "must send a seed .* got NoneType"),
        (SecretSharing(), "partial sum", lambda s: s[1], "must send a length and as many"),
        (SecretSharing(), "partial sum", lambda s: (s[0] + 5, s[1]), "must send a length and"),
        (SecretSharing(), "partial sum", lambda s: (-1, s[1]), "must send a length and"),
        (SecretSharing(), "partial sum", lambda s: "nonsense", "must send a length and"),
        (SecretSharing(), "partial sum", lambda s: (3, s[1][:11]), "of one length|a length and"),
        (SecretSharing(3), "share for server", SHORT, r"of shape \(4,\), got uint64 of shape"),
        (SecretSharing(3), "share for server", FLOAT, "field elements, .* got float64"),
        (SecretSharing(3), "share for server", lambda s: s | 2**63, r"field elements .*2\^61 - 1"),
        (SecretSharing(3), "share for server", lambda s: None, "field elements, .* got NoneType"),
        (SecretSharing(3), "partial sum", FLOAT, "field elements, .* got float64"),
        (SecretSharing(3), "partial sum", lambda s: s[None], "field elements, .* got uint64 of"),
        (SecretSharing(3), "partial sum", lambda s: s | 2**63, r"field elements .*2\^61 - 1"),
        (SecretSharing(3), "received", lambda s: ["p0", "p9"], "different contributors, got list"),
        (SecretSharing(3), "received", lambda s: ["p0", "p0"], "different contributors"),
        (SecretSharing(3), "received", lambda s: [s], "different contributors"),
        (SecretSharing(3), "received", lambda s: [np.ones(2)], "different contributors"),
        (SecretSharing(3), "received", lambda s: 5, "different contributors, got int"),
    ],
)
def test_what_is_not_well_formed_is_detected_and_its_sender_named(aggregation, topic, change, rule):
    with pytest.raises(MalformedMessage, match=f"'p1'.* {rule}|p1.*{rule}") as error:
        lied_to(aggregation, only(topic, change))
    assert "p1" in error.value.parties


def test_a_partial_sum_of_another_length_names_everybody():
    with pytest.raises(MalformedMessage, match=r"must be of one length, got .*'p1': 3"):
        lied_to(SecretSharing(3), only("partial sum", SHORT))


@pytest.mark.parametrize(
    "asked",
    [
        ["p0"],
        ["p0", "p1"],
        ["p0", "p1", "p2", "p3"],
        ["p0", "p1", "p2", "p3", "p9"],
        ["p0", "p1", "p2", "p3", "p3"],
        [["p0"], "p1", "p2", "p3", "p4"],
        None,
        "p0p1p2",
        {"p0": 1},
    ],
)
def test_contributors_refuse_a_set_that_is_too_small_or_none(asked):
    """All five are needed: nobody sends a partial sum."""
    lie = only("in the sum", lambda _: asked)
    with pytest.raises(MissingMessage):
        lied_to(SecretSharing(3), lie, who="server", required=["server"])
    outcome, _ = lied_to(SecretSharing(3), lie, who="server", required=[])
    for name in NAMES:
        assert isinstance(outcome.errors[name], MalformedMessage)
        assert outcome.errors[name].parties == ("server",)
    assert not len(outcome.transcript.select(topic="partial sum"))


def test_a_contributor_answers_one_set_only():
    """The collector asks again, for the sum without p0, and gets nothing more."""
    group, vectors = Group("server", NAMES, 7, 4), vectors_of()

    async def twice(link):
        here = link.in_round(7)
        await here.gather(NAMES, "received")
        await here.broadcast(NAMES, "in the sum", list(NAMES))
        await here.broadcast(NAMES, "in the sum", list(NAMES[1:]))
        first = await here.gather(NAMES, "partial sum")
        return first, await here.gather(NAMES, "partial sum", at_least=0)

    outcome = outcome_of(SecretSharing(3), vectors, at_least=4, replaced={"server": twice})
    first, second = outcome.results["server"]
    assert (len(first), len(second)) == (5, 0)
    assert outcome.unread == [(name, "server", "in the sum", group.round) for name in NAMES]


def test_who_lacks_a_share_of_the_set_does_not_answer():
    """The collector names p0 although p0's share did not reach p2."""
    fault = network.Fault("drop", sender="p0", receiver="p2", topic="share for server")
    lie = only("in the sum", lambda _: list(NAMES))
    outcome, _ = lied_to(
        SecretSharing(3), lie, who="server", at_least=4, faults=[fault], required=NAMES
    )
    assert {m.sender for m in outcome.transcript.select(topic="partial sum")} == {*NAMES} - {"p2"}
