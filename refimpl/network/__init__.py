"""Parties that exchange messages: roles as coroutines, a runner, and a record of all of it.

A role is an ``async`` function that is given only what its party knows, and a ``Link``. ``run``
drives all roles in one process; ``refimpl.network.torch_distributed.run`` drives one of them,
each in a process of its own, over a real network.
"""

from refimpl.network.errors import (
    Deadlock,
    LostParty,
    MalformedMessage,
    MissingMessage,
    NetworkError,
    TamperedMessage,
)
from refimpl.network.faults import Fault
from refimpl.network.link import Link
from refimpl.network.runner import Outcome, run
from refimpl.network.transcript import Message, Transcript

__all__ = [
    "Deadlock",
    "Fault",
    "Link",
    "LostParty",
    "MalformedMessage",
    "Message",
    "MissingMessage",
    "NetworkError",
    "Outcome",
    "TamperedMessage",
    "Transcript",
    "run",
]
