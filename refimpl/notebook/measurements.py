"""Measured times: the one place where seconds live, so that re-running a page changes nothing.

``book/_data/measured.json`` holds one section for each thing that is timed: ``"matrix"``, and
``"bench <module>"`` for each bench. A section says on what machine, with which versions and when
it was measured. Numbers are rounded to four digits; nothing names a host or a path.
"""

import functools
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import refimpl

MEASURED = Path(refimpl.__file__).resolve().parent.parent / "book" / "_data" / "measured.json"
_LIBRARIES = ("cryptography", "numpy", "scikit-learn", "torch")  # and the peers, if installed
_PEERS = (
    "diffprivlib",
    "dp-accounting",
    "flwr",
    "gmpy2",
    "mpyc",
    "opacus",
    "opendp",
    "phe",
    "tenseal",
)


def record(section: str, data: Mapping[str, Any]) -> Path:
    """Replace one section of the file by ``data``, with where and when it was measured."""
    held = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    held[section] = {**_rounded(data), **stamp()}
    MEASURED.parent.mkdir(parents=True, exist_ok=True)
    fresh = MEASURED.with_suffix(".new")
    text = json.dumps(held, indent=1, sort_keys=True, ensure_ascii=False)
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(MEASURED)  # a reader sees the old file or the new one, never half of it
    _held.cache_clear()
    return MEASURED


def stamp() -> dict[str, Any]:
    """Where and when: machine in words, versions of the libraries installed, date (UTC)."""
    return {
        "machine": machine(),
        "versions": {
            name: version for name in (*_LIBRARIES, *_PEERS) if (version := _version(name))
        },
        "date": datetime.now(UTC).date().isoformat(),
    }


def machine() -> str:
    """Such as ``2 cores, AVX-512, CPython 3.11, Linux x86_64``."""
    available = getattr(os, "sched_getaffinity", None)
    cores = len(available(0)) if available else os.cpu_count()
    python = f"{platform.python_implementation()} {platform.python_version().rpartition('.')[0]}"
    parts = [f"{cores} cores", _vectors(), python, f"{platform.system()} {platform.machine()}"]
    return ", ".join(part for part in parts if part)


def measured(*keys: str) -> Any:
    """A recorded measurement: ``measured("matrix", "rows")``.

    Raises ``FileNotFoundError`` when nothing has been recorded yet, and ``KeyError`` naming the
    first key that is not there; both say which command records it.
    """
    value: Any = _held(MEASURED)
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
def _held(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise FileNotFoundError(
            f"book/_data/{path.name} is not there. Run `make bench` and `make matrix` to record it."
        )
    return json.loads(path.read_text(encoding="utf-8"))


def _rounded(value: Any) -> Any:
    """Floats to four significant digits, through lists and dictionaries."""
    if isinstance(value, Mapping):
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
