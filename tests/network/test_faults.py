"""Every fault against every way to receive: the exact result, or an error that names the sender."""

import pytest

from refimpl import network
from refimpl.network import Fault, MissingMessage, TamperedMessage, channel, faults

SENDERS = ("a", "b", "c")
VALUES = {"a": [1, "one"], "b": [2, "two"], "c": [3, "three"]}


async def sender(link):
    await link.send("server", "value", VALUES[link.name])
    return await link.receive("server", "done")


async def server(link, how):
    if how == "receive":
        got = {name: await link.receive(name, "value") for name in SENDERS}
    else:
        got = await link.gather(SENDERS, "value", at_least=2 if how == "gather at_least" else None)
    await link.broadcast(SENDERS, "done", len(got))
    return got


def run(how, *faults):
    roles = {name: sender for name in SENDERS}
    return network.run({"server": lambda link: server(link, how), **roles}, faults=faults)


ALL, WITHOUT_A = VALUES, {name: VALUES[name] for name in "bc"}
EXPECTED = {
    ("drop", "receive"): MissingMessage,
    ("drop", "gather"): MissingMessage,
    ("drop", "gather at_least"): WITHOUT_A,
    ("delay", "receive"): ALL,
    ("delay", "gather"): ALL,
    ("delay", "gather at_least"): WITHOUT_A,
    ("duplicate", "receive"): ALL,
    ("duplicate", "gather"): ALL,
    ("duplicate", "gather at_least"): ALL,
    ("truncate", "receive"): TamperedMessage,
    ("truncate", "gather"): TamperedMessage,
    ("truncate", "gather at_least"): WITHOUT_A,
    ("tamper", "receive"): TamperedMessage,
    ("tamper", "gather"): TamperedMessage,
    ("tamper", "gather at_least"): WITHOUT_A,
}


@pytest.mark.parametrize(("kind", "how"), EXPECTED)
def test_each_fault_ends_in_the_exact_result_or_names_the_sender(kind, how):
    expected = EXPECTED[kind, how]
    fault = Fault(kind, sender="a", topic="value")
    if isinstance(expected, dict):
        outcome = run(how, fault)
        assert outcome.results["server"] == expected
        assert all(outcome.results[name] == len(expected) for name in SENDERS)
        late = [("server", "a", "value", 0)] if (kind, how) == ("delay", "gather at_least") else []
        assert outcome.unread == late
        struck = [m for m in outcome.transcript if m.fault]
        assert [(m.sender, m.fault) for m in struck] == [("a", kind)]
    else:
        with pytest.raises(expected, match="'a'") as caught:
            run(how, fault)
        assert caught.value.parties == ("a",)


@pytest.mark.parametrize("kind", ["drop", "truncate", "tamper"])
def test_too_few_survivors_are_an_error_that_names_all_who_are_missing(kind):
    with pytest.raises((MissingMessage, TamperedMessage)) as caught:
        run("gather at_least", Fault(kind, sender="a"), Fault("drop", sender="c"))
    assert caught.value.parties == ("a", "c")
    assert "from 1 of 3 parties, and needs 2" in str(caught.value)


@pytest.mark.parametrize("kind", ["drop", "delay", "duplicate", "truncate", "tamper"])
def test_two_messages_of_one_address_never_take_each_others_place(kind):
    async def sends_two(link):
        await link.send("b", "value", "first")
        await link.send("b", "value", "second")

    async def reads_one(link):
        return await link.receive("a", "value")

    outcome = network.run({"a": sends_two, "b": reads_one}, faults=[Fault(kind)], required=[])
    assert outcome.results.get("b", "first") == "first"
    if kind in ("delay", "duplicate"):
        assert outcome.results["b"] == "first" and len(outcome.unread) == 1


def test_a_fault_strikes_what_agrees_with_every_field_given():
    address = {"sender": "a", "receiver": "b", "topic": "t", "round": 3}
    assert Fault("drop").strikes("a", "b", "t", 3)
    assert Fault("drop", **address).strikes("a", "b", "t", 3)
    for field, other in [("sender", "x"), ("receiver", "x"), ("topic", "x"), ("round", 0)]:
        assert Fault("drop", **{field: address[field]}).strikes("a", "b", "t", 3)
        assert not Fault("drop", **{field: other}).strikes("a", "b", "t", 3)
        assert not Fault("drop", **(address | {field: other})).strikes("a", "b", "t", 3)


def test_the_first_fault_that_strikes_counts():
    both = [Fault("delay", sender="b"), Fault("drop", sender="a"), Fault("delay")]
    assert faults.striking(both, "s", ("a", "t", 0)) is both[1]
    assert faults.striking(both[:2], "s", ("c", "t", 0)) is None


def test_a_fault_that_struck_nothing_is_refused_where_the_run_succeeded():
    hit, missed = Fault("delay", sender="a"), Fault("drop", sender="a", topic="vlaue")
    with pytest.raises(ValueError, match=r"Fault\(kind='drop', .*topic='vlaue'.* struck none"):
        run("gather", hit, missed)
    with pytest.raises(ValueError, match="'duplicate'"):  # the first takes all of its messages
        run("gather", hit, Fault("duplicate", sender="a", topic="value"))
    with pytest.raises(MissingMessage):  # the run's own error tells more
        run("gather", Fault("drop", sender="a"), missed)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"kind must be one of .*'drop'.*, got 'lose'"):
        Fault("lose")


@pytest.mark.parametrize("kind", ["tamper", "truncate"])
def test_a_changed_frame_that_passed_its_tag_would_be_noticed(kind, monkeypatch):
    assert "authentication tag" in faults.change(kind, b"head", 0, b"body")
    monkeypatch.setattr(channel, "open_sealed", lambda *_: b"body")
    with pytest.raises(AssertionError):
        faults.change(kind, b"head", 0, b"body")
