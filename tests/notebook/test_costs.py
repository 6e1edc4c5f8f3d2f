from dataclasses import dataclass, field

import pytest
from bs4 import BeautifulSoup

from refimpl.network.transcript import Message, Transcript
from refimpl.notebook import cost_card, costs, measurements, tables


def messages(*sizes):
    return Transcript([Message(s, r, "update", 0, None, size) for s, r, size in sizes])


@dataclass
class Task:
    metric: str = "accuracy"


@dataclass
class Run:
    accuracy: float = 0.912345
    rounds: int = 1200
    task: Task = field(default_factory=Task)
    participants: tuple = ("a", "b")
    transcript: Transcript = field(
        default_factory=lambda: messages(
            ("a", "server", 4000), ("server", "a", 100), ("b", "server", 2000), ("a", "b", 300)
        )
    )


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


def test_traffic_is_the_mean_over_participants_and_servers_do_not_count():
    # By hand: a sends 4000 + 300, b 2000; a is sent 100, b 300.
    assert costs.traffic(Run()) == (3150.0, 200.0, 4)


def test_card_of_one_run(shown):
    cost_card(Run())
    text, html = shown[0]
    assert cells(html) == [["0.9123", "3.15 kB", "200 B", "4", "1,200"]]
    assert 'class="cost-card"' in html and "seconds" not in text


def test_regression_is_not_called_accuracy(shown):
    cost_card(Run(task=Task("R²")))
    assert "R²" in shown[0][0] and "accuracy" not in shown[0][0]


def test_card_of_several_runs(shown):
    cost_card({"direct": Run(), "a < b": Run(accuracy=1.0, transcript=messages())}, caption="Costs")
    html = BeautifulSoup(shown[0][1], "html.parser")
    assert [cell.text for cell in html.find_all("th", scope="row")] == ["direct", "a < b"]
    assert cells(shown[0][1])[1] == ["1.0000", "0 B", "0 B", "0", "1,200"]
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
    with pytest.raises(ValueError, match="no participants"):
        cost_card(Run(participants=()))
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
    [[accuracy, sent, _, messages, rounds]] = cells(shown[0][1])
    assert (accuracy, rounds) == (f"{task.accuracy(run.parameters):.4f}", "1")
    assert messages == str(len(run.transcript))
    by_hand = [m.bytes for m in run.transcript if m.sender in task.participants]
    assert sent == costs.human_bytes(sum(by_hand) / 3)
