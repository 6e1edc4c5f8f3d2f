"""What chapters use to show things: tested source, checked claims, exercises, costs, figures.

Everything shown is the same on every run and has a plain-text form, so that a stored page can be
compared with a fresh one. HTML carries classes and no colours; the book's stylesheet adds those.
A threat model is prose and needs nothing from here: write it as an admonition in the chapter.
"""

from refimpl.notebook import figures
from refimpl.notebook.claims import claim
from refimpl.notebook.costs import cost_card
from refimpl.notebook.exercises import Fresh, check
from refimpl.notebook.formatting import human_bytes, significant
from refimpl.notebook.measurements import measured
from refimpl.notebook.numbers import glue
from refimpl.notebook.sources import source
from refimpl.notebook.tables import table

__all__ = [
    "Fresh",
    "check",
    "claim",
    "cost_card",
    "figures",
    "glue",
    "human_bytes",
    "measured",
    "significant",
    "source",
    "table",
]
