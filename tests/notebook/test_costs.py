from dataclasses import dataclass, field

import pytest
from bs4 import BeautifulSoup

from refimpl.notebook import cost_card, costs, measurements, tables


@dataclass
class Task:
    metric: str = "accuracy"


@dataclass
class Run:
    accuracy: float = 0.912345
    rounds: int = 1200
    task: Task = field(default_factory=Task)
    sent: float = 3150.0
    received: float = 200.0
    transcript: tuple = (1, 2, 3, 4)


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(tables, "show", lambda text, html: outputs.append((text, html)))
    return outputs


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    monkeypatch.setattr(measurements, "MEASURED", tmp_path / "measured.json")
    measurements.record("matrix", {"direct": {"seconds": 1.23456}})


def cells(html):
    rows = BeautifulSoup(html, "html.parser").tbody.find_all("tr")
    return [[cell.text for cell in row.find_all("td")] for row in rows]


def test_card_of_one_run(shown):
    cost_card(Run())
    text, html = shown[0]
    assert cells(html) == [["0.912", "3.15 kB", "200 B", "4", "1,200"]]
    assert 'class="cost-card"' in html and "seconds" not in text


def test_regression_is_not_called_accuracy(shown):
    cost_card(Run(task=Task("R²")))
    assert "R²" in shown[0][0] and "accuracy" not in shown[0][0]


def test_card_of_several_runs(shown):
    cost_card(
        {"direct": Run(), "a < b": Run(accuracy=1.0, sent=0.0, transcript=())}, caption="Costs"
    )
    html = BeautifulSoup(shown[0][1], "html.parser")
    assert [cell.text for cell in html.find_all("th", scope="row")] == ["direct", "a < b"]
    assert cells(shown[0][1])[1] == ["1.000", "0 B", "200 B", "0", "1,200"]
    assert html.caption.text == "Costs"


def test_seconds_are_read_and_never_taken(shown, recorded):
    runs = {"direct": Run(), "indirect": Run()}
    cost_card(runs, seconds={"direct": ("matrix", "direct", "seconds")})
    cost_card(Run(), seconds=("matrix", "direct", "seconds"))
    assert [row[-1] for row in cells(shown[0][1])] == ["1.235", "–"]
    assert [row[-1] for row in cells(shown[1][1])] == ["1.235"]
    machine, date = (measurements.measured("matrix", key) for key in ("machine", "date"))
    assert f"recorded beforehand ({machine}, {date})" in shown[0][0]


def test_wrong_calls_are_refused(recorded):
    with pytest.raises(ValueError, match="at least one run"):
        cost_card({})
    with pytest.raises(ValueError, match=r"share a metric, got \['R²', 'accuracy'\]"):
        cost_card({"a": Run(), "b": Run(task=Task("R²"))})
    with pytest.raises(ValueError, match="mapping of label to key"):
        cost_card({"a": Run(), "b": Run()}, seconds=("matrix",))
    for seconds in ("matrix", {"a": "matrix"}):
        with pytest.raises(ValueError, match=r"got 'matrix': write \('matrix',\)"):
            cost_card({"a": Run()}, seconds=seconds)
    with pytest.raises(ValueError, match=r"seconds names \['c'\]"):
        cost_card({"a": Run()}, seconds={"c": ("matrix",)})


def test_card_agrees_with_a_real_run(shown):
    from refimpl import learning
    from refimpl.collaboration import direct

    task = learning.breast_cancer(participants=3)
    run = direct.train(task, rounds=1)
    cost_card(run)
    [[accuracy, sent, received, messages, rounds]] = cells(shown[0][1])
    assert (accuracy, rounds) == (f"{task.accuracy(run.parameters):.3f}", "1")
    assert messages == str(len(run.transcript))
    uploads = [m.bytes for m in run.transcript if m.sender in task.participants]
    downloads = [m.bytes for m in run.transcript if m.receiver in task.participants]
    assert sent == costs.human_bytes(sum(uploads) / 3)
    assert received == costs.human_bytes(sum(downloads) / 3)
