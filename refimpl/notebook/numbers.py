"""Numbers in prose come from the run: name one in a cell, and the text refers to the name."""

from refimpl.notebook.display import running_shell
from refimpl.notebook.formatting import readable

_PREFIX = "application/papermill.record/"  # what myst-nb's glue stores its values under


def glue(**values: object) -> None:
    """Name values for the text: after ``glue(alone=0.5694)``, ``{glue:text}`alone``` prints 0.5694.

    Numbers are shown in at most four digits; a text stays as it is. The built page puts them into
    the prose; the cell itself shows nothing, and outside a notebook nothing happens.
    """
    if running_shell() is None:
        return
    from IPython.display import publish_display_data

    for name, value in values.items():
        publish_display_data(
            {f"{_PREFIX}text/plain": repr(readable(value))},
            {"scrapbook": {"name": name, "mime_prefix": _PREFIX}},
        )
