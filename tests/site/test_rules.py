"""Each rule finds the fault it is there for, in a site that is otherwise good."""

import random

import pytest

from tests.site import rules

GOOD = """<!doctype html><html lang="en"><head><title>{title}</title>
<link rel="stylesheet" href="book.css?v=1"><link rel="canonical" href="https://a.example/">
<script src="book.js"></script></head><body><div class="onlyprint"><h1>Print</h1></div>
<nav aria-label="Main"><a href="other.html#part">Other</a><a href="https://a.example/">A</a></nav>
<main id="part"><h1>{title}</h1><img src="a.png" alt="A falling line">{fault}</main></body></html>
"""


@pytest.fixture
def build(tmp_path):
    """Write a good site of two pages, but for what the test changes; return its problems."""

    def build(fault="", change=lambda html: html, **files):
        written = {"book.css": "", "book.js": "", "a.png": "", "index.html": "", "other.html": ""}
        written["index.html"] = change(GOOD.format(title="Front", fault=fault))
        written["other.html"] = GOOD.format(title="Other", fault="")
        written |= {name.replace("_", "."): text for name, text in files.items()}
        for name, text in written.items():
            (tmp_path / name).write_text(text, "utf8")
        site = rules.Site(tmp_path)
        return [(rule.__name__, text) for rule in rules.RULES for text in rule(site)]

    return build


def test_a_good_site_passes(build):
    assert build() == []


FAULTS = {
    '<a href="gone.html">x</a>': "links_lead_somewhere",
    '<a href="other.html#gone">x</a>': "links_lead_somewhere",
    '<a href="#gone">x</a>': "links_lead_somewhere",
    '<script src="gone.js"></script>': "links_lead_somewhere",
    '<script src="https://cdn.example/a.js"></script>': "nothing_is_fetched_elsewhere",
    '<script src="//cdn.example/a.js"></script>': "nothing_is_fetched_elsewhere",
    '<img src="https://a.example/badge.svg" alt="A badge">': "nothing_is_fetched_elsewhere",
    '<img src="a.png" srcset="a.png, https://a.example/b 2x" alt="A line">': (
        "nothing_is_fetched_elsewhere"
    ),
    '<iframe src="https://a.example/" title="A"></iframe>': "nothing_is_fetched_elsewhere",
    '<link rel="preload" href="https://a.example/f.woff2">': "nothing_is_fetched_elsewhere",
    '<link rel="stylesheet" href="https://a.example/a.css">': "nothing_is_fetched_elsewhere",
    "<style>@import 'https://a.example/a.css';</style>": "nothing_is_fetched_elsewhere",
    '<p style="background: url(//a.example/a.png)">x</p>': "nothing_is_fetched_elsewhere",
    '<img src="a.png">': "images_have_text",
    '<img src="a.png" alt="../a.png">': "images_have_text",
    '<div role="main"></div>': "landmarks_are_valid",
    "<nav></nav>": "landmarks_are_valid",
    "<h1>Two</h1>": "pages_have_titles_and_a_language",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_by_its_rule(build, fault):
    assert {rule for rule, _ in build(fault)} == {FAULTS[fault]}


@pytest.mark.parametrize("gone", [' lang="en"', "<title>Front</title>", "<h1>Front</h1>"])
def test_a_page_without_language_title_or_heading_is_found(build, gone):
    found = build(change=lambda html: html.replace(gone, "", 1))
    assert {rule for rule, _ in found} == {"pages_have_titles_and_a_language"}


def test_two_pages_of_one_title_are_found(build):
    found = build(change=lambda html: html.replace("<title>Front", "<title>Other", 1))
    assert [rule for rule, _ in found] == ["pages_have_titles_and_a_language"]


def test_a_style_sheet_that_fetches_is_found(build):
    found = build(book_css="@font-face { src: url('https://a.example/f.woff2'); }")
    assert [rule for rule, _ in found] == ["nothing_is_fetched_elsewhere"]


def test_a_heavy_script_is_found(build):
    noise = "".join(random.Random(1).choices("abcdefghijklmnop", k=1_300_000))  # 4 bits a letter
    assert {rule for rule, _ in build(book_js=noise)} == {"pages_are_light"}


def test_every_rule_has_a_planted_fault():
    assert {*FAULTS.values(), "pages_are_light"} == {rule.__name__ for rule in rules.RULES}
