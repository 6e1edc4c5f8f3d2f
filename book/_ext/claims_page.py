"""The ``{claims}`` directive: a table of every claim that the book's notebooks check.

``refimpl.notebook.claim`` leaves what it checked in the metadata of its output, under
``refimpl.claim``. The table is read from there, so it cannot disagree with the chapters.
"""

import json
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

COLUMNS = {"Claim": 46, "Source": 18, "Verdict": 12, "Measured": 24}


def claims_of(path):
    """Return the claims in the stored outputs of one notebook, in order."""
    cells = json.loads(Path(path).read_text("utf8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    found = [output.get("metadata", {}).get("refimpl", {}).get("claim") for output in outputs]
    return [claim for claim in found if claim]


class Claims(SphinxDirective):
    """List id, statement, source, verdict and measurement of every claim, linked to its cell."""

    def run(self):
        rows, seen = [], {}
        for document in sorted(self.env.found_docs):
            path = self.env.doc2path(document)
            if not path.endswith(".ipynb"):
                continue
            for claim in claims_of(path):
                if claim["id"] in seen:
                    raise self.error(
                        f"claim {claim['id']!r} is made in {seen[claim['id']]} and in {document}"
                    )
                seen[claim["id"]] = document
                rows.append(self.row(document, claim))
        if not rows:
            return self.parse_text_to_nodes("No chapter checks a claim yet.")
        self.env.metadata[self.env.docname]["lists_claims"] = True
        return [self.table(rows)]

    def row(self, document, claim):
        """Return one claim as a table row."""
        page = self.env.app.builder.get_relative_uri(self.env.docname, document)
        link = nodes.reference("", claim["id"], refuri=f"{page}#claim-{claim['id']}")
        source = ", ".join(f"{{cite:t}}`{key}`" for key in claim["cite"]) or "this book"
        verdict = nodes.inline("", claim["verdict"], classes=["verdict", claim["verdict"]])
        statement = [*self.parse_text_to_nodes(claim["says"]), nodes.paragraph("", "", link)]
        return [
            statement,
            self.parse_text_to_nodes(source),
            [nodes.paragraph("", "", verdict)],
            self.parse_text_to_nodes(str(claim["measured"])),
        ]

    def table(self, rows):
        """Return the rows as a table with a header."""
        group = nodes.tgroup(cols=len(COLUMNS))
        group += [nodes.colspec(colwidth=width) for width in COLUMNS.values()]
        header = [[nodes.paragraph("", title)] for title in COLUMNS]
        for part, content in ((nodes.thead(), [header]), (nodes.tbody(), rows)):
            for row in content:
                part += nodes.row("", *(nodes.entry("", *cell) for cell in row))
            group += part
        return nodes.table("", group, classes=["claims"])


def read_again(app, env, added, changed, removed):
    """Read the claims page again when a chapter comes, changes or goes."""
    if not added | changed | removed:
        return []
    return [name for name in env.found_docs if env.metadata[name].get("lists_claims")]


def setup(app):
    """Register the directive."""
    app.add_directive("claims", Claims)
    app.connect("env-get-outdated", read_again)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
