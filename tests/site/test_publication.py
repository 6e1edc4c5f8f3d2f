"""A small book built with and without a public address, and with claims on its chapter."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.site import rules

ROOT = Path(__file__).parents[2]
TOC = """
format: jb-book
root: book/index
chapters: [{file: book/claims}, {file: book/bibliography}]
"""
CLAIMS = [
    {
        "id": "sum-is-exact",
        "says": "The sum of the shares is *exact*: $x = s_1 + s_2$.",
        "cite": ["antwi2021privacy"],
        "verdict": "confirmed",
        "measured": "0 of 100 sums differ",
        "conditions": {"no sum differs": True},
    },
    {
        "id": "noise-is-free",
        "says": "Noise costs | no accuracy.",
        "cite": [],
        "verdict": "refuted",
        "measured": "3 points of accuracy",
        "conditions": {"no loss": False},
    },
]


def chapter(claims):
    """Return an executed chapter that shows these claims."""
    outputs = [
        nbformat.v4.new_output(
            "display_data",
            {"text/html": f'<div class="claim-card" id="claim-{claim["id"]}">Claim</div>'},
            metadata={"refimpl": {"claim": claim}},
        )
        for claim in claims
    ]
    kernel = {"name": "python3", "display_name": "Python 3"}
    return nbformat.v4.new_notebook(
        metadata={"kernelspec": kernel, "language_info": {"name": "python"}},
        cells=[
            nbformat.v4.new_markdown_cell("# A chapter\n\nYou will check claims."),
            nbformat.v4.new_code_cell("claim()", execution_count=1, outputs=outputs),
        ],
    )


def write(folder):
    """Write a book of three pages with this project's configuration."""
    shutil.copytree(ROOT / "book", folder / "book", ignore=lambda *_: {"_data", "reference"})
    for old in [*(folder / "book").rglob("*.ipynb"), *(folder / "book").rglob("*.md")]:
        old.unlink()
    shutil.copy(ROOT / "_config.yml", folder)
    (folder / "_toc.yml").write_text(TOC)
    nbformat.write(chapter(CLAIMS), folder / "book/index.ipynb")
    (folder / "book/claims.md").write_text("# Claims\n\n```{claims}\n```\n")
    (folder / "book/bibliography.md").write_text("# Works\n\n```{bibliography}\n```\n")
    subprocess.run(["git", "init", "--quiet", folder], check=True)


def build(folder, **environment):
    """Run jupyter-book, warnings as errors; return the site and the log."""
    unset = {"GITHUB_REPOSITORY", "BOOK_URL"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    command = [Path(sys.executable).parent / "jupyter-book", "build", "-W", "--keep-going", folder]
    done = subprocess.run(command, capture_output=True, text=True, env=inherited | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return rules.Site(folder / "_build/html"), done.stdout


def hrefs(site, page):
    return [
        tag["href"] for tag in site.pages[site.folder / page].find_all(["a", "link"], href=True)
    ]


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """A book without an address, built a second time after a page went and a claim came."""
    folder = tmp_path_factory.mktemp("private")
    write(folder)
    nbformat.write(chapter(CLAIMS[:1]), folder / "book/index.ipynb")
    (folder / "book/gone.md").write_text("# Gone\n")
    (folder / "_toc.yml").write_text(TOC.replace("[{", "[{file: book/gone}, {"))
    first, _ = build(folder)
    assert (first.folder / "book/gone.html").exists()
    write_again = {"book/index.ipynb": nbformat.writes(chapter(CLAIMS)), "_toc.yml": TOC}
    for name, text in write_again.items():
        (folder / name).write_text(text)
    (folder / "book/gone.md").unlink()
    return build(folder)


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    write(folder)
    return build(folder, GITHUB_REPOSITORY="Ada/book.x")


def test_without_an_address_there_are_no_launch_links(private):
    site, log = private
    assert "no GitHub repository known" in log
    assert not [url for url in hrefs(site, "book/index.html") if "://" in url]


def test_with_an_address_there_are_launch_links(public):
    site, log = public
    assert "launch links to github.com/Ada/book.x" in log
    urls = hrefs(site, "book/index.html")
    path = "book/index.ipynb"
    assert f"https://mybinder.org/v2/gh/Ada/book.x/main?urlpath=lab/tree/{path}" in urls
    assert f"https://colab.research.google.com/github/Ada/book.x/blob/main/{path}" in urls
    assert "https://github.com/Ada/book.x" in urls
    assert "https://ada.github.io/book.x/book/index.html" in urls  # the canonical address


@pytest.mark.parametrize("book", ["private", "public"])
def test_both_keep_the_rules_of_the_site(book, request):
    site, _ = request.getfixturevalue(book)
    assert not [problem for rule in rules.RULES for problem in rule(site)]


@pytest.mark.parametrize(
    "origin",
    ["git@github.com:ada/book.git", "https://github.com/ada/book", "ssh://github.com/a/b/"],
)
def test_an_address_on_github_is_read_from_the_remote(origin, tmp_path, publication):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    assert publication.repository({}, tmp_path) is None
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", origin], check=True)
    assert publication.repository({}, tmp_path) in {"ada/book", "a/b"}
    assert publication.repository({"GITHUB_REPOSITORY": "c/d"}, tmp_path) == "c/d"


@pytest.mark.parametrize("origin", ["https://example.org/ada/book.git", "/srv/github.com.git"])
def test_another_remote_is_no_address(origin, tmp_path, publication):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", origin], check=True)
    assert publication.repository({}, tmp_path) is None


def test_base_address(publication):
    assert publication.base_address({}, "Ada/book") == "https://ada.github.io/book/"
    own = {"BOOK_URL": "https://book.example"}
    assert publication.base_address(own, "Ada/book") == "https://book.example/"


@pytest.fixture
def publication(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book/_ext"))
    import publication

    return publication


def test_the_claims_page_lists_each_claim_with_its_source_and_cell(private):
    site, _ = private
    table = site.pages[site.folder / "book/claims.html"].select_one("table.claims")
    rows = [
        [cell.get_text(" ", strip=True) for cell in row("td")] for row in table.select("tbody tr")
    ]
    assert rows[0][0].startswith("The sum of the shares is exact :")
    assert rows[0][0].endswith("sum-is-exact")
    assert "Antwi-Boasiako" in rows[0][1]
    assert rows[0][2:] == ["confirmed", "0 of 100 sums differ"]
    assert rows[1] == [
        "Noise costs | no accuracy. noise-is-free",
        "this book",
        "refuted",
        "3 points of accuracy",
    ]
    links = [link["href"] for link in table.select("a[href*=claim-]")]
    assert links == ["index.html#claim-sum-is-exact", "index.html#claim-noise-is-free"]


def test_a_page_that_left_the_contents_leaves_the_site(private):
    site, _ = private
    assert not (site.folder / "book/gone.html").exists()
