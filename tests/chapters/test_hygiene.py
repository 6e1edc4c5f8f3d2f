"""Each rule finds the fault it is there for, in a chapter that is otherwise good."""

import nbformat.v4 as v4
import pytest

from tests.chapters import hygiene


def good():
    """Return a small chapter that keeps every rule."""
    image = v4.new_output("display_data", {"image/png": "aGk=", "text/plain": "<Figure>"})
    alt = {"mystnb": {"image": {"alt": "A line that falls from left to right."}}}
    kernel = {"name": "python3", "display_name": "Python 3"}
    return v4.new_notebook(
        metadata={"kernelspec": kernel, "language_info": {"name": "python"}},
        cells=[
            v4.new_markdown_cell("# Sharing\n\nYou will split a secret.\n\n```\n# no title\n```"),
            v4.new_code_cell("x = 7 % 2\nx", execution_count=1, outputs=[text("1")]),
            v4.new_code_cell("plot()", execution_count=2, outputs=[image], metadata=alt),
            v4.new_code_cell("y = x", execution_count=3),
        ],
    )


def text(value, name="stdout"):
    return v4.new_output("stream", text=value, name=name)


def error():
    return v4.new_output("error", ename="ValueError", evalue="no", traceback=["ValueError: no"])


def test_a_good_chapter_passes():
    assert hygiene.problems(good()) == []


def first_code(**changes):
    """Return a fault that changes the first code cell."""
    return lambda notebook: notebook.cells[1].update(changes)


def first_prose(source):
    return lambda notebook: notebook.cells[0].update(source=source)


def clear(notebook):
    for cell in notebook.cells[1:]:
        cell.outputs = []


def code_first(notebook):
    notebook.cells.insert(0, notebook.cells.pop(1))


def tag(notebook):
    notebook.cells[1].metadata["tags"] = ["raises-exception"]


def widget(notebook):
    notebook.cells[1].outputs = [v4.new_output("display_data", {hygiene.WIDGET: {}})]


FAULTS = {
    "never executed": ("executed_in_order", first_code(execution_count=None)),
    "executed out of order": ("executed_in_order", first_code(execution_count=5)),
    "outputs cleared": ("has_outputs", clear),
    "no code": ("has_outputs", lambda notebook: notebook.update(cells=notebook.cells[:1])),
    "failed": ("has_no_errors", first_code(outputs=[error()])),
    "tagged without an error": ("has_no_errors", tag),
    "warning": ("has_no_warnings", first_code(outputs=[text("careful", "stderr")])),
    "line magic": ("has_no_magics", first_code(source="import os\n%time os")),
    "cell magic": ("has_no_magics", first_code(source="%%unknown\nx = 1")),
    "shell": ("has_no_magics", first_code(source="!pip install x")),
    "help": ("has_no_magics", first_code(source="print?")),
    "no alt text": ("has_alt_texts", lambda notebook: notebook.cells[2].metadata.clear()),
    "prose image without alt": ("has_alt_texts", first_prose("# A\n\nText ![](a.png)")),
    "no title": ("opens_with_title_and_paragraph", first_prose("Text.")),
    "code first": ("opens_with_title_and_paragraph", code_first),
    "no paragraph": ("opens_with_title_and_paragraph", first_prose("# A\n\n## B\n\nText.")),
    "two titles": ("opens_with_title_and_paragraph", first_prose("# A\n\nText.\n\n# B")),
    "widget": ("has_no_widgets", widget),
    "widget state": ("has_no_widgets", lambda notebook: notebook.metadata.update(widgets={})),
    "kernel": ("is_normalised", lambda notebook: notebook.metadata.kernelspec.update(name="ir")),
    "version": ("is_normalised", lambda n: n.metadata.language_info.update(version="3.11.7")),
    "other metadata": ("is_normalised", lambda notebook: notebook.metadata.update(toc={})),
    "times": ("is_normalised", lambda notebook: notebook.cells[1].metadata.update(execution={})),
    "path": ("is_timeless", first_code(outputs=[text("in /home/ada/book")])),
    "seconds": ("is_timeless", first_code(outputs=[text("took 1.25 s")])),
    "milliseconds": ("is_timeless", first_code(outputs=[text("15ms a call")])),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_by_its_rule(fault):
    rule, plant = FAULTS[fault]
    notebook = good()
    plant(notebook)
    assert {problem.split(":")[0] for problem in hygiene.problems(notebook)} == {rule}


def test_every_rule_has_a_planted_fault():
    assert {rule for rule, _ in FAULTS.values()} == {rule.__name__ for rule in hygiene.RULES}


def test_an_expected_error_is_no_fault():
    notebook = good()
    notebook.cells[1].update(outputs=[error()], metadata={"tags": ["raises-exception"]})
    assert hygiene.problems(notebook) == []


@pytest.mark.parametrize("line", ["x = a %b", "url = 'a?'", "s = 5 * s  # 3 s", "x != y"])
def test_plain_python_is_no_magic(line):
    notebook = good()
    notebook.cells[1].source = line
    assert hygiene.problems(notebook) == []


@pytest.mark.parametrize("line", ["10 hospitals", "mu/sigma", "5 shares", "1.2 MB", "3 steps"])
def test_plain_output_is_no_time_and_no_path(line):
    notebook = good()
    notebook.cells[1].outputs = [text(line)]
    assert hygiene.problems(notebook) == []


def test_pages_of_nested_contents():
    toc = {
        "root": "a",
        "parts": [{"chapters": [{"file": "b", "sections": [{"file": "c"}]}, {"url": "x"}]}],
    }
    assert hygiene.pages(toc) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ({"a": {"Cell 0": 59, "Cell 1": 59, "Cell 2": 59}}, []),
        ({"a": {"Cell 0": 61}}, ["a, Cell 0"]),
        ({"a": {f"Cell {n}": 46 for n in range(4)}}, ["a"]),
        ({f"{n}": {"Cell 0": 50, "Cell 1": 50, "Cell 2": 50} for n in range(13)}, ["the book"]),
    ],
)
def test_budgets(record, names):
    assert [problem.split(" took")[0] for problem in hygiene.over_budget(record)] == names
