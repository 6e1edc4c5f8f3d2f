"""Every notebook of the book keeps the rules of ``hygiene`` and its budget of time."""

import hashlib
import json
from pathlib import Path

import nbformat
import pytest
import yaml

from tests.chapters import hygiene

ROOT = Path(__file__).parents[2]
CHAPTERS = [
    path
    for path in sorted((ROOT / "book").rglob("*.ipynb"))
    if ".ipynb_checkpoints" not in path.parts
]


def name(path):
    return path.relative_to(ROOT).as_posix()


def test_there_is_a_chapter():
    assert CHAPTERS


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_hygiene(path):
    problems = hygiene.problems(nbformat.read(path, as_version=4))
    assert not problems, "\n".join([name(path), *problems])


def test_every_page_is_in_the_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    sources = [*CHAPTERS, *(ROOT / "book").rglob("*.md")]
    written = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for path in sources
        if not any(part.startswith(("_", ".")) for part in path.relative_to(ROOT).parts)
    }
    assert written == set(hygiene.pages(toc))


def test_every_chapter_keeps_its_budget():
    """Reads what the last ``pytest --nbval book`` recorded of the chapters as they are now."""
    timings = ROOT / "_build" / "timings.json"
    assert timings.exists(), "no times recorded yet: run `make test` or `pytest --nbval book`"
    record = json.loads(timings.read_text("utf8"))
    digests = {name(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in CHAPTERS}
    stale = [key for key in digests if record.get(key, {}).get("sha256") != digests[key]]
    assert not stale, f"run `pytest --nbval book` again, these changed since: {stale}"
    problems = hygiene.over_budget({key: record[key]["cells"] for key in digests})
    assert not problems, "\n".join(problems)
