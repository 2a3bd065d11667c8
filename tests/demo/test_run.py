"""`stream-lstm demo`: sensors, broker and service, lines and live table, and what fails."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from stream_lstm import cli
from stream_lstm.demo import run
from stream_lstm.demo.broker import Child
from tests.brokers import find
from tests.cli.emulated import Terminal


def children() -> set[str]:
    """Child processes of this process."""
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
def test_the_demo_prints_lines_and_a_summary_and_leaves_nothing_behind(
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


def test_a_missing_broker_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "iotcore", None)
    result = CliRunner().invoke(cli.main, ["demo", "--seconds", "1", "--plain"])
    assert result.exit_code == 2
    assert "install mosquitto" in result.output


def test_the_output_of_a_service_that_fails_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "SETTINGS", run.SETTINGS + "[limits]\nnonsense = 1\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = children()
    result = CliRunner().invoke(cli.main, ["demo", "--seconds", "1", "--plain"])
    assert result.exit_code == 1
    assert "nonsense" in result.output
    assert children() == before
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    result = CliRunner().invoke(cli.main, ["demo", "--seconds", "1", "--plain"])
    assert result.exit_code == 2
    assert "install with: pip install 'stream-lstm[demo]'" in result.output


def test_a_broker_that_ends_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    brokers: list[Child] = []
    original = run.broker

    def noted(folder: Path, port: int) -> tuple[str, Child]:
        name, child = original(folder, port)
        brokers.append(child)
        return name, child

    async def kill(*_: object) -> None:
        process = brokers[0].process
        assert process
        process.kill()
        await asyncio.Event().wait()

    monkeypatch.setattr(run, "broker", noted)
    monkeypatch.setattr(run, "_draw", kill)
    result = CliRunner().invoke(cli.main, ["demo", "--seconds", "60", "--plain"])
    assert result.exit_code == 1
    assert "error: the connection was closed" in result.output


@pytest.mark.parametrize("how", ["q", "\x03", signal.SIGTERM])
def test_the_live_table_is_drawn_until_the_user_leaves(how: str | signal.Signals) -> None:
    with Terminal(["demo", "--seconds", "300"], columns=110, lines=30) as terminal:
        lines = terminal.until(lambda lines: any(line.startswith("occupancy_t4013") for line in lines))
        assert terminal.screen.modes == {"1049": True, "25": False, "7": False}
        assert lines[0].startswith("live page: http://127.0.0.1:")
        assert lines[3].split()[:3] == ["sensor", "recorded", "at"]
        if isinstance(how, str):
            terminal.press(how)
        else:
            terminal.signal(how)
        assert terminal.wait() == 0
        assert terminal.screen.modes == {"1049": False, "25": True, "7": True}
        assert terminal.echoes
        assert any("relative to the last-value forecast" in line for line in terminal.screen.text)
