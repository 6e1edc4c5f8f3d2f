"""What a transcript counts, and what each coalition saw."""

import pytest

from refimpl import network
from refimpl.network import Fault, Message, Transcript

MESSAGES = [
    Message("a", "b", "share", 0, 1, 10),
    Message("a", "server", "sum", 0, 2, 20),
    Message("b", "server", "sum", 1, 3, 30),
    Message("server", "a", "mean", 1, 4, 40),
]


def test_bytes_are_counted_in_all_by_sender_and_by_receiver():
    transcript = Transcript(MESSAGES)
    assert (len(transcript), transcript.bytes) == (4, 100)
    assert transcript.bytes_sent() == {"a": 30, "b": 30, "server": 40}
    assert transcript.bytes_received() == {"b": 10, "server": 50, "a": 40}


def test_a_view_is_what_a_coalition_sent_or_received():
    transcript = Transcript(MESSAGES)
    assert list(transcript.view("b")) == [MESSAGES[0], MESSAGES[2]]
    assert list(transcript.view("b", "server")) == MESSAGES
    assert list(transcript.view()) == []
    assert list(transcript.view("b").view("server")) == [MESSAGES[2]]


def test_a_party_that_said_nothing_has_an_empty_view_and_a_stranger_none():
    transcript = Transcript(MESSAGES, ["a", "b", "server", "silent"])
    assert len(transcript.view("silent")) == 0
    assert len(transcript.select(topic="sum").view("silent")) == 0
    assert len(transcript.view("b").view("silent")) == 0
    with pytest.raises(ValueError, match="got 'stranger'"):
        transcript.view("a", "stranger")


@pytest.mark.parametrize("kind", ["drop", "delay", "duplicate", "truncate", "tamper"])
def test_a_message_that_did_not_arrive_is_seen_by_its_sender_only(kind):
    async def sends(link):
        await link.send("b", "value", 1)

    async def reads(link):
        await link.gather(["a"], "value", at_least=0)

    outcome = network.run({"a": sends, "b": reads}, faults=[Fault(kind)])
    assert len(outcome.transcript.view("a")) == 1
    assert len(outcome.transcript.view("b")) == (kind in ("delay", "duplicate"))
    size = outcome.transcript.messages[0].bytes
    assert outcome.transcript.bytes_sent() == {"a": size}
    assert outcome.transcript.bytes_received()["b"] == size * (kind in ("delay", "duplicate"))


def test_select_needs_agreement_in_every_field():
    transcript = Transcript(MESSAGES)
    assert list(transcript.select(topic="sum")) == MESSAGES[1:3]
    assert list(transcript.select(topic="sum", round=0)) == [MESSAGES[1]]
    assert list(transcript.select(sender="b", receiver="server")) == [MESSAGES[2]]
    assert list(transcript.select(receiver="a", topic="sum")) == []
    assert list(transcript.select()) == MESSAGES
