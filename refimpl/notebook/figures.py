"""Figures that look the same everywhere: colour-blind safe, on white, as PNG, with alt text.

A figure is drawn without pyplot, so no backend is chosen, no figure stays open and no global
setting changes. The white ground is opaque on purpose: on a dark page the figure stands as a light
card on which the colours below keep their contrast.

myst-nb takes an image's alt text from the cell's metadata alone (``mystnb.image.alt``), so a
chapter writes it there too; the output carries it in its own metadata and as its plain text.
"""

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from refimpl.notebook.display import show
from refimpl.notebook.formatting import significant

if TYPE_CHECKING:
    import networkx
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008). The first five reach a contrast of 3:1 on white;
# the next two need the dark rim of their markers, and its yellow is left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", "-", "--", "-.")

_SHARPNESS = 2  # pixels drawn for each pixel shown
_SHOWN_DPI = 96
_STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 11,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "lines.linewidth": 2,
    "lines.markeredgecolor": "#222222",
    "lines.markersize": 6,
}


class Run(Protocol):
    """The part of a collaboration's run that an accuracy curve shows."""

    @property
    def accuracy_by_round(self) -> Sequence[float]: ...
    @property
    def task(self) -> Any: ...


@contextmanager
def figure(alt: str, *, width: float = 6.4, height: float = 4.0, columns: int = 1) -> Iterator[Any]:
    """Draw on the axes this gives, and show the figure when the block ends.

    ``with figure("Two curves: …") as axes:`` gives one ``Axes``, or an array of them when
    ``columns`` is above one. ``alt`` says what the figure shows to those who cannot see it;
    width and height are in inches of 96 pixels.

    Raises ``ValueError`` for an empty ``alt``. An error inside the block shows no figure.
    """
    if not alt.strip():
        raise ValueError("a figure needs alt text: say what it shows, not what it is")
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    cycle = cycler(color=COLOURS, marker=MARKERS, linestyle=LINES)
    with mpl.rc_context({"axes.prop_cycle": cycle, **_STYLE}):  # type: ignore[dict-item]
        canvas = Figure(figsize=(width, height), layout="constrained")
        yield canvas.subplots(1, columns)
        png = _as_png(canvas)
    shown = {"alt": alt, "width": round(width * _SHOWN_DPI)}
    show(alt, png=png, metadata={"image/png": shown})


def _as_png(canvas: "Figure") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=_SHARPNESS * _SHOWN_DPI)
    # A palette makes the file three times smaller and drops matplotlib's version from it, so that
    # an upgrade alone changes no stored figure.
    palette = Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small = io.BytesIO()
    palette.save(small, format="png", optimize=True)
    return small.getvalue()


def accuracy_curves(
    runs: Mapping[str, Run],
    *,
    alt: str = "",
    axes: "Axes | None" = None,
    by: str = "round",
) -> None:
    """Draw each run's test score over its rounds, on ``axes`` or as a figure of its own.

    ``run.accuracy_by_round[i]`` is drawn at round i + 1. ``alt`` is needed without ``axes``.
    """
    if not runs:
        raise ValueError("accuracy_curves needs at least one run, got an empty mapping")
    if axes is None:
        with figure(alt) as own:
            accuracy_curves(runs, axes=own, by=by)
        return
    from matplotlib.ticker import MaxNLocator

    for label, run in runs.items():
        accuracy = np.asarray(run.accuracy_by_round, dtype=float)
        axes.plot(
            np.arange(1, len(accuracy) + 1),
            accuracy,
            label=label,
            markevery=max(1, len(accuracy) // 8),
        )
    axes.set_xlabel(by)
    metrics = {run.task.metric for run in runs.values()}
    axes.set_ylabel(f"test {metrics.pop()}" if len(metrics) == 1 else "test score")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def topology(
    graph: "networkx.Graph",
    *,
    alt: str = "",
    axes: "Axes | None" = None,
    values: Sequence[float] | None = None,
    positions: Mapping[int, tuple[float, float]] | None = None,
) -> None:
    """Draw a graph over nodes 0..n-1, each labelled with its number or its value.

    Nodes stand on a circle unless ``positions`` says otherwise (``grid_positions`` lays out a
    grid). ``values`` in [0, 1] also shade the nodes.
    """
    if axes is None:
        with figure(alt, width=4.0, height=4.0) as own:
            topology(graph, axes=own, values=values, positions=positions)
        return
    if values is not None and len(values) != len(graph):
        raise ValueError(f"values must be one for each of {len(graph)} nodes, got {len(values)}")
    where = dict(positions) if positions is not None else circle_positions(len(graph))
    for one, other in graph.edges:
        (x0, y0), (x1, y1) = where[one], where[other]
        axes.plot([x0, x1], [y0, y1], color="#777777", lw=1.2, ls="-", marker="", zorder=1)
    for node, number in zip(sorted(graph), itertools.count()):
        value = None if values is None else float(values[number])
        _draw_node(axes, where[node], str(node), value)
    axes.set_aspect("equal")
    axes.margins(0.15)
    axes.axis("off")


def _draw_node(axes: "Axes", position: tuple[float, float], name: str, value: float | None) -> None:
    from matplotlib import colormaps

    shade = 0.0 if value is None else 0.85 * min(max(value, 0.0), 1.0)
    fill = colormaps["Blues"](shade)
    axes.scatter(*position, s=700, color=[fill], edgecolor="#222222", zorder=2)
    label = name if value is None else significant(value, 2)
    # Black on the lighter half of the map: white would fall under a contrast of 4.5 there.
    ink = "white" if shade > 0.72 else "black"
    axes.text(*position, label, ha="center", va="center", fontsize=10, color=ink, zorder=3)


def circle_positions(nodes: int) -> dict[int, tuple[float, float]]:
    """Nodes 0..n-1 clockwise on the unit circle, node 0 on top."""
    angles = 2 * np.pi * np.arange(nodes) / nodes
    return {node: (float(np.sin(angle)), float(np.cos(angle))) for node, angle in enumerate(angles)}


def grid_positions(rows: int, columns: int) -> dict[int, tuple[float, float]]:
    """Nodes 0..rows*columns-1 in rows from the top, as ``network.topology.grid`` numbers them."""
    return {
        node: (float(node % columns), float(-(node // columns))) for node in range(rows * columns)
    }
