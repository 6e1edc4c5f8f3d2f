"""``python -m bench [module ...]``: run benches and write their rows where the book reads them."""

import importlib
import pkgutil
from pathlib import Path

import click

from refimpl.notebook import measurements

_OWN = {"__main__", "harness"}
FOUND = sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]))
MODULES = [name for name in FOUND if name not in _OWN]


@click.command()
@click.argument("modules", nargs=-1, type=click.Choice(MODULES))
def main(modules: tuple[str, ...]) -> None:
    """Run MODULES (all of them if none is named) and record what they measure."""
    for name in modules or MODULES:
        results = importlib.import_module(f"bench.{name}").run()
        rows = [row for rows in results for row in rows]
        measurements.record(f"bench {name}", {"rows": rows})


if __name__ == "__main__":
    main()
