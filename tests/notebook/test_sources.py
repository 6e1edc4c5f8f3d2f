import ast
import functools
import inspect
import json

import pytest

from refimpl.network import topology, transcript
from refimpl.notebook import formatting, source, sources


@pytest.fixture
def shown(monkeypatch):
    """What ``source`` published: a list of (text, markdown)."""
    outputs = []
    monkeypatch.setattr(sources, "show", lambda text, markdown: outputs.append((text, markdown)))
    return outputs


def code_of(markdown: str) -> str:
    return markdown.split("```python\n")[1].split("\n```")[0]


def test_function_is_shown_as_it_stands_in_its_file(shown):
    source(topology.metropolis_weights)
    [(text, markdown)] = shown
    assert text == "refimpl/network/topology.py: metropolis_weights"
    assert markdown.startswith("`refimpl/network/topology.py`\n\n```python\ndef metropolis_weights")
    assert markdown.endswith("\n```")
    assert code_of(markdown) == inspect.getsource(topology.metropolis_weights).rstrip()


def test_methods_properties_and_classes(shown):
    source(transcript.Transcript.view)
    source(transcript.Transcript([]).view)
    source(transcript.Transcript.bytes)
    source(transcript.Transcript)
    bound, unbound, prop, whole = (code_of(markdown) for _, markdown in shown)
    assert bound == unbound
    assert bound.startswith("def view(") and "\n    known" in bound  # dedented
    assert prop.startswith("@property\ndef bytes(")
    assert whole.startswith("class Transcript:") and "    def view(" in whole


def test_decorated_function_is_shown_with_its_decorator(shown):
    from refimpl.notebook import figures, measurements

    source(measurements._held, figures.figure)
    assert "@functools.cache\ndef _held(" in shown[0][1]
    assert "@contextmanager\ndef figure(" in shown[0][1]


def test_objects_of_one_file_share_a_block(shown):
    source(topology.ring, topology.grid, formatting.significant)
    [(text, markdown)] = shown
    assert text.splitlines()[2] == "refimpl/notebook/formatting.py: significant"
    assert markdown.count("```python") == 2
    assert "\n\n\ndef grid(" not in code_of(markdown) and "\n\ndef grid(" in code_of(markdown)


def test_constant_is_found_by_name_with_the_comment_above_it(shown):
    source("refimpl.notebook.figures.COLOURS")
    source("refimpl.notebook.formatting.significant")
    code = code_of(shown[0][1])
    assert code.startswith("# Okabe and Ito") and 'COLOURS = ("#0072B2"' in code
    assert "MARKERS" not in code
    assert code_of(shown[1][1]) == inspect.getsource(formatting.significant).rstrip()


def test_without_docstring_leaves_the_same_program(shown):
    source(transcript.Transcript, without_docstring=True)
    code = code_of(shown[0][1])
    assert '"""' not in code
    original = ast.parse(inspect.getsource(transcript.Transcript))
    for node in ast.walk(original):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Expr(ast.Constant(...))]
    assert ast.dump(ast.parse(code)) == ast.dump(original)


def test_without_docstring_keeps_a_body():
    assert sources._drop_docstrings('def f():\n    """Only words."""') == "def f():\n    ..."
    code = 'class A:\n    """One.\n\n    Two.\n    """\n\n    x = 1'
    assert sources._drop_docstrings(code) == "class A:\n    x = 1"


def test_dedent_is_not_stopped_by_a_string_at_the_margin():
    assert sources._dedent('    def f():\n        return """a\nb"""\n') == (
        'def f():\n    return """a\nb"""'
    )


def test_backticks_in_the_code_do_not_end_the_block(shown):
    source(sources._fenced)
    assert "\n````python\n" in shown[0][1] and shown[0][1].endswith("\n````")


def untested(x):
    return x


@pytest.mark.parametrize("foreign", [untested, json.dumps, json.JSONEncoder, "json.dumps", "x"])
def test_code_that_is_not_ours_is_refused(foreign, shown):
    with pytest.raises(ValueError, match="shows code of refimpl only"):
        source(foreign)
    assert not shown


@pytest.mark.parametrize("thing", [7, transcript.Transcript([]), len, functools.partial(print)])
def test_what_has_no_source_is_refused(thing):
    with pytest.raises(TypeError, match="got"):
        source(thing)


def test_wrong_names_say_what_is_missing():
    with pytest.raises(ValueError, match=r"refimpl\.network\.topology defines no hexagon"):
        source("refimpl.network.topology.hexagon")
    with pytest.raises(TypeError, match=r"refimpl\.network\.topology is a module"):
        source("refimpl.network.topology")
    with pytest.raises(ValueError, match="at least one"):
        source()
