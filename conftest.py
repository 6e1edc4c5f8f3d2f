"""What every pytest run of this project needs, with or without make.

A run of the chapters (``pytest --nbval book``) leaves the seconds of each cell in
``_build/timings.json``; the chapter tests hold them against the book's budgets.
"""

import hashlib
import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
TIMINGS = ROOT / "_build" / "timings.json"  # ignored by git

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes share the cores


class CellTimes:
    """Collects the seconds of notebook cells and adds them to the record at the end."""

    def __init__(self):
        self.seconds = {}

    def pytest_runtest_logreport(self, report):
        """Note one cell; under xdist the controller sees the cells of all workers."""
        path, _, cell = report.nodeid.partition("::")
        if path.endswith(".ipynb") and report.when == "call":
            self.seconds.setdefault(path, {})[cell] = round(report.duration, 3)

    def pytest_sessionfinish(self):
        """Write the record, keeping the chapters that this run did not touch."""
        if not self.seconds:
            return
        record = json.loads(TIMINGS.read_text("utf8")) if TIMINGS.exists() else {}
        for path, cells in self.seconds.items():
            digest = hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
            record[path] = {"sha256": digest, "cells": cells}
        TIMINGS.parent.mkdir(exist_ok=True)
        TIMINGS.write_text(json.dumps(record, indent=1, sort_keys=True), "utf8")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Collect in the one process that sees all reports."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(CellTimes())
