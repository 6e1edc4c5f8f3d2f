"""Signatures on the package's page as the source writes them.

Left alone, autodoc shows what an alias stands for: ``ArrayLike`` becomes eight lines of unions.
"""

import ast
import inspect
import textwrap


def as_written(app, what, name, obj, options, signature, return_annotation):
    """Return the parameters and the result of a function or method, read from its source."""
    if what not in {"function", "method"} or not inspect.isfunction(inspect.unwrap(obj)):
        return None
    function = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(obj)))).body[0]
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return None  # a lambda
    parameters = function.args.posonlyargs + function.args.args
    if what == "method" and parameters and parameters[0].arg in {"self", "cls"}:
        (function.args.posonlyargs or function.args.args).pop(0)
    returns = ast.unparse(function.returns) if function.returns else None
    return f"({ast.unparse(function.args)})", returns


def setup(app):
    """Run after autodoc made its own signature."""
    app.connect("autodoc-process-signature", as_written)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
