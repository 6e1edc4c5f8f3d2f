"""What chapters use to show things: tested source, checked claims, exercises, costs, figures.

Everything shown is the same on every run and has a plain-text form, so that a stored page can be
compared with a fresh one. HTML carries classes and no colours; the book's stylesheet adds those.
A threat model is prose and needs nothing from here: write it as an admonition in the chapter.
"""

from . import figures
from .claims import claim
from .costs import cost_card
from .exercises import check
from .formatting import human_bytes, significant
from .measurements import measured
from .numbers import glue
from .sources import source
from .tables import table

__all__ = [
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
