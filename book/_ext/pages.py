"""Small repairs of the pages that Sphinx, Jupyter Book and docutils write."""

from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode, depart_HideCellInput, visit_HideCellInput
from sphinx.writers.html5 import HTML5Translator


def silence_thebe(app):
    """Undo sphinx-thebe, which Jupyter Book always loads and which points to a CDN."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)
    sheets = app.registry.css_files
    sheets[:] = [(name, options) for name, options in sheets if name != "sphinx-thebe.css"]


def visit_citation(self, node):
    """Write a bibliography entry as an item of its list; docutils gives it a withdrawn role."""
    HTML5Translator.visit_citation(self, node)
    self.body[-1] = self.body[-1].replace("doc-biblioentry", "listitem")


def depart_citation(self, node):
    """Close the entry as docutils does."""
    HTML5Translator.depart_citation(self, node)


def visit_hidden_cell(self, node):
    """Write a folded cell named by its visible text; myst-nb's label would hide that."""
    start = len(self.body)
    visit_HideCellInput(self, node)
    self.body[start:] = [
        part.replace(' aria-label="Toggle hidden content"', "") for part in self.body[start:]
    ]


def remove_pages_of_removed_sources(app, env, added, changed, removed):
    """Delete the page of a source that left the contents, which Sphinx would keep."""
    if app.builder.format == "html":
        for name in removed:
            Path(app.builder.get_outfilename(name)).unlink(missing_ok=True)
    return []


def write_all_pages_after_a_change(app):
    """Write every page when one is read again: each one's sidebar holds the titles of all."""
    changed = set()
    app.connect("env-purge-doc", lambda app, env, name: changed.add(name))
    app.connect("env-updated", lambda app, env: list(env.found_docs) if changed else [])


def setup(app):
    """Connect them; as a local extension this one is set up after Jupyter Book's own."""
    silence_thebe(app)
    write_all_pages_after_a_change(app)
    app.connect("env-get-outdated", remove_pages_of_removed_sources)
    app.add_node(nodes.citation, override=True, html=(visit_citation, depart_citation))
    app.add_node(HideCodeCellNode, override=True, html=(visit_hidden_cell, depart_HideCellInput))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
