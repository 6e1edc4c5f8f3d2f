"""Show the tested source of a function, class, method or module constant on the page.

A chapter never carries a copy of code: what it displays is read from the module that the tests
run. The output is a Markdown code block, which Jupyter and the built book both highlight.
"""

import ast
import functools
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import refimpl
from refimpl.notebook.display import show

_ROOT = Path(refimpl.__file__).resolve().parent.parent


def source(*objects: object, without_docstring: bool = False) -> None:
    """Show the source of each object, under the name of the file it stands in.

    An object is a function, class, method or property of ``refimpl``, or a dotted name such as
    ``"refimpl.arithmetic.field.P"``, which also reaches constants (shown with the comment
    lines right above them). There are no line numbers: they change with every edit.

    Raises ``ValueError`` for an object that is not defined in ``refimpl`` (a page shows tested
    code only) and ``TypeError`` for one that has no source, such as an instance.
    """
    if not objects:
        raise ValueError("source needs at least one function, class, method or dotted name")
    found = [_locate(each) for each in objects]
    by_file: dict[str, list[str]] = {}
    for path, _, code in found:
        by_file.setdefault(path, []).append(_drop_docstrings(code) if without_docstring else code)
    show(
        "\n".join(f"{path}: {name}" for path, name, _ in found),
        markdown="\n\n".join(_fenced(path, codes) for path, codes in by_file.items()),
    )


def _fenced(path: str, codes: list[str]) -> str:
    code = "\n\n".join(codes)
    fence = "```"
    while fence in code:
        fence += "`"
    return f"`{path}`\n\n{fence}python\n{code}\n{fence}"


def _locate(thing: object) -> tuple[str, str, str]:
    """(file relative to the project, qualified name, source) of one object."""
    if isinstance(thing, str):
        return _locate_name(thing)
    definition = _definition(thing)
    _require_ours(definition.__module__, definition.__qualname__)
    path = inspect.getsourcefile(definition)
    if path is None:
        raise TypeError(f"{definition.__qualname__} has no source file")
    return _relative(path), definition.__qualname__, _dedent(inspect.getsource(definition))


def _definition(thing: object) -> type:
    """The function or class behind decorators, bound methods, properties and caches."""
    if isinstance(thing, functools.cached_property):
        thing = thing.func
    elif isinstance(thing, property):
        thing = thing.fget
    thing = inspect.unwrap(getattr(thing, "__func__", thing))  # type: ignore[arg-type]
    if not (inspect.isfunction(thing) or inspect.isclass(thing)):
        raise TypeError(
            f"source shows functions, classes, methods and dotted names, got {thing!r}; "
            "for an instance pass its class, for a constant its dotted name"
        )
    return thing  # type: ignore[return-value]


def _locate_name(name: str) -> tuple[str, str, str]:
    _require_ours(name, name)
    module, rest = _import_longest(name)
    if not rest:
        raise TypeError(f"{name} is a module; name what it defines, or read its file")
    path = inspect.getsourcefile(module)
    assert path is not None  # a module of the package is a file
    lines = inspect.getsource(module).splitlines()
    for statement in ast.parse("\n".join(lines)).body:
        if rest in _assigned_names(statement):
            return _relative(path), rest, "\n".join(_region(lines, statement))
    try:
        return _locate(functools.reduce(getattr, rest.split("."), module))
    except AttributeError as error:
        raise ValueError(f"{module.__name__} defines no {rest}") from error


def _import_longest(name: str) -> tuple[ModuleType, str]:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        module_name = ".".join(parts[:end])
        try:
            return importlib.import_module(module_name), ".".join(parts[end:])
        except ModuleNotFoundError as error:
            # Only "this is no module" is ours to pass over; a missing dependency is not.
            if error.name is None or not module_name.startswith(error.name):
                raise
    raise ValueError(f"there is no module in {name!r}")


def _assigned_names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.AnnAssign):
        targets: list[ast.expr] = [statement.target]
    else:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {
        node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
    }


def _region(lines: list[str], statement: ast.stmt) -> list[str]:
    start = statement.lineno - 1
    while start > 0 and lines[start - 1].startswith("#"):
        start -= 1
    return lines[start : statement.end_lineno]


def _require_ours(module: str | None, name: str) -> None:
    if module is None or module.split(".")[0] != "refimpl":
        raise ValueError(
            f"source shows code of refimpl only, because that is what the tests run; "
            f"{name} comes from {module}"
        )


def _relative(path: str) -> str:
    return Path(path).resolve().relative_to(_ROOT).as_posix()


def _dedent(code: str) -> str:
    # Not textwrap.dedent: a string that reaches back to the margin would stop it.
    lines = code.rstrip().splitlines()
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    return "\n".join(line.removeprefix(indent) for line in lines)


def _drop_docstrings(code: str) -> str:
    lines: list[str | None] = list(code.splitlines())
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if ast.get_docstring(node, clean=False) is None:
            continue
        text = node.body[0]
        end = text.end_lineno or text.lineno
        for index in range(text.lineno - 1, end):
            lines[index] = None
        if len(node.body) == 1:
            lines[text.lineno - 1] = " " * text.col_offset + "..."
        elif not lines[end]:
            lines[end] = None
    return "\n".join(line for line in lines if line is not None)
