import io
from dataclasses import dataclass, field

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from refimpl.network import topology
from refimpl.notebook import figures


@dataclass
class Task:
    metric: str = "accuracy"


@dataclass
class Run:
    accuracy_by_round: list
    task: Task = field(default_factory=Task)


RUNS = {"together": Run([0.5, 0.75, 0.9]), "alone": Run([0.4, 0.5])}


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(
        figures, "show", lambda text, png, metadata: outputs.append((text, png, metadata))
    )
    return outputs


def test_figure_is_an_opaque_png_with_its_alt_text(shown):
    with figures.figure("A line that rises", width=3, height=2) as axes:
        axes.plot([0, 1], [0, 1])
    [(text, png, metadata)] = shown
    assert text == "A line that rises"
    assert metadata == {"image/png": {"alt": "A line that rises", "width": 288}}
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.size, image.mode) == ("PNG", (576, 384), "P")
    assert "Software" not in image.text and "transparency" not in image.info
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    colours = {colour for _, colour in image.convert("RGB").getcolors()}
    assert (0x00, 0x72, 0xB2) in colours  # the palette keeps the line's colour


def test_same_figure_has_the_same_bytes(shown):
    for _ in range(2):
        figures.accuracy_curves(RUNS, alt="curves")
    assert shown[0][1] == shown[1][1]


def test_nothing_leaks_into_global_settings(shown):
    # Values of our own first, or an earlier test's leak would look like the usual state.
    with mpl.rc_context({"font.size": 17, "axes.grid": False, "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        with pytest.raises(ZeroDivisionError), figures.figure("broken"):
            raise ZeroDivisionError
        figures.accuracy_curves(RUNS, alt="curves")
        assert dict(mpl.rcParams) == before
    assert len(shown) == 1  # the broken one was not shown


def test_alt_text_is_required():
    with pytest.raises(ValueError, match="alt text"):
        figures.accuracy_curves(RUNS)
    with pytest.raises(ValueError, match="alt text"):
        figures.topology(topology.ring(3))


def test_curves_draw_the_runs():
    axes = Figure().subplots()
    figures.accuracy_curves(RUNS, axes=axes)
    together, alone = axes.get_lines()
    np.testing.assert_array_equal(together.get_xydata(), [[1, 0.5], [2, 0.75], [3, 0.9]])
    np.testing.assert_array_equal(alone.get_xydata(), [[1, 0.4], [2, 0.5]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["together", "alone"]
    assert axes.get_ylabel() == "test accuracy"
    figures.accuracy_curves({"a": Run([0.1], Task("R²"))}, axes=axes)
    assert axes.get_ylabel() == "test R²"
    with pytest.raises(ValueError, match="at least one run"):
        figures.accuracy_curves({}, axes=axes)


def test_curves_differ_in_more_than_colour(shown):
    with figures.figure("all") as axes:
        figures.accuracy_curves({str(i): Run([0.1, 0.2]) for i in range(7)}, axes=axes)
        looks = [
            (line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.get_lines()
        ]
    colours, markers, _ = zip(*looks, strict=True)
    assert len(set(colours)) == len(set(markers)) == 7


def contrast_on_white(colour: str) -> float:
    """WCAG 2.2 contrast ratio against white."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 1.05 / (np.dot([0.2126, 0.7152, 0.0722], linear) + 0.05)


def test_first_colours_stand_out_on_white():
    assert all(contrast_on_white(colour) >= 3 for colour in figures.COLOURS[:5])


def test_topology_draws_every_edge_and_node():
    graph = topology.random_regular(8, 3, seed=0)
    axes = Figure().subplots()
    figures.topology(graph, axes=axes, values=np.linspace(0, 1, 8))
    where = figures.circle_positions(8)
    drawn = {tuple(map(tuple, line.get_xydata())) for line in axes.get_lines()}
    assert drawn == {(where[one], where[other]) for one, other in graph.edges}
    labels = [text.get_text() for text in axes.texts]
    assert labels == ["0", "0.14", "0.29", "0.43", "0.57", "0.71", "0.86", "1"]
    with pytest.raises(ValueError, match="one for each of 8 nodes, got 2"):
        figures.topology(graph, axes=axes, values=[0, 1])


def test_grid_positions_put_neighbours_side_by_side():
    where = figures.grid_positions(3, 4)
    graph = topology.grid(3, 4)
    for one, other in graph.edges:
        assert np.abs(np.subtract(where[one], where[other])).sum() == 1
    assert len(set(where.values())) == 12
