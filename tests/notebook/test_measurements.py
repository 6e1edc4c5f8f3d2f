import json
import platform

import pytest

from refimpl.notebook import measured, measurements


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    path = tmp_path / "_data" / "measured.json"
    monkeypatch.setattr(measurements, "MEASURED", path)
    measurements.record("matrix", {"direct": {"seconds": 1.25}})
    return path


def test_what_is_recorded_is_read(recorded):
    assert measured("matrix", "direct", "seconds") == 1.25
    assert set(measured("matrix")) == {"direct", "date", "machine", "versions"}


def test_recording_replaces_one_section_and_is_seen_at_once(recorded):
    measured("matrix")
    measurements.record("bench", {"ring": 2})
    measurements.record("matrix", {"indirect": 3})
    assert measured("bench", "ring") == 2
    assert "direct" not in measured("matrix") and measured("matrix", "indirect") == 3
    assert json.loads(recorded.read_text())["bench"]["ring"] == 2
    assert [path.name for path in recorded.parent.iterdir()] == ["measured.json"]


def test_missing_key_names_what_is_there_and_the_command(recorded):
    with pytest.raises(KeyError, match=r"no matrix\.ring \(there is: date, direct.*make bench"):
        measured("matrix", "ring", "seconds")
    with pytest.raises(KeyError, match="there is: a single value"):
        measured("matrix", "direct", "seconds", "more")


def test_nothing_recorded_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(measurements, "MEASURED", tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="make bench"):
        measured("matrix")


def test_record_is_where_the_project_keeps_it():
    assert measurements.MEASURED.parts[-3:] == ("book", "_data", "measured.json")
    assert (measurements.MEASURED.parents[2] / "pyproject.toml").exists()


def test_numbers_are_rounded_to_four_digits(recorded):
    measurements.record("bench", {"x": [1.23456, 0.000123456, 12], "y": {"z": 98765.4}})
    assert measured("bench", "x") == [1.235, 0.0001235, 12]
    assert measured("bench", "y", "z") == 98770.0
    assert list(json.loads(recorded.read_text())) == ["bench", "matrix"]


def test_the_stamp_names_versions_but_no_host():
    stamp = measurements.stamp()
    assert {"numpy", "cryptography"} <= set(stamp["versions"])
    assert "cores" in stamp["machine"] and "CPython" in stamp["machine"]
    assert platform.node() not in json.dumps(stamp) or not platform.node()
