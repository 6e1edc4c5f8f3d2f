"""What a run costs: accuracy, bytes, messages and rounds; seconds only as recorded beforehand."""

import functools
import json
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Protocol

import refimpl

from .formatting import human_bytes, significant
from .tables import show_table

MEASURED = Path(refimpl.__file__).resolve().parent.parent / "book" / "_data" / "measured.json"

_COLUMNS = ("accuracy", "sent per participant", "received per participant", "messages", "rounds")


class Transcript(Protocol):
    """The part of a transcript that a cost is counted from (see ``refimpl.network``)."""

    @property
    def messages(self) -> Sized: ...
    def bytes_sent(self) -> Mapping[str, int]: ...
    def bytes_received(self) -> Mapping[str, int]: ...


class Run(Protocol):
    """The part of a collaboration's run that a cost card shows."""

    @property
    def accuracy(self) -> float: ...
    @property
    def rounds(self) -> int: ...
    @property
    def participants(self) -> Sequence[str]: ...
    @property
    def transcript(self) -> Transcript: ...


def cost_card(
    runs: Run | Mapping[str, Run],
    *,
    seconds: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    caption: str = "What it costs",
) -> None:
    """Show accuracy, bytes, messages and rounds of a run, or of several under their labels.

    Bytes are those of whole messages as they travel, averaged over the participants: what one
    of them sends and what is sent to one of them. A server's own bytes are the other end of the
    same messages, so they are not counted again. ``messages`` is the total.

    ``seconds`` is a key of the recorded measurements (see ``measured``), or one for each label:
    a time is never taken on the page, because it would differ with every run.
    """
    several = isinstance(runs, Mapping)
    labelled: Mapping[str, Run] = runs if isinstance(runs, Mapping) else {"": runs}
    if not labelled:
        raise ValueError("cost_card needs at least one run, got an empty mapping")
    cells = [_row(run) for run in labelled.values()]
    columns, note = list(_COLUMNS), ""
    if seconds is not None:
        keys = _keys_by_label(seconds, list(labelled))
        for row, label in zip(cells, labelled, strict=True):
            row.append(significant(float(measured(*keys[label]))) if label in keys else "–")
        columns.append("seconds")
        note = "Seconds were recorded beforehand on one machine; running this page changes nothing."
    show_table(
        caption,
        ["run"] if several else [],
        columns,
        [[label] if several else [] for label in labelled],
        cells,
        numeric=[True] * len(columns),
        css_class="cost-card",
        note=note,
    )


def _row(run: Run) -> list[str]:
    sent, received, messages = traffic(run)
    return [
        f"{run.accuracy:.4f}",
        human_bytes(sent),
        human_bytes(received),
        f"{messages:,}",
        f"{run.rounds:,}",
    ]


def traffic(run: Run) -> tuple[float, float, int]:
    """(bytes sent, bytes received) by one participant on average, and the number of messages."""
    names = list(run.participants)
    if not names:
        raise ValueError("the run has no participants, so nothing can be counted per participant")
    sent, received = run.transcript.bytes_sent(), run.transcript.bytes_received()
    return (
        sum(sent.get(name, 0) for name in names) / len(names),
        sum(received.get(name, 0) for name in names) / len(names),
        len(run.transcript.messages),
    )


def _keys_by_label(
    seconds: Sequence[str] | Mapping[str, Sequence[str]], labels: list[str]
) -> dict[str, Sequence[str]]:
    if not isinstance(seconds, Mapping):
        if len(labels) > 1:
            raise ValueError(
                "seconds must be a mapping of label to key when there are several runs"
            )
        return {labels[0]: seconds}
    if unknown := sorted(set(seconds) - set(labels)):
        raise ValueError(f"seconds names {unknown}, but the runs are {labels}")
    return dict(seconds)


def measured(*keys: str) -> Any:
    """A recorded measurement: ``measured("matrix", "indirect", "seconds")``.

    Raises ``FileNotFoundError`` when nothing has been recorded yet, and ``KeyError`` naming the
    first key that is not there; both say which command records it.
    """
    value: Any = _recorded(MEASURED)
    for depth, key in enumerate(keys):
        if not isinstance(value, Mapping) or key not in value:
            there = ", ".join(sorted(value)) if isinstance(value, Mapping) else "a single value"
            raise KeyError(
                f"{MEASURED.name} has no {'.'.join(keys[: depth + 1])} (there is: {there}). "
                "Run `make bench` or `make matrix` to record it."
            )
        value = value[key]
    return value


@functools.cache
def _recorded(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise FileNotFoundError(
            f"book/_data/{path.name} is not there. Run `make bench` and `make matrix` to record it."
        )
    return json.loads(path.read_text(encoding="utf-8"))
