"""Recordings: parsing, errors that name the line, and the replay schedule."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_lstm import recordings
from stream_lstm.demo.sensors import shipped
from stream_lstm.errors import SettingsError


def test_six_recordings_are_shipped_one_of_them_a_machine_that_failed() -> None:
    found = {recording.name: recording for recording in shipped()}
    machine = found["machine_temperature_system_failure"]
    assert len(machine.readings) == 22_695
    assert machine.readings[0] == (0.0, "2013-12-02 21:15:00", 73.96732207)
    assert len(found) == 6


@pytest.mark.parametrize("header", ["timestamp,value\n", ""])
def test_a_header_is_optional(tmp_path: Path, header: str) -> None:
    path = tmp_path / "pump.csv"
    path.write_text(header + "2024-01-01T00:00:00Z,1\n\n1704067260,2.5\n")
    recording = recordings.read(path)
    assert recording.name == "pump"
    assert [(r.seconds, r.value) for r in recording.readings] == [(0.0, 1.0), (60.0, 2.5)]
    assert recording.seconds == 60.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timestamp,value\nyesterday,1\n", "line 2 is not timestamp,value"),
        ("2024-01-01,x\n", "line 1 is not"),
        ("2024-01-01\n", "line 1 is not"),
        ("timestamp,value\n", "holds no readings"),
        ("", "holds no readings"),
    ],
)
def test_an_error_names_the_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        recordings.read(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.csv: cannot be read"):
        recordings.read(tmp_path / "absent.csv")


def test_a_file_with_too_many_lines_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "ROWS_MAX", 2)
    path = tmp_path / "long.csv"
    path.write_text("1,1\n2,2\n3,3\n")
    with pytest.raises(SettingsError, match="more than 2 lines"):
        recordings.read(path)


def recording(name: str, *seconds: float) -> recordings.Recording:
    return recordings.Recording(name, [recordings.Reading(s, str(s), s) for s in seconds])


TWO = [recording("a", 0, 100), recording("b", 0, 50)]


def test_one_speed_applies_to_all_recordings() -> None:
    dues = list(recordings.schedule(TWO, speed=10.0, seconds=None))
    assert [(due.name, due.at) for due in dues] == [("a", 0.0), ("b", 0.0), ("b", 5.0), ("a", 10.0)]


def test_without_a_speed_each_recording_is_stretched_over_the_given_time() -> None:
    dues = list(recordings.schedule(TWO, speed=None, seconds=30.0))
    assert [due.at for due in dues] == [0.0, 0.0, 30.0, 30.0]
