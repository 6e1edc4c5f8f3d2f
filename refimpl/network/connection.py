"""One role in a process of its own: authenticated connections to its peers, and the role's run.

A ``Wire`` carries bytes in order to one peer, gloo's or another. Each connection has one thread
that sends and one that listens; the process's own thread runs the role.
"""

import itertools
import queue
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from refimpl.network import channel, codec
from refimpl.network.errors import (
    LostParty,
    MalformedMessage,
    MissingMessage,
    NetworkError,
    TamperedMessage,
    ending,
)
from refimpl.network.link import Link, Reason, Role, Want, Work, begin, compute
from refimpl.network.mailbox import Mailbox
from refimpl.network.transcript import Message

LARGEST_FRAME = 2**31 - 1  # bytes, envelope and tag included: AES-GCM's limit in ``cryptography``
LENGTHS = struct.Struct(">QQ")  # of the envelope and of the sealed body, ahead of each frame
GRACE = 1.0  # seconds for the last words to a peer that may not be listening


class Wire(Protocol):
    """Bytes in order to and from one peer. Both block; ``ConnectionError`` once it is broken."""

    def send(self, data: bytearray) -> None: ...

    def receive(self, size: int) -> memoryview: ...

    def cut(self) -> None:
        """Break it, so that blocked threads of this process wake."""


class Endpoint:
    """The side of a link in this process. Messages of both directions are recorded here."""

    def __init__(self, name: str, mailbox: Mailbox, *, payloads: bool):
        self.name = name
        self.fetch = mailbox.fetch
        self.messages: list[Message] = []
        self._mailbox = mailbox
        self._payloads = payloads
        self._connections: dict[str, Connection] = {}

    @property
    def peers(self) -> frozenset[str]:
        return frozenset(self._connections)

    def connect(self, peer: str, wire: Wire, key: bytes, key_back: bytes) -> None:
        """Open the channel to ``peer`` under ``key``, and that from it under ``key_back``."""
        self._connections[peer] = Connection(wire, key, key_back)
        self._connections[peer].start(peer, self.arrive, self._mailbox.close)

    def post(self, receiver: str, topic: str, round: int, payload: Any) -> None:
        body = codec.encode(payload).join()
        size = self._connections[receiver].send(topic, round, body)
        self._record(self.name, receiver, topic, round, body, size)

    def arrive(self, sender: str, topic: str, round: int, body: bytes, size: int) -> None:
        """A message has arrived whole, on the thread that listens to ``sender``."""
        try:
            payload = codec.decode(body)
        except ValueError as error:
            self._mailbox.spoil((sender, topic, round), (MalformedMessage, str(error)))
        else:
            self._record(sender, self.name, topic, round, body, size)
            self._mailbox.put((sender, topic, round), payload)

    def _record(
        self, sender: str, receiver: str, topic: str, round: int, body: bytes, size: int
    ) -> None:
        payload = codec.decode(body) if self._payloads else None
        self.messages.append(Message(sender, receiver, topic, round, payload, size))

    def run(self, role: Role) -> Any:
        """Run ``role`` on this thread; its result, once the others have ended too."""
        farewell = None
        try:
            result = drive(begin(role, Link(self.name, self)), self._mailbox)
            farewell = "it ended without sending it"
        except Exception as error:
            farewell = ending(error)
            raise
        finally:
            self._leave(farewell)
        return result

    def _leave(self, farewell: str | None) -> None:
        """Say goodbye and wait for the others to end, unless interrupted (``None``)."""
        if farewell is not None:
            for connection in self._connections.values():
                connection.say_goodbye(farewell)
            self._mailbox.wait_until_gone(self.peers)
            for peer in self._mailbox.gone:
                self._connections[peer].join()
        for connection in self._connections.values():
            if connection.busy:
                connection.wire.cut()
        for connection in self._connections.values():
            connection.join()


def drive(coroutine: Coroutine[Any, Any, Any], mailbox: Mailbox) -> Any:
    """Run a role to its end on this thread; what it returns."""
    step: Callable[[Any], Any] = coroutine.send
    value: Any = None
    try:
        while True:
            try:
                request = step(value)
            except StopIteration as stop:
                return stop.value
            try:
                step, value = coroutine.send, _answer(request, mailbox)
            except Exception as error:
                step, value = coroutine.throw, error
    finally:
        coroutine.close()


def _answer(request: Any, mailbox: Mailbox) -> Any:
    if isinstance(request, Want):
        return mailbox.wait(request)
    if isinstance(request, Work):
        (result,) = compute([request.job])
        if isinstance(result, Exception):
            raise result
        return result
    raise TypeError(f"{mailbox.name!r} may await only its link's operations, got {request!r}")


class Connection:
    """The authenticated channel to one peer, and back."""

    def __init__(self, wire: Wire, key: bytes, key_back: bytes):
        self.wire = wire
        self._key = key
        self._key_back = key_back
        self._sent = itertools.count()
        self._outbox: queue.SimpleQueue[bytearray | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, peer: str, arrive: Callable[..., None], close: Callable[..., None]) -> None:
        """Send and listen. ``arrive`` is told each message, and ``close`` why there are no more."""
        self._threads = [
            threading.Thread(target=self._send_frames, daemon=True),
            threading.Thread(target=self._listen, args=(peer, arrive, close), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> bool:
        """Whether a thread of it still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Give its threads a moment to end."""
        for thread in self._threads:
            thread.join(GRACE)

    def send(self, topic: str, round: int, body: bytes) -> int:
        """Queue a message; the bytes of its frame."""
        size = channel.frame_size(len(channel.envelope(topic, round, 2**63)), len(body))
        if size > LARGEST_FRAME:
            raise ValueError(
                f"a message must be at most {LARGEST_FRAME} bytes with its envelope, got {size}: "
                "send it in parts"
            )
        number = next(self._sent)
        return self._queue(channel.envelope(topic, round, number), number, body)

    def say_goodbye(self, farewell: str) -> None:
        """Queue the last frame."""
        self._queue(channel.GOODBYE, next(self._sent), farewell.encode())
        self._outbox.put(None)

    def _queue(self, head: bytes, number: int, body: bytes) -> int:
        sealed = channel.seal(self._key, head, number, body)
        self._outbox.put(bytearray(LENGTHS.pack(len(head), len(sealed))))
        frame = bytearray(len(head) + len(sealed))
        frame[: len(head)] = head
        frame[len(head) :] = sealed
        self._outbox.put(frame)
        return channel.frame_size(len(head), len(body))

    def _send_frames(self) -> None:
        # Not on the role's thread: a send waits until its peer listens, and two that send to
        # each other first would wait forever. That a wire is broken is for the listener to tell.
        try:
            while (part := self._outbox.get()) is not None:
                self.wire.send(part)
        except ConnectionError:
            return

    def _listen(self, peer: str, arrive: Callable[..., None], close: Callable[..., None]) -> None:
        try:
            reason: Reason = MissingMessage, self._receive_until_goodbye(peer, arrive)
        except NetworkError as error:
            reason = type(error), str(error)
        except ConnectionError:
            reason = LostParty, "its connection closed before it said goodbye"
        except Exception as error:  # it would vanish with its thread
            reason = LostParty, f"its messages cannot be read: {type(error).__name__}: {error}"
        close(peer, reason)

    def _receive_until_goodbye(self, peer: str, arrive: Callable[..., None]) -> str:
        for number in itertools.count():
            head, sealed = self._receive_frame()
            try:
                # The number is the nonce: a frame repeated, left out or moved fails its tag.
                body = channel.open_sealed(self._key_back, head, number, sealed)
            except ValueError as error:
                raise TamperedMessage(f"{error}, or another identity sealed it") from None
            if head == channel.GOODBYE:
                break
            try:
                topic, round, _ = channel.read_envelope(head)
            except ValueError as error:
                raise MalformedMessage(str(error)) from None
            arrive(peer, topic, round, body, channel.frame_size(len(head), len(body)))
        return body.decode(errors="replace")

    def _receive_frame(self) -> tuple[bytes, memoryview]:
        head, sealed = LENGTHS.unpack(self.wire.receive(LENGTHS.size))
        if not head or not sealed or head + sealed > LARGEST_FRAME:
            raise MalformedMessage(
                f"it announced a frame of {head} + {sealed} bytes, at most {LARGEST_FRAME} allowed"
            )
        frame = self.wire.receive(head + sealed)
        return bytes(frame[:head]), frame[head:]
