"""Timing by ratio, and the one file that holds seconds.

Absolute times drift by a third from run to run on a shared machine, ratios of calls made in turn
do not. So ``compare`` calls the functions one after the other, round after round, in one process,
and reports for each the median over the rounds of its time divided by the first one's.

``record`` writes ``book/_data/measured.json``, the only place where seconds are kept:

    {"bench": {"<module>": {"date": ..., "machine": ..., "versions": ..., "rows": [<row>, ...]}},
     "matrix": {...},                    as ``refimpl.comparison`` defines it
     "recorded": {"<section>": {"date": ..., "machine": ..., "versions": ...}},
     "date": ..., "machine": ..., "versions": ...}    those of the latest section recorded

A row is {"work": what is done, "name": by whom, "ratio": time relative to the work's first row,
"seconds": median seconds of a call, "repeats": rounds, "note": differences that are not fair}.
Keys are sorted and numbers rounded to four digits. Nothing in it names a host or a path.
"""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

MEASURED = Path(__file__).parents[1] / "book" / "_data" / "measured.json"
_SHORTEST = 0.01  # seconds; faster functions are called several times in a round
_LIBRARIES = ("cryptography", "numpy", "scikit-learn", "torch")

Row = dict[str, Any]


def compare(
    functions: Mapping[str, Callable[[], object]],
    *,
    work: str,
    repeats: int = 7,
    note: str = "",
) -> list[Row]:
    """Time the functions in turn, print their ratios to the first, and return a row for each.

    A round calls each function once (or as often as fills 10 ms), and the next round starts one
    function later, so that none always follows the same one. ``repeats`` rounds count, at least
    five; one round before them warms up. ``note`` names what is unfair about the comparison.
    """
    if repeats < 5:
        raise ValueError(f"repeats must be at least 5, got {repeats}")
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


def stamp() -> dict[str, Any]:
    """Where and when: machine in words, versions of the libraries installed, date (UTC)."""
    return {
        "machine": machine(),
        "versions": {name: _version(name) for name in _LIBRARIES if _version(name)},
        "date": datetime.now(UTC).date().isoformat(),
    }


def machine() -> str:
    """Such as ``2 cores, AVX-512, CPython 3.11, Linux x86_64``."""
    available = getattr(os, "sched_getaffinity", None)
    cores = len(available(0)) if available else os.cpu_count()
    python = f"{platform.python_implementation()} {platform.python_version().rpartition('.')[0]}"
    parts = [f"{cores} cores", _vectors(), python, f"{platform.system()} {platform.machine()}"]
    return ", ".join(part for part in parts if part)


def record(section: str, data: Any, path: Path = MEASURED) -> None:
    """Replace one section of the measurements and leave the others as they are."""
    measured = recorded(path)
    here = stamp()
    measured[section] = data
    measured["recorded"] = {**measured.get("recorded", {}), section: here}
    measured.update(here)
    text = json.dumps(_rounded(measured), indent=1, sort_keys=True, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(path)  # a reader sees the old file or the new one, never half of it


def recorded(path: Path = MEASURED) -> dict[str, Any]:
    """All that has been measured so far; empty if nothing was."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _calls_per_round(function: Callable[[], object]) -> int:
    once = min(_seconds(function, 1), _seconds(function, 1))
    return max(1, math.ceil(_SHORTEST / max(once, 1e-7)))


def _seconds(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def _show(rows: list[Row]) -> None:
    table = Table(title=rows[0]["work"], caption=rows[0]["note"] or None, title_justify="left")
    table.add_column("by")
    table.add_column(f"time / {rows[0]['name']}", justify="right")
    for row in rows:
        table.add_row(row["name"], f"{row['ratio']:.3g}")
    Console().print(table)


def _rounded(value: Any) -> Any:
    """Floats to four significant digits, through lists and dictionaries."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return value


def _version(library: str) -> str:
    try:
        return metadata.version(library).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def _vectors() -> str:
    """The widest vector instructions of the processor, where the system tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return ""
    known = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}
    return next((name for flag, name in known.items() if flag in flags), "")
