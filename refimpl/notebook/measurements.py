"""Measured times: the one place where seconds live, so that re-running a page changes nothing.

``book/_data/measured.json`` holds one section for each thing that is timed (``"matrix"``, and
those of ``bench``), each with the machine, the versions and the date it was measured with.
"""

import functools
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import refimpl

MEASURED = Path(refimpl.__file__).resolve().parent.parent / "book" / "_data" / "measured.json"
LIBRARIES = ("cryptography", "numpy", "torch")


def record(section: str, data: Mapping[str, Any]) -> Path:
    """Replace one section of the file by ``data`` and where and when it was measured."""
    held = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    held[section] = {
        **data,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: version(name) for name in LIBRARIES},
    }
    MEASURED.parent.mkdir(parents=True, exist_ok=True)
    scratch = MEASURED.with_suffix(".new")  # a broken-off write leaves the old file whole
    scratch.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    scratch.replace(MEASURED)
    _held.cache_clear()
    return MEASURED


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
