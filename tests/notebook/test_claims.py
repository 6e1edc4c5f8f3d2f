import numpy as np
import pytest
from bs4 import BeautifulSoup

from refimpl.notebook import claim, claims

GIVEN = {"says": "Together is better.", "cite": "antwi2021privacy", "measured": "0.97 against 0.84"}


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(claims, "show", lambda text, **rest: outputs.append({"text": text, **rest}))
    return outputs


def test_card_says_all_and_carries_the_claim(shown):
    holds = {"IID": np.bool_(True), "skewed": False}
    claim("together-wins", **GIVEN, holds=holds, verdict="nuanced")
    [output] = shown
    assert output["text"].splitlines() == [
        "Claim: Together is better. [Antwi-Boasiako et al. 2021]",
        "Measured here:",
        "- 0.97 against 0.84",
        "- IID: holds",
        "- skewed: does not hold",
        "Verdict: True with a nuance",
    ]
    card = BeautifulSoup(output["html"], "html.parser").div
    assert card["id"] == "claim-together-wins"
    assert card["class"] == ["claim-card", "claim-nuanced"]
    assert card.find(class_="claim-source").text == "(Antwi-Boasiako et al. 2021)"
    assert [item.text for item in card.find_all("li")] == [
        "0.97 against 0.84",
        "IID: holds",
        "skewed: does not hold",
    ]
    assert "style" not in output["html"] and "color" not in output["html"]
    stored = output["metadata"]["refimpl"]["claim"]
    assert stored == {
        "id": "together-wins",
        **GIVEN,
        "cite": ["antwi2021privacy"],
        "verdict": "nuanced",
        "conditions": {"IID": True, "skewed": False},
    }
    assert all(type(value) is bool for value in stored["conditions"].values())  # JSON, not numpy


DISAGREEMENTS = [
    (True, "refuted"),
    (False, "confirmed"),
    (np.bool_(False), "confirmed"),
    (True, "nuanced"),
    ({"a": True, "b": False}, "confirmed"),
    ({"a": True, "b": False}, "refuted"),
    ({"a": True, "b": True}, "nuanced"),
    ({"a": False, "b": False}, "nuanced"),
]


@pytest.mark.parametrize(("holds", "verdict"), DISAGREEMENTS)
def test_verdict_against_the_measurement_fails_the_notebook(holds, verdict, shown):
    with pytest.raises(AssertionError, match=f"'x' is stated as {verdict}, but the measurement"):
        claim("x", **GIVEN, holds=holds, verdict=verdict)
    assert not shown


AGREEMENTS = [
    (True, "confirmed"),
    (False, "refuted"),
    ({"a": True, "b": np.True_}, "confirmed"),
    ({"a": False}, "refuted"),
]


@pytest.mark.parametrize(("holds", "verdict"), AGREEMENTS)
def test_verdict_that_agrees_is_shown(holds, verdict, shown):
    claim("x", **GIVEN, holds=holds, verdict=verdict)
    assert f"claim-{verdict}" in shown[0]["html"]


def test_markup_in_texts_is_escaped(shown):
    claim(
        "x",
        says="<script>alert(1)</script>",
        cite=["xiao2004fast", "shokri2015privacy"],
        measured={"a<b": 0.123456},
        holds={"n > 3 & more": True},
        verdict="confirmed",
    )
    html = shown[0]["html"]
    assert "(Xiao and Boyd 2004; Shokri and Shmatikov 2015)" in html
    assert not BeautifulSoup(html, "html.parser").find("script")
    assert "a&lt;b: 0.1235" in html and "n &gt; 3 &amp; more" in html
    assert shown[0]["metadata"]["refimpl"]["claim"]["cite"] == ["xiao2004fast", "shokri2015privacy"]


@pytest.mark.parametrize("id", ["Together", "a_b", "a b", "", "-a", "a--b", "a\n"])
def test_id_must_be_kebab_case(id):
    with pytest.raises(ValueError, match="kebab-case"):
        claim(id, **GIVEN, holds=True, verdict="confirmed")


@pytest.mark.parametrize("holds", [0.9, 1, None, "yes", np.array([True]), {"a": 0.9}])
def test_holds_must_be_a_comparison_made(holds):
    with pytest.raises(TypeError, match="holds must be a bool"):
        claim("x", **GIVEN, holds=holds, verdict="confirmed")


def test_malformed_claims_are_refused():
    with pytest.raises(ValueError, match="at least one condition"):
        claim("x", **GIVEN, holds={}, verdict="confirmed")
    with pytest.raises(ValueError, match="verdict must be one of confirmed, nuanced, refuted"):
        claim("x", **GIVEN, holds=True, verdict="true")
    with pytest.raises(ValueError, match="says must state"):
        claim("x", says=" ", cite=None, measured=1, holds=True, verdict="confirmed")


def test_claim_of_the_book_itself(shown):
    claim("x", says="S", cite=None, measured=1, holds=True, verdict="confirmed")
    assert shown[0]["text"].startswith("Claim: S [this book]\n")
    assert shown[0]["metadata"]["refimpl"]["claim"]["cite"] == []


def test_a_source_must_stand_in_the_bibliography(shown):
    with pytest.raises(ValueError, match="must be a key of book/references"):
        claim("x", says="S", cite="nobody2020", measured=1, holds=True, verdict="confirmed")


def test_names_of_one_author_and_with_accents(shown, monkeypatch, tmp_path):
    """The package without the book shows the bare key."""
    bibliography = tmp_path / "references.bib"
    monkeypatch.setattr(claims, "BIBLIOGRAPHY", bibliography)
    for key, expected in (("bare2019", "bare2019"), ("one2020", "P\u00f6lsterl 2020")):
        claim("x", says="S", cite=key, measured=1, holds=True, verdict="confirmed")
        assert f"[{expected}]" in shown[-1]["text"]
        entry = '@misc{one2020, author={P{\\"o}lsterl, S.}, title={T}, year={2020}}'
        bibliography.write_text(entry, encoding="utf-8")
    claims._label.cache_clear()
