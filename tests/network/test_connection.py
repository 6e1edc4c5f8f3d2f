"""One role a process, with threads for processes and socket pairs for the network between them.

An attacker here owns the wire, and changes, drops, repeats, reorders or invents its frames.
"""

import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from refimpl import network
from refimpl.network import (
    LostParty,
    MalformedMessage,
    MissingMessage,
    TamperedMessage,
    channel,
    codec,
    connection,
)
from refimpl.network.connection import Endpoint
from refimpl.network.mailbox import Mailbox

KEYS = {
    pair: bytes([number]) * 32 for number, pair in enumerate(["ab", "ac", "ba", "bc", "ca", "cb"])
}


class SocketWire:
    """A wire over one half of a socket pair; ``change`` may alter the list of frames sent."""

    def __init__(self, half, change=None):
        self.half, self.change = half, change
        self.sent, self.parts, self.frames = 0, [], []

    def send(self, data):
        self.sent += len(data)
        self.parts.append(bytes(data))
        if len(self.parts) == 2:  # the lengths, then the frame
            frame, self.parts = self.parts, []
            self.frames.append(frame)
            for part in self.change(self.frames) if self.change else frame:
                try:
                    self.half.sendall(part)
                except OSError as error:
                    raise ConnectionError from error

    def receive(self, size):
        data = bytearray()
        while len(data) < size:
            try:
                got = self.half.recv(size - len(data))
            except OSError as error:
                raise ConnectionError from error
            if not got:
                raise ConnectionError
            data += got
        return memoryview(data)

    def cut(self):
        self.half.shutdown(socket.SHUT_RDWR)


class Network:
    """Parties as threads. ``changes`` maps a pair such as "ab" to what the attacker does."""

    def __init__(self, names, *, changes=(), keys=KEYS, deadline=5.0, patience=1.0):
        self.wires, self.endpoints, self.mailboxes = {}, {}, {}
        for name in names:
            self.mailboxes[name] = Mailbox(name, deadline=deadline, patience=patience)
            self.endpoints[name] = Endpoint(name, self.mailboxes[name], payloads=True)
        for one in names:
            for other in names:
                if one < other:
                    halves = socket.socketpair()
                    for here, there, half in zip((one, other), (other, one), halves, strict=True):
                        change = dict(changes).get(here + there)
                        self.wires[here + there] = SocketWire(half, change)
        for pair, wire in self.wires.items():
            key, key_back = keys[pair], KEYS[pair[::-1]]
            self.endpoints[pair[0]].connect(pair[1], wire, key, key_back)

    def run(self, roles):
        """``(results, errors)`` by name; every thread has ended."""
        results, errors = {}, {}

        def run_one(name):
            try:
                results[name] = self.endpoints[name].run(roles[name])
            except Exception as error:
                errors[name] = error

        with ThreadPoolExecutor(len(roles)) as pool:
            list(pool.map(run_one, roles))
        for wire in self.wires.values():
            wire.half.close()
        return results, errors


def send(receiver, *payloads, topic="value"):
    async def role(link):
        for payload in payloads:
            await link.send(receiver, topic, payload)

    return role


def receive(sender, count=1, topic="value"):
    async def role(link):
        return [await link.receive(sender, topic) for _ in range(count)]

    return role


async def idle(link):
    pass


def threads_of_connections():
    return [t for t in threading.enumerate() if "_send_frames" in t.name or "_listen" in t.name]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not threads_of_connections()


# --- what works -------------------------------------------------------------------------------

PAYLOADS = [None, {"a": (1, 2**100)}, np.arange(50_000.0), "ü", [np.zeros((2, 0)), b""]]


def test_results_and_bytes_are_those_of_the_in_process_run():
    roles = {"a": send("b", *PAYLOADS), "b": receive("a", len(PAYLOADS))}
    expected = network.run(roles)
    net = Network("ab")
    results, errors = net.run(roles)
    assert not errors
    assert codec.encode(results["b"]).join() == codec.encode(expected.results["b"]).join()
    for name in "ab":
        seen = net.endpoints[name].messages
        assert [m[:4] for m in seen] == [m[:4] for m in expected.transcript]
        assert [m.bytes for m in seen] == [m.bytes for m in expected.transcript]
        for message, payload in zip(seen, PAYLOADS, strict=True):
            assert codec.encode(message.payload).join() == codec.encode(payload).join()


def test_recorded_bytes_are_those_on_the_wire():
    net = Network("ab")
    net.run({"a": send("b", *PAYLOADS), "b": receive("a", len(PAYLOADS))})
    goodbye = channel.frame_size(len(channel.GOODBYE), len("it ended without sending it"))
    assert net.wires["ab"].sent == sum(m.bytes for m in net.endpoints["a"].messages) + goodbye
    assert net.wires["ba"].sent == goodbye


def test_two_who_send_much_to_each_other_first_do_not_block():
    big = np.zeros(2_000_000)  # more than any socket buffer

    def role(other):
        async def exchange(link):
            await link.send(other, "value", big)
            return (await link.receive(other, "value")).nbytes

        return exchange

    results, errors = Network("ab").run({"a": role("b"), "b": role("a")})
    assert not errors and results == {"a": big.nbytes, "b": big.nbytes}


def test_unread_messages_are_listed_and_received_lists_are_ones_own():
    async def reader(link):
        got = await link.receive("a", "value")
        got.append("mine")

    net = Network("ab")
    net.run({"a": send("b", [1], [2]), "b": reader})
    assert [m.payload for m in net.endpoints["b"].messages] == [[1], [2]]
    assert net.mailboxes["b"].unread() == [("b", "a", "value", 0)]


@dataclass
class Double:
    value: int
    batch_key: str = "same"

    @classmethod
    def run_together(cls, jobs):
        return [job.value * 2 for job in jobs]


def test_compute_runs_the_job_alone_and_anything_else_is_refused():
    async def computes(link):
        return await link.compute(Double(4))

    async def awaits(link):
        await Strange()

    class Strange:
        def __await__(self):
            yield 5

    results, errors = Network("ab").run({"a": computes, "b": awaits})
    assert results == {"a": 8}
    assert "'b' may await only its link's operations, got 5" in str(errors["b"])


def test_a_slow_wire_delivers_what_was_sent_before_the_end():
    slow = lambda frames: time.sleep(0.15) or frames[-1]  # noqa: E731
    net = Network("ab", changes={"ab": slow})
    _, errors = net.run({"a": send("b", 1, 2), "b": idle})
    assert not errors
    assert [m.payload for m in net.endpoints["b"].messages] == [1, 2]


# --- what an attacker does to frames ----------------------------------------------------------


def flip(position):
    def change(frames):
        lengths, frame = frames[-1]
        if len(frames) == 1:
            frame = bytearray(frame)
            frame[position] ^= 1
        return [lengths, frame]

    return change


def drop_first(frames):
    return [] if len(frames) == 1 else frames[-1]


def repeat_first(frames):
    return frames[-1] * (2 if len(frames) == 1 else 1)


def swap_first_two(frames):
    return {1: [], 2: frames[1 % len(frames)] + frames[0]}.get(len(frames), frames[-1])


def cut_short(frames):
    lengths, frame = frames[-1]
    head, sealed = connection.LENGTHS.unpack(lengths)
    return [connection.LENGTHS.pack(head, sealed - 1), frame[:-1]]


def lengthen(frames):
    lengths, frame = frames[-1]
    head, sealed = connection.LENGTHS.unpack(lengths)
    return [connection.LENGTHS.pack(head, sealed + 1), frame + b"\0"]


def shift_border(frames):
    lengths, frame = frames[-1]
    head, sealed = connection.LENGTHS.unpack(lengths)
    return [connection.LENGTHS.pack(head - 1, sealed + 1), frame]


@pytest.mark.parametrize(
    "change",
    [
        flip(0),
        flip(3),
        flip(15),
        flip(-1),
        drop_first,
        swap_first_two,
        cut_short,
        lengthen,
        shift_border,
    ],
)
def test_a_changed_frame_is_refused_by_name_and_nothing_behind_it_is_read(change):
    net = Network("ab", changes={"ab": change})
    results, errors = net.run({"a": send("b", 1, 2, 3), "b": receive("a")})
    assert "b" not in results
    assert type(errors["b"]) is TamperedMessage
    assert errors["b"].parties == ("a",)
    assert net.endpoints["b"].messages == []


def test_a_repeated_frame_is_refused_after_it_was_read_once():
    net = Network("ab", changes={"ab": repeat_first})
    _, errors = net.run({"a": send("b", 1, 2), "b": receive("a", 2)})
    assert type(errors["b"]) is TamperedMessage and errors["b"].parties == ("a",)
    assert [m.payload for m in net.endpoints["b"].messages] == [1]


def test_another_identity_is_refused():
    net = Network("ab", keys=KEYS | {"ab": bytes(31) + b"x"})
    _, errors = net.run({"a": send("b", 1), "b": receive("a")})
    assert type(errors["b"]) is TamperedMessage and errors["b"].parties == ("a",)


def test_a_reflected_frame_is_refused():
    """A party's own frames, sent back to it, are under the key of the other direction."""
    captured = []
    capture = lambda frames: captured.append(frames[-1]) or frames[-1]  # noqa: E731
    Network("ab", changes={"ab": capture}).run({"a": send("b", 1), "b": receive("a")})
    reflect = lambda frames: captured[0]  # noqa: E731
    _, errors = Network("ab", changes={"ba": reflect}).run({"a": receive("b"), "b": send("a", 1)})
    assert type(errors["a"]) is TamperedMessage


@pytest.mark.parametrize(
    "lengths", [(2**63, 2**63), (1, 2**31 - 1), (0, 40), (40, 0), (2**64 - 1, 1)]
)
def test_an_absurd_length_is_refused_before_anything_is_allocated(lengths):
    change = lambda frames: [struct.pack(">QQ", *lengths), b"x" * 64]  # noqa: E731
    net = Network("ab", changes={"ab": change})
    asked = []
    receive_bytes = net.wires["ba"].receive
    net.wires["ba"].receive = lambda size: asked.append(size) or receive_bytes(size)
    _, errors = net.run({"a": send("b", 1), "b": receive("a")})
    assert type(errors["b"]) is MalformedMessage and errors["b"].parties == ("a",)
    assert "announced a frame" in str(errors["b"])
    assert all(size < 100 for size in asked)


def test_a_message_that_is_too_long_is_refused_at_its_sender(monkeypatch):
    monkeypatch.setattr(connection, "LARGEST_FRAME", 1000)
    _, errors = Network("ab").run({"a": send("b", bytes(1000)), "b": receive("a")})
    assert isinstance(errors["a"], ValueError) and "send it in parts" in str(errors["a"])
    assert type(errors["b"]) is MissingMessage
    _, errors = Network("ab").run({"a": send("b", bytes(900)), "b": receive("a")})
    assert not errors


# --- what a lying party sends -----------------------------------------------------------------


def lying(head, body):
    """A role that seals nonsense with its own true key, ahead of a good message."""

    async def role(link):
        to_b = link._endpoint._connections["b"]
        to_b._queue(head(next(to_b._sent)), 0, body)
        await link.send("b", "value", "good")

    return role


def test_a_payload_that_does_not_decode_names_its_sender_and_no_other_takes_its_place():
    role = lying(lambda number: channel.envelope("value", 0, number), b"\xff\xff\xff\xff")
    net = Network("abc")

    async def reads(link):
        got = await link.gather(["a", "c"], "value", at_least=1)
        with pytest.raises(MalformedMessage) as caught:
            await link.receive("a", "value")
        assert caught.value.parties == ("a",) and "not an encoded payload" in str(caught.value)
        return got

    results, errors = net.run({"a": role, "b": reads, "c": send("b", "fine")})
    assert not errors and results["b"] == {"c": "fine"}


def test_an_envelope_that_is_none_names_its_sender():
    role = lying(lambda number: b"\x93\x01\x02\x03", codec.encode("x").join())
    _, errors = Network("ab").run({"a": role, "b": receive("a")})
    assert type(errors["b"]) is MalformedMessage and errors["b"].parties == ("a",)


# --- who is missing ---------------------------------------------------------------------------


def test_one_who_ended_is_missing_at_once_and_one_who_failed_says_how():
    async def fails(link):
        raise ZeroDivisionError("private")

    start = time.monotonic()
    _, errors = Network("abc").run({"a": receive("b"), "b": idle, "c": idle})
    assert type(errors["a"]) is MissingMessage and errors["a"].parties == ("b",)
    _, errors = Network("ab").run({"a": receive("b"), "b": fails})
    assert "'b' (it ended with ZeroDivisionError)" in str(errors["a"])
    assert "private" not in str(errors["a"])
    assert time.monotonic() - start < 4  # nobody waited for a deadline


def vanish(net, name):
    """What the kernel does to the connections of a process that is killed."""

    async def role(link):
        for pair, wire in net.wires.items():
            if pair[0] == name:
                wire.cut()

    return role


def test_a_closed_connection_is_a_lost_party_by_name():
    net = Network("abc")
    _, errors = net.run({"a": receive("c"), "b": receive("a"), "c": vanish(net, "c")})
    assert type(errors["a"]) is LostParty and errors["a"].parties == ("c",)
    assert "closed before it said goodbye" in str(errors["a"])
    assert type(errors["b"]) is MissingMessage and errors["b"].parties == ("a",)
    assert "it ended with LostParty about ['c']" in str(errors["b"])


def test_gather_goes_on_without_the_lost_and_the_ended():
    async def gathers(link):
        return await link.gather(["b", "c"], "value", at_least=1)

    net = Network("abc", deadline=20, patience=20)
    start = time.monotonic()
    results, _ = net.run({"a": gathers, "b": send("a", 1), "c": vanish(net, "c")})
    assert results["a"] == {"b": 1}
    assert time.monotonic() - start < 10


def late(seconds):
    async def role(link):
        time.sleep(seconds)
        await link.send("a", "value", "late")

    return role


def test_gather_with_enough_waits_for_the_rest_until_its_patience_ends():
    async def gathers(link):
        return await link.gather(["b", "c"], "value", at_least=1)

    net = Network("abc", deadline=20, patience=0.3)
    results, _ = net.run({"a": gathers, "b": send("a", 1), "c": late(1.5)})
    assert results["a"] == {"b": 1}
    net = Network("abc", deadline=20, patience=10)
    results, _ = net.run({"a": gathers, "b": send("a", 1), "c": late(0.3)})
    assert results["a"] == {"b": 1, "c": "late"}
    net = Network("abc", deadline=20, patience=0)
    results, _ = net.run({"a": gathers, "b": late(0.3), "c": late(0.3)})
    assert results["a"]  # without enough it waits on


def test_a_wait_ends_at_the_deadline_and_names_who_was_silent():
    net = Network("ab", deadline=0.4, patience=0.1)
    start = time.monotonic()
    _, errors = net.run({"a": receive("b"), "b": late(1.5)})
    assert type(errors["a"]) is MissingMessage and errors["a"].parties == ("b",)
    assert "nothing came within 0.4 s" in str(errors["a"])
    assert time.monotonic() - start < 5


def test_the_gravest_reason_gives_the_error_its_type_and_all_are_named():
    async def gathers(link):
        return await link.gather(["b", "c"], "value", at_least=1)

    net = Network("abc", changes={"ba": flip(-1)})
    _, errors = net.run({"a": gathers, "b": send("a", 1), "c": idle})
    assert type(errors["a"]) is TamperedMessage and errors["a"].parties == ("b", "c")


def test_a_role_that_is_no_coroutine_is_refused():
    _, errors = Network("ab").run({"a": lambda link: 3, "b": idle})
    assert "the role of 'a' must be an async function" in str(errors["a"])
