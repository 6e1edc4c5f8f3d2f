"""Run the chapters in place, normalised so that a run which changes nothing leaves no git diff.

Only the chapters whose inputs changed are run: their own code, the package, the book's data and
the pinned versions. ``--all`` runs every one, and paths choose some. A chapter is written when
all its cells have run, so a failed run leaves it as it was.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "_build" / "executed.json"  # ignored by git


def shared_inputs():
    """Return one hash of what every chapter may depend on."""
    paths = sorted((ROOT / "refimpl").rglob("*.py"))
    paths += sorted(path for path in (ROOT / "book" / "_data").rglob("*") if path.is_file())
    digest = hashlib.sha256((ROOT / "constraints.txt").read_bytes())
    for path in paths:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def inputs(notebook, shared):
    """Return the hash of all that a chapter's outputs depend on."""
    code = [[cell.source, cell.metadata] for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps([shared, code], sort_keys=True).encode()).hexdigest()


def read(path):
    """Read a notebook; a cell without an identity, or with another's, gets one from its place."""
    raw = json.loads(path.read_text("utf8"))
    seen = set()
    for place, cell in enumerate(raw["cells"]):
        if cell.get("id", "") in seen | {""}:
            cell["id"] = hashlib.sha256(f"{path.stem} {place}".encode()).hexdigest()[:8]
        seen.add(cell["id"])
    raw |= {"nbformat": 4, "nbformat_minor": 5}
    return nbformat.reads(json.dumps(raw), as_version=4)


def execute(notebook, folder):
    """Run all cells in a fresh kernel, with ``folder`` as the working directory."""
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # or each kernel warns of its own loopback port
        resources={"metadata": {"path": str(folder)}},
    ).execute()


def normalise(notebook):
    """Drop what differs between two runs or two machines."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    language = {"name": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": language})
    for cell in notebook.cells:
        for key in ("execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            if output.output_type == "error":  # its frames name files by their full path
                output.traceback = [line.replace(f"{ROOT}/", "") for line in output.traceback]


def write(notebook, path):
    """Write to a file beside ``path`` and move it there."""
    nbformat.validate(notebook)
    draft = path.with_suffix(".ipynb.part")
    draft.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", "utf8")
    draft.replace(path)


def run(path, shared, record, everything):
    """Run one chapter if it must be; return whether it failed."""
    name = str(path.relative_to(ROOT))
    notebook = read(path)
    if not everything and record.get(name) == inputs(notebook, shared):
        print(f"unchanged  {name}")
        return False
    start = time.perf_counter()
    try:
        execute(notebook, path.parent)
    except CellExecutionError as error:
        print(f"FAILED     {name}\n{error}", file=sys.stderr)
        return True
    normalise(notebook)
    write(notebook, path)
    record[name] = inputs(notebook, shared)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True))
    print(f"{time.perf_counter() - start:6.1f} s   {name}", flush=True)
    return False


def main():
    """Run the chapters that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, help="chapters (default: the whole book)")
    parser.add_argument("--all", action="store_true", help="run those without changes too")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    paths = [path.resolve() for path in arguments.paths] or sorted(
        path for path in (ROOT / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
    )
    outside = [str(path) for path in paths if ROOT not in path.parents]
    if outside:
        sys.exit(f"chapters must lie inside this project ({ROOT.name}/), got {outside}")
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    shared = shared_inputs()
    sys.exit(any([run(path, shared, record, arguments.all) for path in paths]))


if __name__ == "__main__":
    main()
