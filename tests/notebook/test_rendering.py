"""One notebook, executed in a real kernel: what the helpers show is what the page will hold."""

import subprocess
import sys

import nbclient
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

CELLS = [
    "from refimpl.notebook import check, claim, figures, glue, source\n"
    "from refimpl.network import topology",
    "source(topology.ring)",
    "claim('a-b', says='S', cite='xiao2004fast', measured=0.5, holds={'x': True, 'y': False}, "
    "verdict='nuanced')",
    "check(lambda n: ..., like=abs, on=[1])",
    "figures.topology(topology.ring(5), alt='Five nodes in a ring')",
    "glue(alone=0.56941, messages=12345, who='ten <hospitals>')",
    "claim('a-b', says='S', cite='xiao2004fast', measured=0.5, holds=False, verdict='confirmed')",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The outputs of each cell, after saving the notebook and reading it again."""
    cells = [new_code_cell(cell) for cell in CELLS]
    cells[-1].metadata["tags"] = ["raises-exception"]
    notebook = new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    path = tmp_path_factory.mktemp("notebook") / "page.ipynb"
    nbformat.write(notebook, path)
    read = nbformat.read(path, as_version=4)
    nbformat.validate(read)
    return [cell.outputs for cell in read.cells]


def test_source_is_markdown(outputs):
    [output] = outputs[1]
    assert set(output.data) == {"text/plain", "text/markdown"}
    assert "```python\ndef ring(" in output.data["text/markdown"]


def test_claim_survives_execution_and_saving(outputs):
    [output] = outputs[2]
    assert set(output.data) == {"text/plain", "text/html"}
    assert output.metadata["refimpl"]["claim"] == {
        "id": "a-b",
        "says": "S",
        "cite": ["xiao2004fast"],
        "verdict": "nuanced",
        "measured": "0.5",
        "conditions": {"x": True, "y": False},
    }


def test_unanswered_exercise_runs_through(outputs):
    [output] = outputs[3]
    assert (output.output_type, output.name) == ("stream", "stdout")
    assert output.text.startswith("Not answered yet")


def test_figure_is_one_png_output_with_alt_text(outputs):
    [output] = outputs[4]  # and not a second one from a plotting backend
    assert set(output.data) == {"text/plain", "image/png"}
    assert output.data["text/plain"] == "Five nodes in a ring"
    assert output.metadata["image/png"]["alt"] == "Five nodes in a ring"


def test_glued_numbers_are_named_and_rounded(outputs):
    mime = "application/papermill.record/text/plain"  # where myst-nb looks for them
    values = {out.metadata["scrapbook"]["name"]: out.data[mime] for out in outputs[5]}
    assert values == {"alone": "'0.5694'", "messages": "'12,345'", "who": "'ten <hospitals>'"}


def test_wrong_verdict_fails_the_cell(outputs):
    [output] = outputs[6]
    assert (output.output_type, output.ename) == ("error", "AssertionError")


def test_outside_a_notebook_the_text_is_printed_and_nothing_heavy_is_loaded():
    code = (
        "import sys\nfrom refimpl.notebook import claim, glue\nglue(x=1)\n"
        "claim('x', says='S', cite='xiao2004fast', measured=1, holds=True, verdict='confirmed')\n"
        "print(sorted({'matplotlib', 'pandas', 'torch', 'networkx', 'PIL'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "Claim: S [Xiao and Boyd 2004]",
        "Measured here:",
        "- 1",
        "Verdict: Confirmed",
        "[]",
    ]
