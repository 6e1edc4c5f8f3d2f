"""What a run costs: accuracy, bytes, messages and rounds; seconds only as recorded beforehand."""

from collections.abc import Mapping, Sequence, Sized
from typing import Protocol

from refimpl.notebook.formatting import human_bytes, significant
from refimpl.notebook.measurements import measured
from refimpl.notebook.tables import show_table

_COLUMNS = ("sent per participant", "received per participant", "messages", "rounds")


class Task(Protocol):
    """The part of a task that a cost card names."""

    @property
    def metric(self) -> str: ...


class Run(Protocol):
    """The part of a collaboration's run that a cost card shows (see ``refimpl.collaboration``)."""

    @property
    def task(self) -> Task: ...

    @property
    def accuracy(self) -> float: ...
    @property
    def rounds(self) -> int: ...
    @property
    def sent(self) -> float: ...
    @property
    def received(self) -> float: ...
    @property
    def transcript(self) -> Sized: ...


def cost_card(
    runs: Run | Mapping[str, Run],
    *,
    seconds: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    caption: str = "What it costs",
) -> None:
    """Show accuracy, bytes, messages and rounds of a run, or of several under their labels.

    The first column is the task's metric on its test examples: accuracy, or R² for regression.

    Bytes are those of whole messages as they travel, averaged over the participants: what one
    of them sends and what arrives at one of them. A server's own bytes are the other end of the
    same messages, so they are not counted again. ``messages`` is the total.

    ``seconds`` is a key of the recorded measurements (see ``measured``), or one for each label:
    a time is never taken on the page, because it would differ with every run.
    """
    several = isinstance(runs, Mapping)
    labelled: Mapping[str, Run] = runs if isinstance(runs, Mapping) else {"": runs}
    if not labelled:
        raise ValueError("cost_card needs at least one run, got an empty mapping")
    metrics = {run.task.metric for run in labelled.values()}
    if len(metrics) > 1:
        raise ValueError(f"runs of one card must share a metric, got {sorted(metrics)}")
    cells = [_row(run) for run in labelled.values()]
    columns, note = [*metrics, *_COLUMNS], ""
    if seconds is not None:
        keys = _keys_by_label(seconds, list(labelled))
        for row, label in zip(cells, labelled, strict=True):
            row.append(significant(float(measured(*keys[label]))) if label in keys else "–")
        columns.append("seconds")
        note = _provenance({key[0] for key in keys.values()})
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
    return [
        f"{run.accuracy:.3f}",
        human_bytes(run.sent),
        human_bytes(run.received),
        f"{len(run.transcript):,}",
        f"{run.rounds:,}",
    ]


def _keys_by_label(
    seconds: Sequence[str] | Mapping[str, Sequence[str]], labels: list[str]
) -> dict[str, Sequence[str]]:
    keys = seconds.values() if isinstance(seconds, Mapping) else [seconds]
    if wrong := [key for key in keys if isinstance(key, str)]:
        raise ValueError(
            f"a key of seconds must be a tuple of names, got {wrong[0]!r}: "
            f"write ({wrong[0]!r},), or ({wrong[0]!r}, ...) with the names below it"
        )
    if not isinstance(seconds, Mapping):
        if len(labels) > 1:
            raise ValueError(
                "seconds must be a mapping of label to key when there are several runs"
            )
        return {labels[0]: seconds}
    if unknown := sorted(set(seconds) - set(labels)):
        raise ValueError(f"seconds names {unknown}, but the runs are {labels}")
    return dict(seconds)


def _provenance(sections: set[str]) -> str:
    """Where and when the seconds were measured, as their sections of the record say."""
    places = {(measured(name).get("machine"), measured(name).get("date")) for name in sections}
    known = sorted(f"{machine}, {date}" for machine, date in places if machine and date)
    told = f" ({'; '.join(known)})" if known else ""
    return f"Seconds were recorded beforehand{told}; running this page changes nothing."
