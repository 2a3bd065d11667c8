"""`stream-lstm demo`: from sensors through a broker and the service to the screen."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from stream_lstm import cli
from stream_lstm.demo import broker, show
from tests.brokers import find


def children() -> set[str]:
    """Processes whose parent we are."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = status.read_text().rsplit(")", 1)[1].split()[1]
        except OSError:
            continue
        if parent == str(os.getpid()):
            found.add(status.parent.name)
    return found


@pytest.mark.parametrize("name", ["mosquitto", "iotcore"])
def test_it_shows_and_sums_up_and_leaves_nothing_behind(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = find("mosquitto") if name == "mosquitto" else None
    monkeypatch.setattr(shutil, "which", lambda *_, **__: program)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = children()
    result = CliRunner().invoke(cli.main, ["demo", "--seconds", "12", "--plain"])
    assert result.exit_code == 0, result.output
    assert f"broker: {name}" in result.output
    events = re.search(r"([\d,]+) events", result.output)
    assert events
    assert int(events[1].replace(",", "")) > 1_000
    assert "machine_temperature_system_failure" in result.output
    assert children() == before
    assert list(tmp_path.iterdir()) == []


def test_a_broker_that_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "iotcore", None)
    result = CliRunner().invoke(cli.main, ["demo", "--seconds", "1", "--plain"])
    assert result.exit_code == 2
    assert "install mosquitto" in result.output


def test_a_service_that_fails_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(show, "SETTINGS", show.SETTINGS + "[limits]\nnonsense = 1\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = children()
    result = CliRunner().invoke(cli.main, ["demo", "--seconds", "1", "--plain"])
    assert result.exit_code == 1
    assert "nonsense" in result.output
    assert children() == before
    assert list(tmp_path.iterdir()) == []


def test_what_never_listens_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(broker, "START_SECONDS_MAX", 0.05)
    with (
        broker.Child(["sleep", "30"], log=tmp_path / "log") as child,
        pytest.raises(broker.StreamLstmError, match="nothing listens"),
    ):
        broker.until_listening(broker.free_port(), child)


def test_a_child_that_does_not_leave_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(broker, "STOP_SECONDS_MAX", 0.2)
    stubborn = ["sh", "-c", "trap '' TERM; echo there; while :; do sleep 0.1; done"]
    with broker.Child(stubborn, log=tmp_path / "log") as child:
        while "there" not in child.said():
            pass
        assert child.stop() == -9
