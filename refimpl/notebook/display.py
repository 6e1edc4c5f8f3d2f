"""Show one thing in several forms: a notebook front end takes the richest that it knows."""

from collections.abc import Mapping


def show(
    text: str,
    *,
    html: str | None = None,
    markdown: str | None = None,
    png: bytes | None = None,
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Publish ``text`` and its richer forms as one output; outside a notebook, print ``text``.

    ``metadata`` rides on the output and survives saving. Front ends ignore keys they do not know,
    whereas an unknown mime type would be a warning in the built book.
    """
    shell = running_shell()
    if shell is None:
        print(text)
        return
    data: dict[str, object] = {"text/plain": text}
    if html is not None:
        data["text/html"] = html
    if markdown is not None:
        data["text/markdown"] = markdown
    if png is not None:
        data["image/png"] = png
    from IPython.display import publish_display_data

    publish_display_data(data, dict(metadata or {}))


def running_shell() -> object | None:
    """The notebook's shell, or None where no notebook runs or none is installed."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    return get_ipython()
