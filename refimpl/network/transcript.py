"""Every message of a run: who sent what to whom, in which round, and at how many bytes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple


class Message(NamedTuple):
    """One message as it was sent.

    ``bytes`` counts the frame as it travels: envelope, encoded payload and authentication tag.
    ``fault`` names what an injected network fault did to it (``None``: it arrived as sent).
    ``payload`` is ``None`` where the run recorded sizes only; its arrays are read-only.
    """

    sender: str
    receiver: str
    topic: str
    round: int
    payload: Any
    bytes: int
    fault: str | None = None

    @property
    def arrived(self) -> bool:
        """Whether its receiver got it: it was not dropped, tampered with or cut short."""
        return self.fault in (None, "delay", "duplicate")


class Transcript:
    """The messages of a run in the order of sending.

    It is the experimenter's instrument. What an adversary has is a ``view``: all that one party,
    or a coalition that pools its knowledge, sent and received.
    """

    def __init__(self, messages: list[Message] | None = None, parties: Iterable[str] = ()):
        self.messages: list[Message] = [] if messages is None else messages
        self.parties = frozenset(parties)  # those of the run, also if they said nothing

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    @property
    def bytes(self) -> int:
        """Bytes that travelled, all links together."""
        return sum(message.bytes for message in self.messages)

    def bytes_sent(self) -> Counter[str]:
        """Bytes sent by each party, arrived or not."""
        return _bytes_by("sender", self.messages)

    def bytes_received(self) -> Counter[str]:
        """Bytes of the messages that arrived at each party."""
        return _bytes_by("receiver", (message for message in self if message.arrived))

    def view(self, *parties: str) -> "Transcript":
        """What the coalition ``parties`` saw: the messages that one of them sent or received.

        A message that was dropped, tampered with or cut short was sent but not received.
        """
        known = self.parties.union(*((message.sender, message.receiver) for message in self))
        for party in parties:
            if party not in known:
                raise ValueError(f"a view is of parties of the run {sorted(known)}, got {party!r}")
        return Transcript(
            [
                message
                for message in self.messages
                if message.sender in parties or (message.receiver in parties and message.arrived)
            ],
            known,
        )

    def select(
        self,
        *,
        sender: str | None = None,
        receiver: str | None = None,
        topic: str | None = None,
        round: int | None = None,
    ) -> "Transcript":
        """The messages that agree with every argument given."""
        wanted = {"sender": sender, "receiver": receiver, "topic": topic, "round": round}
        tests = [(key, value) for key, value in wanted.items() if value is not None]
        return Transcript(
            [
                message
                for message in self.messages
                if all(getattr(message, key) == value for key, value in tests)
            ],
            self.parties,
        )


def _bytes_by(side: Literal["sender", "receiver"], messages: Iterable[Message]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for message in messages:
        totals[getattr(message, side)] += message.bytes
    return totals
