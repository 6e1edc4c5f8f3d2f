"""Each row of the table of lies, played in every version, against what the table says."""

from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest

from refimpl.aggregation import Group, SecAggPlus, SecureAggregation
from refimpl.aggregation import secure_aggregation_roles as roles
from refimpl.aggregation.secure_aggregation_client import Participant
from refimpl.aggregation.secure_aggregation_lies import LIES
from refimpl.aggregation.secure_aggregation_server import Collector
from refimpl.aggregation.secure_aggregation_terms import (
    KEY_LIMBS,
    ForgedMessage,
    UnmaskingRefused,
    pack_elements,
    pack_set,
    read_elements,
)
from refimpl.network import Fault, MalformedMessage, MissingMessage, NetworkError
from tests.aggregation import liars
from tests.aggregation.liars import LIAR, VICTIM
from tests.aggregation.secure import exact, is_exact, names, summed, vectors

# Eight sums of 16 bits fill 19 bits but for 2^-15 of them: a random sum is hardly out of range.
COUNT, INPUTS = 8, vectors(8, 9)
OTHERS = tuple(name for name in names(COUNT) if name != LIAR)
VERSIONS = {
    "honest-but-curious": SecureAggregation(threshold=4),
    "active": SecureAggregation(threshold=5, adversary="active"),
    "SecAgg+": SecAggPlus(neighbours=4, threshold=2, dropout=0.4),
}
every_version = pytest.mark.parametrize("version", VERSIONS)


class Played(NamedTuple):
    """What a run came to."""

    total: np.ndarray
    who: tuple
    collector: Collector


def play(version, *, contributor=Participant, collector=Collector, **options):
    """A sum with a ``LIAR`` of class ``contributor``, or with a lying collector."""
    made, credentials = [], {}

    def participant(name, terms, own):
        credentials[name] = own
        return (contributor if name == LIAR else Participant)(name, terms, own)

    def server(*rest):
        made.append(collector(*rest))
        made[0].credentials = credentials
        return made[0]

    options.setdefault("required", None)
    with mock.patch.multiple(roles, Participant=participant, Collector=server):
        total, who, _ = summed(VERSIONS[version], INPUTS, **options)
    return Played(total, who, made[0])


def off_by_1000_units(run):
    expected = exact(INPUTS, names(COUNT))
    unit = 16 / (2**15 - 1)
    assert run.total[0] == pytest.approx(expected[0] + 1000 * unit, abs=unit / 10)
    assert np.array_equal(run.total[1:], expected[1:])


def all_wrong(run):
    """Random values: each is right with probability 2^-19."""
    assert not np.isclose(run.total, exact(INPUTS, names(COUNT)), atol=1e-9).any()


def harmless(run):
    assert is_exact(run.total, INPUTS, names(COUNT))


def sum_of_the_others(run):
    assert is_exact(run.total, INPUTS, OTHERS)


def everybody_is_exposed(run):
    assert is_exact(run.total, INPUTS, names(COUNT))
    assert exposed(run) == set(names(COUNT))


def the_victim_is_exposed(run):
    assert exposed(run) == {VICTIM}


def exposed(run):
    """Whose vectors the collector found, to the last bit."""
    encoding, stolen = run.collector.terms.encoding, run.collector.stolen
    for name, words in stolen.items():
        assert np.array_equal(words, encoding.encode(INPUTS[int(name[1:])]))
    return set(stolen)


class Case(NamedTuple):
    """How to play a lie; what shows that it passed, or the error that ends it and whom it names."""

    how: dict[str, Any]
    passed: Any = None
    error: type[Exception] = AssertionError
    named: set[str] = frozenset()


LATE = {"at_least": 6, "required": ["server"]}
CASES = {
    "masks another vector than its own": Case(
        {"contributor": liars.AnotherVector}, off_by_1000_units
    ),
    "deals shares of a seed that is not its own": Case(
        {"contributor": liars.AnotherSeed}, all_wrong
    ),
    "deals shares of a key that is not its own, and drops out": Case(
        {
            "contributor": liars.AnotherKey,
            "faults": [Fault("drop", sender=LIAR, topic="masked vector")],
            **LATE,
        },
        error=MalformedMessage,
        named={LIAR},
    ),
    "deals shares of no single secret": Case(
        {"contributor": liars.NoSecret}, error=MalformedMessage, named={LIAR}
    ),
    "seals a share so that its reader cannot open it": Case(
        {"contributor": liars.BadSeal}, error=MalformedMessage, named={LIAR}
    ),
    "reveals a wrong share": Case(
        {"contributor": liars.WrongShare}, error=MalformedMessage, named={LIAR}
    ),
    "advertises the keys of an earlier round again": Case(
        {"contributor": liars.OldKeys}, harmless, ForgedMessage, {LIAR, "server"}
    ),
    "advertises keys without a valid signature": Case(
        {"contributor": liars.BadSignature}, error=ForgedMessage, named={LIAR, "server"}
    ),
    "puts its own keys in the place of everybody's": Case(
        {"collector": liars.InTheMiddle}, everybody_is_exposed, ForgedMessage, {"server"}
    ),
    "announces the keys of an earlier round for somebody who is not there": Case(
        {
            "collector": liars.OldKeysOfTheAbsent,
            "faults": [Fault("drop", sender=VICTIM, topic="keys")],
            "at_least": 6,
        },
        sum_of_the_others,
        ForgedMessage,
        {VICTIM, "server"},
    ),
    "tells half of the contributors that somebody dropped out": Case(
        {"collector": liars.Split, "at_least": 6}, the_victim_is_exposed, ForgedMessage, {"server"}
    ),
    "announces fewer survivors than the threshold": Case(
        {"collector": liars.FewSurvivors}, error=UnmaskingRefused, named={"server"}
    ),
    "forges a signature of the survivors": Case(
        {"collector": liars.ForgedSurvivors}, error=ForgedMessage, named={"server"}
    ),
    "leaves a survivor out of everybody's list": Case(
        {"collector": liars.LeaveOut, "at_least": 6}, sum_of_the_others
    ),
}
# These have tests of their own, below.
TWICE = "asks the same contributors for both secrets of somebody"
JUST_ENOUGH = "reveals a wrong share, and no more than the threshold answer"


def ending(lie, version):
    return lie.active if version == "active" else lie.curious


def test_every_row_of_the_table_is_played():
    assert {lie.lie for lie in LIES} == {*CASES, TWICE, JUST_ENOUGH}
    assert len(LIES) == len(CASES) + 2


@pytest.mark.parametrize(
    ("version", "lie"),
    [
        pytest.param(version, lie, id=f"{version}, {lie.liar} {lie.lie}")
        for version in VERSIONS
        for lie in LIES
        if lie.lie in CASES and ending(lie, version) != "not possible"
    ],
)
def test_a_lie_ends_as_the_table_says(version, lie):
    case = CASES[lie.lie]
    if ending(lie, version) == "detected":
        with pytest.raises(case.error) as caught:
            play(version, **case.how)
        assert issubclass(case.error, NetworkError) and case.named <= set(caught.value.parties)
    else:
        case.passed(play(version, **case.how))


@every_version
def test_a_wrong_share_is_named_among_honest_ones(version):
    """And only it: the error does not suspect the honest owners of the secrets."""
    with pytest.raises(MalformedMessage, match="held by \\['p0002'\\]") as caught:
        play(version, contributor=liars.WrongShare)
    assert caught.value.parties == (LIAR,)


@pytest.mark.parametrize("adversary", ["honest-but-curious", "active"])
def test_a_wrong_share_passes_where_only_the_threshold_answers(monkeypatch, adversary):
    """One answer more, and it is noticed."""
    for threshold, at_least in ((COUNT, None), (COUNT - 1, COUNT - 1)):
        aggregation = SecureAggregation(threshold, adversary)
        monkeypatch.setitem(VERSIONS, "all", aggregation)
        if threshold == COUNT:
            run = play("all", contributor=liars.ShiftedShare)
            assert not np.isclose(run.total, exact(INPUTS, names(COUNT)), atol=1e-9).all()
        else:
            with pytest.raises(MalformedMessage, match="are wrong"):
                play("all", contributor=liars.ShiftedShare, at_least=at_least)


def test_a_wrong_share_of_a_key_is_noticed_even_then(monkeypatch):
    """The key that it gives is not the one advertised."""
    threshold = COUNT - 1
    monkeypatch.setitem(VERSIONS, "all", SecureAggregation(threshold))

    class Shifted(Participant):
        def reveal(self, endorsements=None):
            seeds, keys = super().reveal(endorsements)
            table = read_elements(keys, (1, KEY_LIMBS), self.name)
            table[0, 1] ^= np.uint64(1)
            return seeds, pack_elements(table)

    late = [Fault("drop", sender="p0005", topic="masked vector")]
    with pytest.raises(MalformedMessage, match="'p0005'"):
        play("all", contributor=Shifted, faults=late, at_least=threshold, required=["server"])


@pytest.mark.parametrize("at_least", [None, 7])
def test_contributors_insist_on_as_many_survivors_as_the_group(at_least):
    """Against an active collector; a curious one follows the protocol, which asks for them too."""
    with pytest.raises(UnmaskingRefused, match=f"at least {at_least or 8} survivors are needed"):
        play("active", collector=liars.LeaveTwoOut, at_least=at_least)


# --- a collector that asks for both secrets ---------------------------------------------------


def ready(version):
    """Participants of one sum whose masked vectors have all arrived, and their collector."""
    aggregation, who = VERSIONS[version], names(COUNT)
    credentials = aggregation.setup([*who, "server"])
    terms = aggregation._terms(Group("server", who, 0, 6), credentials["server"])
    state = Collector(terms, aggregation._graph(terms, credentials["server"]))
    parties = {name: Participant(name, terms, credentials[name]) for name in who}
    rosters = state.rosters({name: party.advertise() for name, party in parties.items()})
    relayed = state.relay({name: party.share(rosters[name]) for name, party in parties.items()})
    for name, party in parties.items():
        party.open(relayed[name])
        words = terms.encoding.encode(INPUTS[int(name[1:])]).astype(np.uint32)
        state.add(name, party.mask(words))
    return parties, state


@every_version
def test_nobody_reveals_both_secrets_of_a_party(version):
    """Asked again with another list, or without one, a participant refuses, naming who asks."""
    parties, state = ready(version)
    lists = state.announce()
    del state.lengths[state._position(VICTIM)]
    others = state.announce()
    for name, party in parties.items():
        with pytest.raises(UnmaskingRefused, match="must be accepted first"):
            party.reveal()
        party.accept(lists[name])
        party.accept(lists[name])  # the same again reveals nothing new
        if name == VICTIM or not np.array_equal(lists[name], others.get(name)):
            fewer = others.get(name, pack_set(np.empty(0, np.int64), party.members))
            with pytest.raises(UnmaskingRefused, match=f"'{name}' reveals no shares") as caught:
                party.accept(fewer)
            assert caught.value.parties == ("server",)


@every_version
def test_an_answer_holds_one_share_of_each_party(version):
    """Of the seed or of the key, never both."""
    parties, state = ready(version)
    del state.lengths[state._position(VICTIM)]
    signed = {}
    for name, survivors in state.announce().items():
        signed[name] = parties[name].accept(survivors)
    endorsed = state.endorse(signed) if version == "active" else dict.fromkeys(signed)
    for name in signed:
        seeds, keys = parties[name].reveal(endorsed[name])
        bits = 8 * (len(seeds) + len(keys))
        lost = VICTIM in [state._name(p) for p in parties[name].members]
        owners = len(parties[name].owners)
        assert 0 <= bits - 61 * (3 * (owners - lost) + 5 * lost) < 16


@every_version
@pytest.mark.parametrize("survivors", [b"\xff" * 5, b"", [True] * 8, None, 7])
def test_a_list_that_names_outsiders_or_is_none_is_refused(version, survivors):
    """A list has one bit for each party that shared its secrets; there is no bit for others."""
    parties, _ = ready(version)
    if isinstance(survivors, bytes):
        survivors = np.frombuffer(survivors, np.uint8)
    with pytest.raises(MalformedMessage, match="'server' must send a set among") as caught:
        parties["p0000"].accept(survivors)
    assert caught.value.parties == ("server",)


def test_signatures_of_too_few_are_refused():
    """4 of 8 where 5 are needed; with one's own they are 4."""
    parties, state = ready("active")
    signed = {name: parties[name].accept(s) for name, s in state.announce().items()}
    few = state.endorse({name: signed[name] for name in names(4)})
    with pytest.raises(UnmaskingRefused, match=r"threshold=5 parties must sign .* got 4"):
        parties["p0000"].reveal(few["p0000"])
    enough = state.endorse({name: signed[name] for name in names(5)})
    parties["p0000"].reveal(enough["p0000"])


@every_version
def test_a_collector_that_asks_twice_gets_one_answer(version):
    """Over the network: the second list is never read."""

    async def greedy(link, group, credentials):
        aggregation = VERSIONS[version]
        terms = aggregation._terms(group, credentials)
        await roles.collector(link, terms, aggregation._graph(terms, credentials))
        for name in group.contributors:
            await link.send(name, "survivors", np.zeros(1, np.uint8))
        return await link.gather(group.contributors, "unmasking shares", at_least=1)

    with pytest.raises(MissingMessage, match="from 0 of 8 parties"):
        summed(VERSIONS[version], INPUTS, roles={"server": greedy})


@pytest.mark.parametrize(
    ("unchecked", "lie", "then"),
    [
        ({"key advert"}, {"contributor": liars.BadSignature}, harmless),
        ({"survivor set"}, {"collector": liars.ForgedSurvivors}, harmless),
        ({"key advert", "survivor set"}, {"collector": liars.InTheMiddle}, everybody_is_exposed),
    ],
    ids=["key adverts", "survivor sets", "both"],
)
def test_it_is_the_signatures_that_stop_these_lies(monkeypatch, unchecked, lie, then):
    """Planted: participants that check no signatures of a kind. The rows above would then fail."""
    verify = Participant._verify

    def lenient(self, name, signature, statement, what):
        if what not in unchecked:
            verify(self, name, signature, statement, what)

    monkeypatch.setattr(Participant, "_verify", lenient)
    then(play("active", **lie))


def test_keys_are_also_bound_by_the_signed_survivors(monkeypatch):
    """Unchecked adverts alone do not let a collector stand in the middle."""
    verify = Participant._verify

    def lenient(self, name, signature, statement, what):
        if what != "key advert":
            verify(self, name, signature, statement, what)

    monkeypatch.setattr(Participant, "_verify", lenient)
    with pytest.raises(ForgedMessage, match="survivor set"):
        play("active", collector=liars.InTheMiddle)
