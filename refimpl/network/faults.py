"""Network faults that a run may inject. They strike a message on its way, never a party."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["drop", "delay", "duplicate", "truncate", "tamper"]


@dataclass(frozen=True)
class Fault:
    """What happens to each message that agrees with every field given (``None``: any).

    - ``drop``: it never arrives.
    - ``delay``: it arrives once nobody else can move; too late for a ``gather`` that could go on.
    - ``duplicate``: it arrives twice. The second copy fails the replay check and is ignored.
    - ``truncate``, ``tamper``: its last byte is cut off, or one of its bits is flipped.
    """

    kind: Kind
    sender: str | None = None
    receiver: str | None = None
    topic: str | None = None
    round: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {get_args(Kind)}, got {self.kind!r}")

    def strikes(self, sender: str, receiver: str, topic: str, round: int) -> bool:
        """Whether a message with this address is struck."""
        return (
            self.sender in (None, sender)
            and self.receiver in (None, receiver)
            and self.topic in (None, topic)
            and self.round in (None, round)
        )


def kind_for(
    faults: Sequence[Fault], sender: str, receiver: str, topic: str, round: int
) -> Kind | None:
    """The kind of the first fault that strikes the message, if any does."""
    for fault in faults:
        if fault.strikes(sender, receiver, topic, round):
            return fault.kind
    return None
