"""What every explorable keeps: nothing comes from elsewhere, and each page loads all it needs."""

import json
import re
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[2] / "book"
FOLDER = BOOK / "_static" / "explorables"
FILES = sorted(path.name for path in FOLDER.iterdir())
SHARED = "explorable.js"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.js")) if path.name != SHARED]


def loaded_and_placed(page):
    """The explorables' scripts that a chapter loads, in order, and the places it has for them."""
    cells = json.loads(page.read_text("utf8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    scripts = re.findall(r'<script defer src="../../_static/explorables/([\w.]+)"></script>', text)
    return scripts, re.findall(r'data-explorable="(\w+)"', text)


PAGES = {page: loaded_and_placed(page) for page in sorted(BOOK.rglob("*.ipynb"))}


@pytest.mark.parametrize("file", FILES)
def test_it_asks_nothing_of_the_network(file):
    text = (FOLDER / file).read_text("utf8")
    text = text.replace("http://www.w3.org/2000/svg", "")  # a name, fetched by nobody
    assert not any(word in text for word in ("http:", "https:", "import(", "fetch(", "@import"))


def test_a_page_loads_what_is_shared_and_then_its_explorable():
    for page, (scripts, places) in PAGES.items():
        expected = [SHARED, *(f"{name}.js" for name in places)] if places else []
        assert scripts == expected, page.name


@pytest.mark.parametrize("name", NAMES)
def test_each_is_on_one_page_and_finds_its_place(name):
    assert sum(places.count(name) for _, places in PAGES.values()) == 1
    assert f'mount("{name}", ' in (FOLDER / f"{name}.js").read_text("utf8")
