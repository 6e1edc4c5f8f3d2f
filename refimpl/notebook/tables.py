"""A data frame as an accessible table: a caption, scoped headers, few digits."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from refimpl.notebook.display import show
from refimpl.notebook.formatting import readable

if TYPE_CHECKING:
    import pandas as pd

Formats = Mapping[str, Callable[..., str]]


def table(frame: "pd.DataFrame", caption: str, *, formats: Formats | None = None) -> None:
    """Show a data frame, its index as row headers, numbers in at most four digits.

    ``formats`` maps a column to a function that turns a value into text, for example
    ``{"bytes": human_bytes}``. Counts (integers) are shown in full, missing values as a dash.

    Raises ``ValueError`` for an empty caption, for nested columns and for a format of a column
    that is not there.
    """
    if frame.columns.nlevels > 1:
        raise ValueError("table shows frames with one level of columns; flatten them first")
    columns = [str(column) for column in frame.columns]
    chosen = dict(formats or {})
    if unknown := sorted(set(chosen) - set(columns)):
        raise ValueError(f"formats names the columns {unknown}, but the frame has {columns}")
    headers = [
        [readable(part) for part in (key if isinstance(key, tuple) else (key,))]
        for key in frame.index
    ]
    cells = [
        [
            chosen.get(name, readable)(value) if not _missing(value) else "–"
            for name, value in zip(columns, row, strict=True)
        ]
        for row in frame.itertuples(index=False, name=None)
    ]
    numeric = [frame.iloc[:, place].dtype.kind in "iuf" for place in range(len(columns))]
    corner = [str(name) if name is not None else "" for name in frame.index.names]
    show_table(caption, corner, columns, headers, cells, numeric=numeric)


def _missing(value: object) -> bool:
    # NA of pandas first: it refuses to be compared.
    return value is None or type(value).__name__ in {"NAType", "NaTType"} or value != value


def show_table(
    caption: str,
    corner: Sequence[str],
    columns: Sequence[str],
    headers: Sequence[Sequence[str]],
    cells: Sequence[Sequence[str]],
    *,
    numeric: Sequence[bool],
    css_class: str = "data-table",
    note: str = "",
) -> None:
    """Show texts as a table: ``headers`` are the row headers, ``corner`` their columns' names."""
    if not caption.strip():
        raise ValueError("a table needs a caption: say what it shows")
    rows = [[*header, *row] for header, row in zip(headers, cells, strict=True)]
    show(
        _as_text(caption, [[*corner, *columns], *rows], note),
        html=_as_html(caption, corner, columns, headers, cells, numeric, css_class, note),
    )


def _as_text(caption: str, rows: list[list[str]], note: str) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([caption, "", *lines, *(["", note] if note else [])])


def _as_html(
    caption: str,
    corner: Sequence[str],
    columns: Sequence[str],
    headers: Sequence[Sequence[str]],
    cells: Sequence[Sequence[str]],
    numeric: Sequence[bool],
    css_class: str,
    note: str,
) -> str:
    classes = [' class="numeric"' if flag else "" for flag in numeric]
    top = "".join(_corner_cell(name) for name in corner) + "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for name, kind in zip(columns, classes, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<th scope="row">{escape(text)}</th>' for text in header)
        + "".join(f"<td{kind}>{escape(text)}</td>" for text, kind in zip(row, classes, strict=True))
        + "</tr>\n"
        for header, row in zip(headers, cells, strict=True)
    )
    # "dataframe" is the class that front ends and the book's theme style in both colour modes.
    table = f'<table class="dataframe">\n<caption>{escape(caption)}</caption>\n'
    # Focusable, so that a wide table can be scrolled from the keyboard on a narrow screen.
    return (
        f'<div class="{css_class}" role="group" aria-label="{escape(caption)}" tabindex="0">\n'
        f"{table}<thead><tr>{top}</tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n</table>\n"
        + (f'<p class="note">{escape(note)}</p>\n' if note else "")
        + "</div>"
    )


def _corner_cell(name: str) -> str:
    return f'<th scope="col">{escape(name)}</th>' if name else "<td></td>"
