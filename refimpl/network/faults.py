"""Network faults that a run may inject. They strike a message on its way, never a party."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from refimpl.network import channel

Address = tuple[str, str, int]  # sender, topic, round
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


def striking(faults: Sequence[Fault], receiver: str, address: Address) -> Fault | None:
    """The first fault that strikes a message, if any does.

    It depends on the address alone, so two messages of one address share their fault, and the
    second is never read in the place of a lost first.
    """
    sender, topic, round = address
    for fault in faults:
        if fault.strikes(sender, receiver, topic, round):
            return fault
    return None


def change(fault: Kind, head: bytes, number: int, body: bytes) -> str:
    """Seal a frame, change it as ``fault`` says, open it again: what its receiver finds."""
    key = secrets.token_bytes(channel.KEY_BYTES)
    sealed = bytearray(channel.seal(key, head, number, body))
    if fault == "truncate":
        del sealed[-1]
    else:
        sealed[len(sealed) // 2] ^= 1
    try:
        channel.open_sealed(key, head, number, bytes(sealed))
    except ValueError as error:
        return str(error)
    raise AssertionError("a changed frame passed its authentication tag")
