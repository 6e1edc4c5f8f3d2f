"""What has arrived at one party over a real network, and who can send it no more.

One thread a peer fills it, and the party's own thread reads it. Every wait is bounded.
"""

import threading
import time
from collections import deque
from typing import Any

from refimpl.network.errors import MissingMessage
from refimpl.network.faults import Address
from refimpl.network.link import Reason, Want


class Mailbox:
    """The messages for ``name``. ``deadline`` and ``patience`` are seconds.

    A wait ends at the ``deadline`` at the latest. A ``gather`` that has enough gives the others
    until ``patience``. Both end early where all who are missing can send no more.
    """

    def __init__(self, name: str, *, deadline: float, patience: float):
        self.name = name
        self.deadline = deadline
        self.patience = patience
        self.boxes: dict[Address, deque[Any]] = {}
        self.spoiled: dict[Address, Reason] = {}
        self.gone: dict[str, Reason] = {}
        self._changed = threading.Condition()

    def put(self, address: Address, payload: Any) -> None:
        """A message has arrived. Behind a spoiled one it is never read in that one's place."""
        with self._changed:
            if address not in self.spoiled:
                self.boxes.setdefault(address, deque()).append(payload)
                self._changed.notify_all()

    def spoil(self, address: Address, reason: Reason) -> None:
        """A message has arrived that cannot be read."""
        with self._changed:
            self.spoiled.setdefault(address, reason)
            self._changed.notify_all()

    def close(self, sender: str, reason: Reason) -> None:
        """Nothing more can come from ``sender``."""
        with self._changed:
            self.gone.setdefault(sender, reason)
            self._changed.notify_all()

    def wait_until_gone(self, senders: frozenset[str]) -> None:
        """Wait until none of ``senders`` can send any more, or the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: senders <= self.gone.keys(), self.deadline)

    def fetch(self, want: Want) -> dict[str, Any] | None:
        """The answer to ``want`` if it is complete."""
        with self._changed:
            self._look(want)
            return None if want.missing else self._take(want)

    def wait(self, want: Want) -> dict[str, Any]:
        """The answer to ``want``, or the error that names who is missing and why."""
        start = time.monotonic()
        with self._changed:
            while True:
                self._look(want)
                reasons, waited = self._reasons(want), time.monotonic() - start
                if want.enough and (waited >= self.patience or want.missing == reasons.keys()):
                    return self._take(want)
                if waited >= self.deadline:
                    late = (MissingMessage, f"nothing came within {self.deadline:g} s")
                    reasons = {s: reasons.get(s, late) for s in sorted(want.missing)}
                if want.hopeless(reasons):
                    raise want.unanswered(self.name, reasons)
                until = self.patience if waited < self.patience else self.deadline
                self._changed.wait(until - waited)

    def unread(self) -> list[tuple[str, str, str, int]]:
        """``(receiver, sender, topic, round)`` of each message that nobody asked for."""
        with self._changed:
            return [(self.name, *address) for address, box in self.boxes.items() for _ in box]

    def _look(self, want: Want) -> None:
        addresses = {sender: (sender, want.topic, want.round) for sender in want.senders}
        want.missing = {
            sender for sender, address in addresses.items() if address not in self.boxes
        }

    def _take(self, want: Want) -> dict[str, Any]:
        got = {}
        for sender in want.senders:
            if sender not in want.missing:
                address = (sender, want.topic, want.round)
                got[sender] = self.boxes[address].popleft()
                if not self.boxes[address]:
                    del self.boxes[address]
        return got

    def _reasons(self, want: Want) -> dict[str, Reason]:
        """Who of the missing will never answer, in name order, and why."""
        reasons = {}
        for sender in sorted(want.missing):
            address = (sender, want.topic, want.round)
            if address in self.spoiled:
                reasons[sender] = self.spoiled[address]
            elif sender in self.gone:
                reasons[sender] = self.gone[sender]
        return reasons
