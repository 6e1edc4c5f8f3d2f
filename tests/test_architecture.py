"""The floors of refimpl: who may import whom, read from the source with ast."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# package or top module: (floor, what it may import of refimpl)
PRIMITIVES = {"arithmetic", "smc", "dp", "he"}
LOWER = PRIMITIVES | {"network"}
MIDDLE = LOWER | {"aggregation", "computation", "learning"}
UPPER = MIDDLE | {"collaboration", "attacks"}
MAY_IMPORT = {
    "arithmetic": set(),
    "smc": {"arithmetic"},
    "dp": {"arithmetic"},
    "he": {"arithmetic"},
    "network": {"arithmetic"},
    "learning": PRIMITIVES,
    "aggregation": LOWER,
    "computation": LOWER,
    "collaboration": MIDDLE,
    "attacks": MIDDLE,
    "comparison": UPPER,
    "notebook": UPPER,
    "__main__": UPPER | {"comparison", "notebook"},
    "__init__": set(),
}
HAS_TORCH = {"learning", "collaboration", "attacks", "comparison", "notebook", "__main__"}
HEAVY = ("torch", "sklearn", "pandas", "networkx", "diffprivlib", "phe", "rich")


def place(module):
    """The package, or module at the top, that a dotted name of refimpl belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def modules(root=ROOT):
    """Dotted name of every module of refimpl, and its file."""
    found = {}
    for path in sorted((root / "refimpl").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module, path, known):
    """All modules that this one names in an import, wherever the statement stands."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in known else base


def violations(root=ROOT):
    known = modules(root)
    found = []
    for module, path in known.items():
        here = place(module)
        for target in imports(module, path, known):
            top = target.split(".")[0]
            there = place(target)
            allowed = {here, "__init__", *MAY_IMPORT.get(here, ())}
            if top == "refimpl" and there not in allowed:
                found.append(f"{module} may not import {target}: its floor is not below")
            if (
                top == "torch"
                and here not in HAS_TORCH
                and module != ("refimpl.network.torch_distributed")
            ):
                found.append(f"{module} may not import torch")
            if top in {"phe", "gmpy2"} and here != "he":
                found.append(f"{module} may not import {top}")
    return found


def cycles(root=ROOT):
    """Modules that import themselves by way of others of their package."""
    known = modules(root)
    edges = {
        module: {
            target
            for target in imports(module, path, known)
            if target in known and place(target) == place(module) and target != module
        }
        for module, path in known.items()
    }
    found = []
    for start in edges:
        seen, frontier = set(), list(edges[start])
        while frontier:
            module = frontier.pop()
            if module not in seen:
                seen.add(module)
                frontier += edges[module]
        if start in seen:
            found.append(start)
    return found


def test_every_package_has_a_floor():
    homeless = {place(module) for module in modules()} - set(MAY_IMPORT)
    assert not homeless, f"give {homeless} a floor in MAY_IMPORT and in the design"


def test_a_module_imports_only_from_floors_below_its_own():
    assert not violations(), "\n".join(violations())


def test_no_cycles_within_a_package():
    assert not cycles(), f"these modules import each other in a circle: {cycles()}"


def test_importing_refimpl_loads_nothing_heavy():
    code = "import refimpl, sys; print(sorted({name.split('.')[0] for name in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(ran.stdout))
    assert "refimpl" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("package", ["arithmetic", "smc", "network", "aggregation", "computation"])
def test_the_lower_floors_load_no_torch(package):
    code = f"import refimpl.{package}, sys; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("smc/additive.py", "from refimpl.dp import mechanisms", "not below"),
        ("arithmetic/ring.py", "import refimpl.network", "not below"),
        ("arithmetic/ring.py", "from refimpl import network", "not below"),
        ("arithmetic/ring.py", "from ..network import link", "not below"),
        ("network/link.py", "def f():\n    from refimpl import smc", "not below"),
        ("learning/data.py", "from refimpl.aggregation import plain", "not below"),
        ("aggregation/plain.py", "from refimpl.learning import data", "not below"),
        ("attacks/membership.py", "from refimpl.collaboration import direct", "not below"),
        ("notebook/figures.py", "from refimpl import comparison", "not below"),
        ("aggregation/plain.py", "import torch.nn", "may not import torch"),
        ("network/runner.py", "from torch import distributed", "may not import torch"),
        ("collaboration/direct.py", "import phe", "may not import phe"),
        ("smc/additive.py", "from gmpy2 import mpz", "may not import gmpy2"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path, file, line, complaint):
    plant(
        tmp_path,
        {file: line, "smc/__init__.py": "", "network/__init__.py": "", "comparison.py": ""},
    )
    (found,) = violations(tmp_path)
    assert complaint in found


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("smc/additive.py", "from refimpl.arithmetic import ring"),
        ("network/torch_distributed.py", "import torch"),
        ("learning/dp_sgd.py", "import torch\nfrom refimpl.dp import accounting"),
        ("he/paillier.py", "import gmpy2, phe"),
        ("notebook/figures.py", "from refimpl import attacks"),
    ],
)
def test_an_allowed_import_is_not(tmp_path, file, line):
    plant(tmp_path, {file: line, "attacks/__init__.py": ""})
    assert not violations(tmp_path)


def test_a_cycle_is_found(tmp_path):
    plant(
        tmp_path,
        {
            "smc/a.py": "from refimpl.smc import b",
            "smc/b.py": "from .c import f",
            "smc/c.py": "import refimpl.smc.a",
            "smc/d.py": "from refimpl.smc import a",
        },
    )
    assert cycles(tmp_path) == ["refimpl.smc.a", "refimpl.smc.b", "refimpl.smc.c"]


def plant(root, files):
    for name, text in files.items():
        path = root / "refimpl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
