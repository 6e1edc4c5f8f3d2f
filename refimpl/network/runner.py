"""The in-process runner: every party a coroutine, on one thread, in a deterministic order.

It is not asyncio: it starts at once inside Jupyter's running event loop, and one message costs
microseconds. Parties run until they wait. When nobody can move, it goes on in this order: the
computations asked for, batched; a ``gather`` that has enough; messages held back by a ``delay``
fault; and at last an error for whoever waits in vain.

Links are authenticated. Only a struck frame is really sealed, changed and opened (``channel``);
for the others the runner stands in for the tag, and counts its bytes.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from refimpl.network import channel, codec
from refimpl.network.errors import Deadlock, MissingMessage, NetworkError, TamperedMessage, ending
from refimpl.network.faults import Address, Fault, Kind, change, striking
from refimpl.network.link import Link, Reason, Role, Want, Work, begin, compute
from refimpl.network.transcript import Message, Transcript


@dataclass(frozen=True)
class Outcome:
    """How a run ended: each party's return value or error, and all that travelled.

    ``unread`` lists ``(receiver, sender, topic, round)`` of messages that arrived, but that
    their receiver never asked for (a straggler's, say).
    """

    results: dict[str, Any]
    errors: dict[str, Exception]
    transcript: Transcript
    unread: list[tuple[str, str, str, int]]


def run(
    roles: Mapping[str, Role],
    *,
    required: Collection[str] | None = None,
    faults: Sequence[Fault] = (),
    record: Literal["payloads", "sizes"] = "payloads",
) -> Outcome:
    """Run one coroutine a party until all have ended.

    ``roles`` maps each party's name to a function that takes its ``Link`` and returns the
    coroutine. If a party in ``required`` (default: all) ends with an error, the first such error
    is raised, with the party's name in a note; the errors of the others are in the outcome.
    ``record="sizes"`` keeps no payloads in the transcript, where memory matters.
    Raises ``ValueError`` for a fault that struck no message: its address may be mistyped, or an
    earlier fault in ``faults`` strikes all that it would.
    """
    if record not in ("payloads", "sizes"):
        raise ValueError(f"record must be 'payloads' or 'sizes', got {record!r}")
    _check_names("required", required or (), roles)
    struck = [name for fault in faults for name in (fault.sender, fault.receiver)]
    _check_names("a fault's parties", (name for name in struck if name is not None), roles)
    scheduler = _Scheduler(tuple(roles), tuple(faults), record == "payloads")
    try:
        scheduler.start(roles)
        scheduler.run()
    finally:
        scheduler.close()
    for name, error in scheduler.errors.items():  # in the order in which they were raised
        if required is None or name in required:
            error.add_note(f"raised in the role of {name!r}")
            raise error
    for fault in faults:
        if fault in scheduler.unused:
            raise ValueError(f"a fault must strike a message, {fault} struck none")
    return Outcome(
        scheduler.results,
        scheduler.errors,
        Transcript(scheduler.messages, scheduler.order),
        [
            (receiver, *address)
            for receiver, box in scheduler.boxes.items()
            for address, queue in box.items()
            for _ in queue
        ],
    )


def _check_names(what: str, names: Iterable[str], roles: Mapping[str, Role]) -> None:
    unknown = set(names) - set(roles)
    if unknown:
        raise ValueError(f"{what} must be among the roles {sorted(roles)}, got {sorted(unknown)}")


class _Endpoint:
    """The scheduler as one party may use it."""

    __slots__ = ("fetch", "peers", "post")

    def __init__(self, scheduler: "_Scheduler", name: str):
        self.peers = scheduler.names
        self.post = partial(scheduler.post, name)
        self.fetch = partial(scheduler.fetch, name)


@dataclass
class _Scheduler:
    order: tuple[str, ...]
    faults: tuple[Fault, ...]
    payloads: bool
    messages: list[Message] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = frozenset(self.order)
        self.coroutines: dict[str, Coroutine[Any, Any, Any]] = {}
        self.boxes: dict[str, dict[Address, deque[Any]]] = {name: {} for name in self.order}
        self.broken: dict[tuple[str, Address], Reason] = {}  # why a struck message cannot be read
        self.delayed: list[tuple[str, Address, Any]] = []
        self.ready: deque[tuple[str, Any]] = deque()  # a party and what its coroutine is sent
        self.waiting: dict[str, Want] = {}
        self.working: dict[str, Work] = {}
        self.unused = set(self.faults)
        self.sequence: defaultdict[tuple[str, str], int] = defaultdict(int)

    def start(self, roles: Mapping[str, Role]) -> None:
        for name, role in roles.items():
            self.coroutines[name] = begin(role, Link(name, _Endpoint(self, name)))
            self.ready.append((name, None))

    def close(self) -> None:
        for coroutine in self.coroutines.values():
            coroutine.close()

    # --- messages -------------------------------------------------------------------------

    def post(self, sender: str, receiver: str, topic: str, round: int, payload: Any) -> None:
        encoded = codec.encode(payload)
        number = self.sequence[sender, receiver]
        self.sequence[sender, receiver] = number + 1
        head = channel.envelope(topic, round, number)
        size = channel.frame_size(len(head), encoded.size)
        address = (sender, topic, round)
        fault = self.strike(receiver, address) if self.faults else None
        received = payload
        if type(payload) not in codec.IMMUTABLE:
            encoded = codec.copy(encoded)
            received = codec.restore(encoded)
        kept = received if self.payloads else None
        if isinstance(kept, (list, dict, tuple)):  # the receiver may change its own
            kept = codec.restore(encoded)
        self.messages.append(Message(sender, receiver, topic, round, kept, size, fault))
        if fault in (None, "duplicate"):  # a second copy fails the replay check
            self.deliver(receiver, address, received)
        elif fault == "drop":
            self.broken[receiver, address] = MissingMessage, "its message was lost"
        elif fault in ("tamper", "truncate"):
            reason = change(fault, head, number, encoded.join())
            self.broken[receiver, address] = TamperedMessage, reason
        elif fault == "delay":
            self.delayed.append((receiver, address, received))

    def strike(self, receiver: str, address: Address) -> Kind | None:
        """The kind of the fault that strikes this message, if one does."""
        struck = striking(self.faults, receiver, address)
        if struck is None:
            return None
        self.unused.discard(struck)
        return struck.kind

    def deliver(self, receiver: str, address: Address, payload: Any) -> None:
        self.boxes[receiver].setdefault(address, deque()).append(payload)
        want = self.waiting.get(receiver)
        if want and address[1:] == (want.topic, want.round):
            want.missing.discard(address[0])
            if not want.missing:
                self.resolve(receiver)

    def fetch(self, receiver: str, want: Want) -> dict[str, Any] | None:
        """The answer to ``want`` if it is complete."""
        box = self.boxes[receiver]
        want.missing = {s for s in want.senders if (s, want.topic, want.round) not in box}
        return None if want.missing else self.take(receiver, want)

    def take(self, receiver: str, want: Want) -> dict[str, Any]:
        box, got = self.boxes[receiver], {}
        for sender in want.senders:
            queue = box.get((sender, want.topic, want.round))
            if queue is not None:
                got[sender] = queue.popleft()
                if not queue:
                    del box[sender, want.topic, want.round]
        return got

    def resolve(self, receiver: str) -> None:
        """Wake a party that waits with what has arrived."""
        self.ready.append((receiver, self.take(receiver, self.waiting.pop(receiver))))

    # --- parties --------------------------------------------------------------------------

    def run(self) -> None:
        while True:
            while self.ready:
                self.step(*self.ready.popleft())
            if self.working:
                self.work()
            elif (name := self.next_gather()) is not None:
                self.resolve(name)
            elif self.delayed:
                late, self.delayed = self.delayed, []
                for message in late:
                    self.deliver(*message)
            elif self.waiting:
                self.fail()
            else:
                return

    def step(self, name: str, value: Any) -> None:
        coroutine = self.coroutines[name]
        try:
            if isinstance(value, Exception):
                request = coroutine.throw(value)
            else:
                request = coroutine.send(value)
        except StopIteration as stop:
            self.results[name] = stop.value
        except Exception as error:  # a party's failure is a result of the run
            self.errors[name] = error
        else:
            if isinstance(request, Want):
                self.waiting[name] = request
            elif isinstance(request, Work):
                self.working[name] = request
            else:
                wrong = f"{name!r} may await only its link's operations, got {request!r}"
                self.ready.append((name, TypeError(wrong)))

    def work(self) -> None:
        batches: defaultdict[Any, list[str]] = defaultdict(list)
        for name in sorted(self.working):
            batches[self.working[name].batch].append(name)
        working, self.working = self.working, {}
        for names in batches.values():
            self.ready.extend(zip(names, compute([working[n].job for n in names]), strict=True))

    def next_gather(self) -> str | None:
        """The ``gather`` to give up waiting first, of those that have enough.

        One whose missing senders wait, directly or through others, for another such gather
        lets that one go first: they may yet answer.
        """
        able = [name for name, want in self.waiting.items() if want.enough]
        for name in able:
            if not self.upstream(name) & (set(able) - {name}):
                return name
        return able[0] if able else None

    def upstream(self, name: str) -> set[str]:
        """The parties for whom ``name`` waits, directly or through others."""
        found: set[str] = set()
        stack = [name]
        while stack:
            want = self.waiting.get(stack.pop())
            if want:
                stack.extend(want.missing - found)
                found |= want.missing
        return found

    def fail(self) -> None:
        """Nobody can move: raise where the cause lies, the others may then go on."""
        stuck = {
            name: error
            for name, want in self.waiting.items()
            if (error := self.explain(name, want)) is not None
        }
        if not stuck:
            circle = ", ".join(
                f"{name!r} waits for {want.topic!r} from {sorted(want.missing)}"
                for name, want in self.waiting.items()
            )
            text = f"nobody can move, and no message is under way: {circle}"
            stuck = {name: Deadlock(text, self.waiting) for name in self.waiting}
        for name, error in stuck.items():
            del self.waiting[name]
            self.ready.append((name, error))

    def explain(self, name: str, want: Want) -> NetworkError | None:
        """Why ``want`` can never be met, or ``None`` if enough of its parties may yet answer."""
        reasons: dict[str, Reason] = {}
        for sender in sorted(want.missing):
            address = (sender, want.topic, want.round)
            if (name, address) in self.broken:
                reasons[sender] = self.broken[name, address]
            elif sender in self.errors:
                reasons[sender] = MissingMessage, ending(self.errors[sender])
            elif sender in self.results:
                reasons[sender] = MissingMessage, "it ended without sending it"
        return want.unanswered(name, reasons) if want.hopeless(reasons) else None
