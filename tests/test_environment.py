"""One list of dependencies: pyproject.toml says what, constraints.txt which version exactly."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import yaml
from hypothesis import settings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
# The pins are those of Linux with Python 3.11; the tests say the same on every machine.
PLATFORM = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.9",
    "python_version": "3.11",
    "sys_platform": "linux",
}
GPU = ("cuda-", "nvidia-", "triton")  # what torch's GPU build adds
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]


def pins():
    """Return {canonical name: version} of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text("utf8").split()
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


def needed(requirements):
    """Return all distributions that the requirements bring, however deep, but for the GPU's."""
    found, todo = set(), [Requirement(text) for text in requirements]
    while todo:
        requirement = todo.pop()
        wanted = {(canonicalize_name(requirement.name), extra) for extra in requirement.extras}
        wanted.add((canonicalize_name(requirement.name), ""))
        for name, extra in wanted - found:
            found.add((name, extra))
            todo += requirements_of(name, extra)
    return {name for name, _ in found}


def requirements_of(name, extra):
    """Return what one distribution requires with one of its extras; nothing if not installed."""
    try:
        listed = [Requirement(text) for text in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        return []
    environment = PLATFORM | {"extra": extra}
    wanted = [item for item in listed if not item.marker or item.marker.evaluate(environment)]
    return [item for item in wanted if not item.name.startswith(GPU)]


def installed_version(name):
    """Return the version without a local part such as +cpu, or None."""
    try:
        return Version(metadata.version(name)).public
    except metadata.PackageNotFoundError:
        return None


def everything():
    """Return the requirements of the project with the extras that the two commands install."""
    extras = PROJECT["optional-dependencies"]
    return PROJECT["dependencies"] + extras["book"] + extras["test"]


def test_constraints_are_plain_pins_in_order():
    lines = (ROOT / "constraints.txt").read_text("utf8").splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert lines == sorted(lines, key=str.lower)
    assert len(pins()) == len(lines)


def test_constraints_satisfy_pyproject():
    for requirement in map(Requirement, everything()):
        pin = pins()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), f"{requirement} but constraints.txt: {pin}"


def test_constraints_pin_all_that_is_installed_for_the_book():
    missing = needed(everything()) - pins().keys()
    assert not missing, f"add to constraints.txt: {sorted(missing)}"


def test_constraints_pin_nothing_else():
    spare = pins().keys() - needed(everything())
    assert not spare, f"remove from constraints.txt: {sorted(spare)}"


def test_installed_versions_are_the_pinned_ones():
    installed = {name: installed_version(name) or pin for name, pin in pins().items()}
    assert installed == pins(), "run `make book` or install with --constraint constraints.txt"


def test_environment_yml_only_points_to_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-e .[book,test]"]}
    assert [re.split("[=<>]", name)[0] for name in conda] == ["python", "pip"]
    python = next(name for name in conda if name.startswith("python"))
    assert Requirement(python).specifier == Requirement("p" + PROJECT["requires-python"]).specifier


def test_jupyter_book_stays_at_1():
    """Version 2 ignores _config.yml and _toc.yml without a word."""
    assert "jupyter-book==1.0.4.post1" in PROJECT["optional-dependencies"]["book"]


def test_no_property_has_a_deadline():
    """A slow machine is not a fault: ``tests/conftest.py`` sets this for all tests."""
    assert settings.default.deadline is None
