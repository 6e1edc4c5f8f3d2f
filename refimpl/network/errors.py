"""What can go wrong between parties. Every error names who and what."""

from collections.abc import Iterable


class NetworkError(RuntimeError):
    """A protocol could not go on. ``parties`` names those the error is about."""

    def __init__(self, text: str, parties: Iterable[str] = ()):
        super().__init__(text)
        self.parties = tuple(sorted(parties))


def ending(error: Exception) -> str:
    """How a party ended, for the others. Not the error's text, which may hold what is private."""
    about = error.parties if isinstance(error, NetworkError) else ()
    return f"it ended with {type(error).__name__}" + (f" about {list(about)}" if about else "")


class MissingMessage(NetworkError):
    """A party waits for a message that will never come."""


class Deadlock(NetworkError):
    """Parties wait for each other in a circle, and no message is under way."""


class TamperedMessage(NetworkError):
    """A message failed its authentication tag: it was changed or cut on the way."""


class MalformedMessage(NetworkError):
    """A message arrived whole, but does not hold what its reader must find in it."""


class LostParty(NetworkError):
    """The process or the connection of a party is gone."""
