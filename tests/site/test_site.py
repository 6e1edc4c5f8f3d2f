"""The book as built keeps the rules of ``rules``, draws its icons and carries no dead weight."""

import re
from pathlib import Path

import pytest

from tests.site import rules

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
STATIC = ROOT / "book" / "_static"


@pytest.fixture(scope="module")
def site():
    built = rules.Site(HTML)
    assert built.pages, "the book is not built: run `make book` or `jupyter-book build .`"
    return built


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_rule(site, rule):
    problems = list(rule(site))
    assert not problems, "\n".join(problems)


def test_every_icon_is_in_the_reduced_fonts(site):
    """The theme's style sheet says which glyph an icon's class is; the fonts hold few of them."""
    css = (HTML / "_static/styles/pydata-sphinx-theme.css").read_text("utf8")
    glyphs = set((STATIC / "vendor/fontawesome/glyphs.txt").read_text().split())
    for _, name, page in site.each():
        for icon in page.select("i[class*=fa-], span[class*=fa-]"):
            for kind in icon["class"]:
                rule = re.search(rf'\.{re.escape(kind)}:before[^{{}}]*{{content:"(.[^"]*)"', css)
                if rule:
                    code = rule[1][1:] if rule[1].startswith("\\") else f"{ord(rule[1]):x}"
                    assert f"U+{code.upper()}" in glyphs, f"{name}: {kind} is not in glyphs.txt"


def test_formulas_alone_bring_katex(site):
    for _, name, page in site.each():
        loaded = any("katex" in tag["src"] for tag in page.select("script[src]"))
        assert loaded == bool(page.select(".math")), name


def test_unused_scripts_are_left_out(site):
    for _, name, page in site.each():
        assert "thebe" not in "".join(map(str, page.find_all(["script", "link"]))), name
    assert (HTML / "_static/scripts/fontawesome.js").stat().st_size < 1000


def test_every_claim_card_is_on_the_claims_page(site):
    cards = {tag["id"] for _, _, page in site.each() for tag in page.select(".claim-card[id]")}
    listed = site.pages[HTML / "book/reference/claims.html"].select("table.claims a[href*=claim-]")
    assert cards == {link["href"].split("#")[1] for link in listed}


def test_every_module_is_on_a_page_of_the_package():
    files = (path.relative_to(ROOT) for path in sorted((ROOT / "refimpl").rglob("*.py")))
    modules = {".".join(file.with_suffix("").parts) for file in files if file.stem[0] != "_"}
    pages = "".join(path.read_text("utf8") for path in (ROOT / "book/reference/api").glob("*.md"))
    assert set(re.findall(r"automodule:: (\S+)", pages)) == modules
