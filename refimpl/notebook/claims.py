"""A claim is a check: what somebody says, what was measured here, and whether the two agree."""

import functools
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import refimpl
from refimpl.notebook.display import show
from refimpl.notebook.formatting import readable

BIBLIOGRAPHY = Path(refimpl.__file__).resolve().parent.parent / "book" / "references.bib"
_VERDICTS = {
    "confirmed": "Confirmed",
    "nuanced": "True with a nuance",
    "refuted": "Refuted",
}
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def claim(
    id: str,
    *,
    says: str,
    cite: str | Sequence[str] | None,
    measured: object,
    holds: object,
    verdict: str,
) -> None:
    """Show a claim card, after asserting that the measurement gives the stated verdict.

    ``id`` is the claim's name, unique in the book and in kebab-case (``"together-beats-alone"``);
    the card can be linked to as ``#claim-<id>``. ``says`` is the statement under test, and
    ``cite`` the bibliography key, or several, of who says it (None: this book). ``measured`` is
    what the page measured: a text, a number, or a mapping of label to number. ``holds`` says
    whether the measurement agrees, or maps conditions to whether it agrees there. ``verdict`` is
    what the author concludes: "confirmed" (all hold), "refuted" (none holds) or "nuanced" (some).

    Raises ``AssertionError`` when verdict and measurement disagree, so that the notebook fails,
    and ``ValueError`` or ``TypeError`` for a malformed claim. The claim also rides in the
    output's metadata under ``refimpl.claim``, from where the book's claims page collects it.
    """
    _check_form(id, says, verdict)
    conditions = _conditions(holds)
    _assert_agreement(id, verdict, conditions)
    named = conditions if isinstance(holds, Mapping) else {}
    keys = [cite] if isinstance(cite, str) else list(cite or [])
    source = "; ".join(_label(key) for key in keys) or "this book"
    found = _findings(measured)
    show(
        _as_text(says, source, found, named, verdict),
        html=_as_html(id, says, source, found, named, verdict),
        metadata={
            "refimpl": {
                "claim": {
                    "id": id,
                    "says": says,
                    "cite": keys,
                    "verdict": verdict,
                    "measured": "; ".join(found),
                    "conditions": named,
                }
            }
        },
    )


@functools.cache
def _label(key: str) -> str:
    """A bibliography key as a reader says it: "Lian et al. 2017"."""
    if not BIBLIOGRAPHY.exists():  # the package without the book
        return key
    from pybtex.database import parse_file

    entries = parse_file(str(BIBLIOGRAPHY)).entries
    if key not in entries:
        raise ValueError(f"cite must be a key of book/{BIBLIOGRAPHY.name}, got {key!r}")
    people = entries[key].persons["author"]
    first, last = (" ".join(map(str, people[end].rich_last_names)) for end in (0, -1))
    others = {1: "", 2: f" and {last}"}.get(len(people), " et al.")
    return f"{first}{others} {entries[key].fields['year']}"


def _check_form(id: str, says: str, verdict: str) -> None:
    if not _ID.fullmatch(id):
        raise ValueError(f"id must be kebab-case, such as 'together-beats-alone', got {id!r}")
    if not says.strip():
        raise ValueError("says must state the claim, got an empty text")
    if verdict not in _VERDICTS:
        raise ValueError(f"verdict must be one of {', '.join(_VERDICTS)}, got {verdict!r}")


def _conditions(holds: object) -> dict[str, bool]:
    given = dict(holds) if isinstance(holds, Mapping) else {"the claim": holds}
    if not given:
        raise ValueError("holds must name at least one condition, got an empty mapping")
    for name, value in given.items():
        # A number would be true in silence; numpy's bool is not a bool, but is meant as one.
        if type(value).__name__ not in {"bool", "bool_"}:
            raise TypeError(f"holds must be a bool for {name!r}, got {value!r}; compare it first")
    return {str(name): bool(value) for name, value in given.items()}


def _assert_agreement(id: str, verdict: str, conditions: dict[str, bool]) -> None:
    holding = sum(conditions.values())
    some = "nuanced" if holding else "refuted"
    found = "confirmed" if holding == len(conditions) else some
    if found != verdict:
        listing = "; ".join(f"{name}: {_word(value)}" for name, value in conditions.items())
        raise AssertionError(
            f"claim {id!r} is stated as {verdict}, but the measurement says {found} ({listing}). "
            "Look at the measurement first, then correct the verdict or the code."
        )


def _word(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def _findings(measured: object) -> list[str]:
    if isinstance(measured, Mapping):
        return [f"{label}: {readable(value)}" for label, value in measured.items()]
    return [readable(measured)]


def _as_text(
    says: str, source: str, found: list[str], conditions: dict[str, bool], verdict: str
) -> str:
    lines = [f"Claim: {says} [{source}]", "Measured here:"]
    lines += [f"- {finding}" for finding in found]
    lines += [f"- {name}: {_word(value)}" for name, value in conditions.items()]
    return "\n".join([*lines, f"Verdict: {_VERDICTS[verdict]}"])


def _as_html(
    id: str,
    says: str,
    source: str,
    found: list[str],
    conditions: dict[str, bool],
    verdict: str,
) -> str:
    measured = "".join(f"<li>{escape(finding)}</li>" for finding in found)
    checks = "".join(
        f'<li class="claim-{"holds" if value else "fails"}">{escape(name)}: {_word(value)}</li>'
        for name, value in conditions.items()
    )
    return (
        f'<div class="claim-card claim-{verdict}" id="claim-{id}">'
        f'<p class="claim-says"><strong>Claim.</strong> {escape(says)} '
        f'<span class="claim-source">({escape(source)})</span></p>'
        f'<p><strong>Measured here.</strong></p><ul class="claim-measured">{measured}</ul>'
        + (f"<p><strong>Does it hold?</strong></p><ul>{checks}</ul>" if checks else "")
        + f'<p class="claim-verdict"><strong>Verdict.</strong> {_VERDICTS[verdict]}</p></div>'
    )
