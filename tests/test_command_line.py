import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from refimpl import learning
from refimpl.__main__ import main
from refimpl.notebook import measurements
from tests.collaboration.oracles import toy


def too_large(participants):
    task = toy((5,) * participants)
    data = {name: replace(own, x=own.x * 1000) for name, own in task.data.items()}
    return replace(task, data=data)


@pytest.fixture
def compare(monkeypatch):
    """Run ``compare`` on a small task; ``compare.asked`` is what task it asked for."""

    def digits(**options):
        run.asked.append(options)
        return toy((5,) * options["participants"])

    def run(*arguments, **environment):
        environment["COLUMNS"] = "80"
        return CliRunner().invoke(main, ["compare", *arguments], env=environment)

    run.asked = []
    monkeypatch.setattr(learning, "digits", digits)
    return run


def test_the_matrix_is_printed(compare):
    result = compare("--participants", "4", "--rounds", "2", "--seeds", "1")
    assert result.exit_code == 0, result.output
    assert compare.asked == [{"participants": 4, "seed": 0}]
    lines = result.stdout.splitlines()
    assert lines[0].strip() == "toy, 4 participants, 2 rounds"
    names = "topology technique method ε accuracy spread sent recv msgs s"
    assert " ".join(lines[1].split()) == names
    rows = [line for line in lines[2:] if not line.startswith(" ")]  # the others go on
    topologies = ["direct"] * 6 + ["indirect"] * 9 + ["peer-to-peer"] * 6
    assert [row.split()[0] for row in rows] == topologies
    for row in rows:
        assert re.search(r"[01]\.\d{4} +0\.0000 .*\d [kM]?B .* \d+ +\d+\.\d", row)
    assert re.search(r" 8 +\d", rows[0])  # 4 uploads, 4 models
    assert re.search(r" 20 +\d", rows[6])  # 2 rounds of 4 + 4, 4 models
    assert re.search(r" 24 +\d", rows[15])  # 2 rounds of 4 · 3
    marked = [index for index, row in enumerate(rows) if re.search(r"\d\* +[01]\.\d{4}", row)]
    assert marked == [13, 14, 20]  # whose epsilon is a participant's
    assert all(len(line) <= 80 for line in lines)


def test_progress_is_not_in_what_is_printed(compare):
    arguments = "--participants", "4", "--rounds", "1", "--seeds", "1"
    on_terminal, piped = compare(*arguments, FORCE_COLOR="1"), compare(*arguments)
    assert "training" in on_terminal.stderr
    assert "training" not in on_terminal.stdout
    assert "training" not in piped.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "cats"], "'cats' is not one of 'digits', 'breast_cancer', 'diabetes'"),
        (["--participants", "3"], "3 is not in the range x>=4"),
        (["--rounds", "0"], "0 is not in the range x>=1"),
        (["--seeds", "0"], "0 is not in the range x>=1"),
        (["--rounds", "many"], "'many' is not a valid integer"),
        (["--colour"], "No such option"),
    ],
)
def test_a_bad_option_is_an_error_of_usage(compare, arguments, message):
    result = compare(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert compare.asked == []


def test_what_cannot_be_trained_is_an_error_without_a_traceback(compare, monkeypatch):
    """A value beyond the fixed point's bound, in the row on shares."""
    monkeypatch.setattr(learning, "digits", lambda **options: too_large(options["participants"]))
    result = compare("--participants", "4", "--rounds", "1", "--seeds", "1")
    assert result.exit_code == 1
    assert "Error: values must lie in [-16.0, 16.0], got " in result.stderr
    assert "Traceback" not in result.output


def test_record_writes_rows_and_seconds(compare, monkeypatch, tmp_path):
    path = tmp_path / "data" / "measured.json"
    monkeypatch.setattr(measurements, "MEASURED", path)
    result = compare("--participants", "4", "--rounds", "2", "--seeds", "1", "--record")
    assert result.exit_code == 0, result.output
    assert "recorded in" in result.stderr
    held = json.loads(path.read_text("utf8"))["matrix"]
    what = "data", "participants", "rounds", "seeds"
    assert [held[key] for key in what] == ["digits", 4, 2, 1]
    rows = held["rows"]
    assert len(rows) == 21
    for row in rows:
        at_once = row["topology"] == "direct" and row["method"] in ("least squares", "linear")
        assert row["rounds"] == (1 if at_once else 2)
        assert row["seconds"] > 0
    assert [row["messages"] for row in rows if row["technique"] == "none"] == [8, 20, 24]


def test_without_record_nothing_is_written(compare, monkeypatch, tmp_path):
    monkeypatch.setattr(measurements, "MEASURED", tmp_path / "measured.json")
    assert compare("--participants", "4", "--rounds", "1", "--seeds", "1").exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", ["breast_cancer", "diabetes"])
def test_other_data_sets_can_be_asked_for(compare, monkeypatch, data):
    kind = "regression" if data == "diabetes" else "mlp"
    monkeypatch.setattr(
        learning, data, lambda participants, seed: toy((5,) * participants, kind=kind)
    )
    result = compare("--data", data, "--participants", "4", "--rounds", "1", "--seeds", "1")
    assert result.exit_code == 0, result.output
    assert ("R²" if data == "diabetes" else "accuracy") in result.stdout
    assert compare.asked == []


def test_help_and_version():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "compare" in result.output
    assert re.search(r"\d+\.\d+\.\d+", CliRunner().invoke(main, ["--version"]).output)
