"""Signatures and docstrings on the package's pages as the source writes them.

Left alone, autodoc shows what an alias stands for: ``ArrayLike`` becomes eight lines of unions.
And ``|x|`` for a magnitude would ask for a substitution of that name.
"""

import ast
import dataclasses
import inspect
import textwrap


def _call(function, bound):
    """Return the parameters of a parsed function, without self or cls where it is bound."""
    positional = function.args.posonlyargs or function.args.args
    if bound and positional and positional[0].arg in {"self", "cls"}:
        positional.pop(0)
    return f"({ast.unparse(function.args)})"


def _fields(definition):
    """Return the fields of a parsed dataclass as the parameters of its constructor."""
    fields = [ast.unparse(item) for item in definition.body if isinstance(item, ast.AnnAssign)]
    return f"({', '.join(fields)})"


def as_written(app, what, name, obj, options, signature, return_annotation):
    """Return the signature of a function, method or class, read from its source."""
    if what not in {"function", "method", "class", "exception"}:
        return None
    try:
        parsed = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(obj)))).body[0]
    except (OSError, TypeError):  # written in another language, or made at run time
        return None
    if isinstance(parsed, ast.FunctionDef | ast.AsyncFunctionDef):
        result = ast.unparse(parsed.returns) if parsed.returns else None
        return _call(parsed, bound=what == "method"), result
    if isinstance(parsed, ast.ClassDef):
        for item in parsed.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                return _call(item, bound=True), None
        return (_fields(parsed) if dataclasses.is_dataclass(obj) else ""), None
    return None


def bars_as_written(app, what, name, obj, options, lines):
    """Escape the bars of a docstring, but for those in code."""
    for number, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[number] = "``".join(parts)


def setup(app):
    """Run after autodoc made its own signature."""
    app.connect("autodoc-process-signature", as_written)
    app.connect("autodoc-process-docstring", bars_as_written)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
