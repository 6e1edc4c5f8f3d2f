import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from refimpl.notebook import human_bytes, table, tables


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(tables, "show", lambda text, html: outputs.append((text, html)))
    return outputs


def frame():
    return pd.DataFrame(
        {
            "accuracy": [0.912345, np.nan],
            "bytes": [1_234_567, 0],
            "note": ["<b>key</b> & more", None],
        },
        index=pd.Index(["direct", "ring"], name="topology"),
    )


def test_table_is_accessible(shown):
    table(frame(), "The <matrix>", formats={"bytes": human_bytes})
    html = BeautifulSoup(shown[0][1], "html.parser")
    assert html.caption.text == "The <matrix>"
    assert [cell.text for cell in html.thead.find_all("th")] == [
        "topology",
        "accuracy",
        "bytes",
        "note",
    ]
    assert {cell["scope"] for cell in html.thead.find_all("th")} == {"col"}
    assert [cell.text for cell in html.find_all("th", scope="row")] == ["direct", "ring"]
    rows = [[cell.text for cell in row.find_all("td")] for row in html.tbody.find_all("tr")]
    assert rows == [["0.9123", "1.23 MB", "<b>key</b> & more"], ["–", "0 B", "–"]]
    assert not html.find("b")
    box = html.div
    assert (box["tabindex"], box["role"], box["aria-label"]) == ("0", "group", "The <matrix>")
    assert [bool(cell.get("class")) for cell in html.tbody.tr.find_all("td")] == [True, True, False]
    assert not html.find(style=True)


def test_plain_text_says_the_same(shown):
    table(frame(), "The matrix")
    assert shown[0][0].splitlines() == [
        "The matrix",
        "",
        "topology  accuracy  bytes      note",
        "direct    0.9123    1,234,567  <b>key</b> & more",
        "ring      –         0          –",
    ]


def test_whatever_pandas_calls_missing_is_a_dash(shown):
    frame = pd.DataFrame({"in the sum": pd.array([7, None], "Int64"), "date": [pd.NaT, pd.NaT]})
    table(frame, "Missing")
    html = BeautifulSoup(shown[0][1], "html.parser")
    rows = [[cell.text for cell in row.find_all("td")] for row in html.tbody.find_all("tr")]
    assert rows == [["7", "–"], ["–", "–"]]


def test_every_level_of_the_index_is_a_row_header(shown):
    index = pd.MultiIndex.from_tuples([("ring", 3), ("ring", 4)], names=["graph", None])
    table(pd.DataFrame({1: [1, 2]}, index=index), "Graphs")
    html = BeautifulSoup(shown[0][1], "html.parser")
    assert [cell.text for cell in html.tbody.tr.find_all("th")] == ["ring", "3"]
    assert html.thead.find_all(["th", "td"])[1].name == "td"  # a nameless corner is no header


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="needs a caption"):
        table(frame(), " ")
    with pytest.raises(ValueError, match=r"formats names the columns \['byte'\]"):
        table(frame(), "c", formats={"byte": human_bytes})
    nested = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))
    with pytest.raises(ValueError, match="one level of columns"):
        table(nested, "c")
