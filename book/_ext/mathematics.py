"""Mathematics by the KaTeX in ``book/_static/vendor``, drawn in the reader's browser.

The page carries the TeX source. Only a page that has a formula loads KaTeX, and no page asks
another site for it.
"""

from sphinx.ext.mathjax import html_visit_displaymath, html_visit_math

FOLDER = "vendor/katex"


def load_katex(app, pagename, templatename, context, doctree):
    """Add KaTeX's style sheet and scripts to a page with formulas."""
    if 'class="math ' not in context.get("body", ""):
        return
    app.add_css_file(f"{FOLDER}/katex.min.css")
    for script in (f"{FOLDER}/katex.min.js", f"{FOLDER}/auto-render.min.js", "mathematics.js"):
        app.add_js_file(script, loading_method="defer")


def setup(app):
    """Register the renderer; Sphinx writes ``\\(...\\)`` and ``\\[...\\]`` as for MathJax."""
    app.add_html_math_renderer("katex", (html_visit_math, None), (html_visit_displaymath, None))
    app.connect("html-page-context", load_katex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
