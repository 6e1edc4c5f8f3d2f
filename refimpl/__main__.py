"""The command line: ``python -m refimpl compare``."""

from collections.abc import Iterable

import click

DATA_SETS = ("digits", "breast_cancer", "diabetes")


@click.group()
@click.version_option(package_name="refimpl")
def main() -> None:
    """Privacy-preserving distributed deep learning, measured."""


@main.command()
@click.option("--data", type=click.Choice(DATA_SETS), default="digits", show_default=True)
@click.option("--participants", type=click.IntRange(4), default=10, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=20, show_default=True)
@click.option(
    "--seeds", type=click.IntRange(1), default=3, show_default=True, help="Draws of the data."
)
@click.option("--record", is_flag=True, help="Write rows and seconds to the book's data file.")
def compare(data: str, participants: int, rounds: int, seeds: int, record: bool) -> None:
    """Train every row of the living matrix and print it."""
    from rich.console import Console
    from rich.progress import track

    from refimpl import comparison, learning
    from refimpl.notebook import measurements

    errors = Console(stderr=True)

    def progress(entries: Iterable[comparison.Entry]) -> Iterable[comparison.Entry]:
        return track(list(entries), "training", console=errors, transient=True)

    try:
        load = getattr(learning, data)
        tasks = [load(participants=participants, seed=seed) for seed in range(seeds)]
        rows = comparison.measure(
            tasks.__getitem__, rounds=rounds, seeds=range(seeds), progress=progress
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    title = f"{tasks[0].name}, {participants} participants, {rounds} rounds"
    Console().print(_table(title, tasks[0].metric, rows))
    if record:
        path = measurements.record(
            "matrix",
            {
                "data": data,
                "participants": participants,
                "seeds": seeds,
                "rounds": rounds,
                "rows": [{**row, "seconds": seconds} for row, seconds in rows],
            },
        )
        errors.print(f"recorded in {path}")


def _table(title: str, metric: str, rows: list) -> object:
    from rich.table import Table

    from refimpl import comparison
    from refimpl.notebook import human_bytes

    table = Table(title=title, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name, width in (("topology", 12), ("technique", 11), ("method", 7)):
        table.add_column(name, width=width)
    for name in ("ε", metric, "spread", "sent", "recv", "msgs", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row, seconds in rows:
        table.add_row(
            row["topology"],
            row["technique"],
            row["method"],
            _epsilon(row),
            f"{row['accuracy']:.4f}",
            f"{row['spread']:.4f}",
            human_bytes(row["bytes sent"]),
            human_bytes(row["bytes received"]),
            f"{row['messages']:,}",
            f"{seconds:.1f}",
        )
    table.caption = (
        f"ε: of a record, or * of a participant, at delta {comparison.DELTA:g}; sent, recv: bytes "
        "of one participant on average; msgs: messages of all; s: median seconds here"
    )
    return table


def _epsilon(row: dict) -> str:
    if row["epsilon"] is None:
        return ""
    return f"{row['epsilon']:.1f}" + ("*" if row["protects"] == "participant" else "")


if __name__ == "__main__":
    main(prog_name="python -m refimpl")
