"""What the built site must keep; a rule takes the site and returns what is wrong with it."""

import gzip
import re
from collections import Counter
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

ELSEWHERE = re.compile(r"\s*(https?:|//)", re.I)
OWN_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.I)
CSS_FETCH = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s;]+)""", re.I)
FETCHING = {
    "src": ["script", "img", "iframe", "source", "video", "audio", "embed", "track", "input"],
    "srcset": ["img", "source"],
    "data": ["object"],
    "poster": ["video"],
    "href": ["link", "image", "use"],
}
NOT_FETCHED = {"canonical", "next", "prev", "author", "license", "help", "search", "index"}
COMPRESSED_PAGE = 500_000  # bytes of one page with all that it loads, images left out


class Site:
    """A folder of HTML pages."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()

    @cached_property
    def pages(self):
        """{path: parsed page}, without the theme's own files and redirects."""
        paths = (p for p in sorted(self.folder.rglob("*.html")) if "_static" not in p.parts)
        parsed = {path: BeautifulSoup(path.read_text("utf8"), "html.parser") for path in paths}
        return {
            path: page
            for path, page in parsed.items()
            if not page.find("meta", attrs={"http-equiv": re.compile("refresh", re.I)})
        }

    @cached_property
    def ids(self):
        """{path: the fragments that a link may name}."""
        return {
            path: {tag.get("id") for tag in page.find_all(id=True)}
            | {tag.get("name") for tag in page.find_all("a", attrs={"name": True})}
            for path, page in self.pages.items()
        }

    def each(self):
        """Yield each page with its name."""
        for path, page in self.pages.items():
            yield path, path.relative_to(self.folder).as_posix(), page

    def target(self, path, url):
        """Return the file that an address on the page ``path`` leads to."""
        parts = urlsplit(url)
        found = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        return found / "index.html" if found.is_dir() else found


def _links(page):
    """Yield every address on a page."""
    for tag in page.find_all(True):
        for attribute in ("href", "src", "data"):
            if tag.has_attr(attribute):
                yield tag[attribute].strip()


def links_lead_somewhere(site):
    """Each link within the site has its file, and its fragment there."""
    for path, name, page in site.each():
        for url in _links(page):
            if OWN_SCHEME.match(url):
                continue
            target, fragment = site.target(path, url), unquote(urlsplit(url).fragment)
            if not target.exists():
                yield f"{name}: {url} leads to no file"
            elif fragment and target in site.ids and fragment not in site.ids[target]:
                yield f"{name}: {url} names a place that is not there"


def nothing_is_fetched_elsewhere(site):
    """No page asks another site for a script, style, font, image or frame."""
    for _, name, page in site.each():
        for attribute, tags in FETCHING.items():
            for tag in page.find_all(tags, attrs={attribute: True}):
                if tag.name == "link" and set(tag.get("rel", [])) <= NOT_FETCHED:
                    continue
                if any(ELSEWHERE.match(part) for part in tag[attribute].split(",")):
                    yield f"{name}: <{tag.name} {attribute}={tag[attribute]!r}>"
        styles = [tag.get_text() for tag in page.find_all("style")]
        styles += [tag["style"] for tag in page.find_all(style=True)]
        for url in CSS_FETCH.findall("\n".join(styles)):
            yield f"{name}: a style fetches {url}"
    for sheet in sorted(site.folder.rglob("*.css")):
        for url in CSS_FETCH.findall(sheet.read_text("utf8")):
            yield f"{sheet.relative_to(site.folder)} fetches {url}"


def images_have_text(site):
    """Each image says what it shows, and not by its file's name."""
    for _, name, page in site.each():
        for image in page.find_all("img"):
            alt = image.get("alt", "").strip()
            if not alt or re.search(r"\.(png|jpe?g|svg|gif)$", alt):
                yield f"{name}: image {image.get('src')} has the alt text {alt!r}"


def landmarks_are_valid(site):
    """One main part, and each navigation with a name."""
    for _, name, page in site.each():
        mains = page.select("main, [role=main]")
        if len(mains) != 1:
            yield f"{name}: has {len(mains)} main parts"
        for nav in page.select("nav, [role=navigation]"):
            if not (nav.get("aria-label") or nav.get("aria-labelledby")):
                yield f"{name}: has a navigation without a name"


def pages_have_titles_and_a_language(site):
    """A language, a title that no other page has, and one heading of the first order."""
    titles = Counter()
    for _, name, page in site.each():
        if not page.html.get("lang"):
            yield f"{name}: does not say its language"
        title = page.title.get_text(strip=True) if page.title else ""
        titles[title] += 1
        if not title:
            yield f"{name}: has no title"
        elif titles[title] == 2:
            yield f"{name}: has the title of another page, {title!r}"
        headings = [h for h in page.find_all("h1") if not h.find_parent(class_="onlyprint")]
        if len(headings) != 1:
            yield f"{name}: has {len(headings)} headings of the first order"


def pages_are_light(site):
    """A page with all scripts, styles and fonts it loads stays small when compressed."""
    for path, name, page in site.each():
        files = {path}
        for tag in page.select("script[src], link[rel=stylesheet]"):
            url = tag.get("src") or tag.get("href")
            if not OWN_SCHEME.match(url):
                files.add(site.target(path, url))
        size = sum(len(gzip.compress(file.read_bytes())) for file in files if file.exists())
        if size > COMPRESSED_PAGE:
            yield f"{name}: is {size / 1000:.0f} KB with what it loads"


RULES = [
    links_lead_somewhere,
    nothing_is_fetched_elsewhere,
    images_have_text,
    landmarks_are_valid,
    pages_have_titles_and_a_language,
    pages_are_light,
]
