"""Who sends what to whom: a run's messages as a diagram in which time runs downwards."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from .figures import COLOURS, figure
from .formatting import human_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.42  # inches; with the widths below, labels stay readable on a telephone
_COLUMN, _LABELS = 1.0, 1.75


class Message(Protocol):
    """The part of a message that a diagram shows (see ``refimpl.network``)."""

    @property
    def sender(self) -> str: ...
    @property
    def receiver(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def bytes(self) -> int: ...


def sequence(
    messages: Sequence[Message],
    parties: Sequence[str],
    *,
    alt: str,
    notes: Mapping[int, tuple[str, str]] | None = None,
) -> None:
    """Draw each message as an arrow between two of ``parties``, in order, with topic and size.

    ``notes`` maps a number of messages to a party and what it does once so many have travelled:
    ``{3: ("server", "train")}``. Raises ``ValueError`` for a message or a note of another party.
    """
    notes = dict(notes or {})
    named = [name for message in messages for name in (message.sender, message.receiver)]
    unknown = {*named, *(party for party, _ in notes.values())} - set(parties)
    if unknown:
        raise ValueError(f"parties must hold every sender and receiver, {sorted(unknown)} missing")
    place = {name: x for x, name in enumerate(parties)}
    topics = list(dict.fromkeys(message.topic for message in messages))
    rows = len(messages) + len(notes)
    width = _COLUMN * len(parties) + _LABELS
    with figure(alt, width=width, height=_ROW * (rows + 2.5)) as axes:
        axes.vlines(list(place.values()), 0, rows + 0.5, color="#777777", lw=1.2)
        for name, x in place.items():
            axes.text(x, -0.2, name.replace(" ", "\n"), ha="center", va="bottom", fontsize=12)
        time = 0
        for number, message in enumerate(messages, start=1):
            time += 1
            _draw_message(axes, time, message, place, COLOURS[topics.index(message.topic)])
            if number in notes:
                time += 1
                party, text = notes[number]
                _draw_note(axes, time, place[party], text)
        axes.set(xlim=(-0.5, (width - 0.3) / _COLUMN - 0.5), ylim=(rows + 0.5, -1.6))
        axes.axis("off")


def _draw_message(
    axes: "Axes", time: int, message: Message, place: Mapping[str, int], colour: str
) -> None:
    start, end = (place[message.sender], time), (place[message.receiver], time)
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": 2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrow)
    label = f"{message.topic}, {human_bytes(message.bytes)}"
    axes.text(len(place) - 0.8, time, label, va="center", fontsize=12)  # clear of all arrows


def _draw_note(axes: "Axes", time: int, x: int, text: str) -> None:
    box = {"boxstyle": "round", "fc": "white", "ec": "#444444"}
    axes.text(x, time, text, ha="center", va="center", fontsize=12, bbox=box)
