"""Timing by ratio.

Absolute times drift by a third from run to run on a shared machine, ratios of calls made in turn
do not. So ``compare`` calls the functions one after the other, round after round, in one process,
and reports for each the median over the rounds of its time divided by the first one's.

A row is {"work": what is done, "name": by whom, "ratio": time relative to the work's first row,
"seconds": median seconds of a call, "repeats": rounds, "note": differences that are not fair}.
``python -m bench`` records the rows with ``refimpl.notebook.measurements``.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

_SHORTEST = 0.1  # seconds; faster functions are called several times in a round

Row = dict[str, Any]


def compare(
    functions: Mapping[str, Callable[[], object]],
    *,
    work: str,
    repeats: int = 7,
    note: str = "",
) -> list[Row]:
    """Time the functions in turn, print their ratios to the first, and return a row for each.

    A round calls each function once (or as often as fills a tenth of a second), and the next
    round starts one function later, so that none always follows the same one. ``repeats`` rounds
    count, at least five; one round before them warms up. ``note`` names what is unfair about the
    comparison.
    """
    if repeats < 5:
        raise ValueError(f"repeats must be at least 5, got {repeats}")
    _warm_heap()
    names = list(functions)
    calls = {name: _calls_per_round(functions[name]) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(_seconds(functions[name], calls[name]))
    common = {"work": work, "repeats": repeats, "note": note}
    rows: list[Row] = []
    for name in names:
        pairs = zip(seconds[name], seconds[names[0]], strict=True)
        ratio = statistics.median(own / reference for own, reference in pairs)
        rows.append({"name": name, "ratio": ratio, "seconds": statistics.median(seconds[name])})
        rows[-1].update(common)
    _show(rows)
    return rows


def _warm_heap() -> None:
    """Free a large array, after which the C library keeps smaller ones instead of returning them.

    So it is in any process that has trained. Without it, page faults add to all who use arrays of
    some hundred kilobytes, us or a peer: a tenth to a client of secure aggregation, for one.
    """
    array = np.ones(1 << 21)  # 16 MiB
    del array


def _calls_per_round(function: Callable[[], object]) -> int:
    once = min(_seconds(function, 1), _seconds(function, 1))
    return max(1, math.ceil(_SHORTEST / max(once, 1e-7)))


def _seconds(function: Callable[[], object], calls: int) -> float:
    """A call's seconds, without the garbage of others: as ``timeit``, the collector is off."""
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        return (time.perf_counter() - start) / calls
    finally:
        if collecting:
            gc.enable()


def _show(rows: list[Row]) -> None:
    table = Table(title=rows[0]["work"], caption=rows[0]["note"] or None, title_justify="left")
    table.add_column("by")
    table.add_column(f"time / {rows[0]['name']}", justify="right")
    for row in rows:
        table.add_row(row["name"], f"{row['ratio']:.3g}")
    Console().print(table)


def installed(peer: str, wanted: str) -> bool:
    """Whether a peer is here in this version; if not, a line says that its rows are left out."""
    try:
        found = version(peer)
    except PackageNotFoundError:
        found = "none"
    right = f"{found}.".startswith(f"{wanted}.")  # 0.16 is any 0.16.x
    if not right:
        Console().print(f"{peer} {wanted} is left out, found {found}: use `make bench`")
    return right
