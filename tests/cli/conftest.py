"""Calls of the commands, and files for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stream_lstm import cli
from tests.brokers import Mosquitto
from tests.service.running import Running

READINGS = "timestamp,value\n2026-01-01 00:00:00,20.5\n2026-01-01 00:05:00,21.0\n2026-01-01 00:10:00,20.75\n"


def call(*arguments: object) -> Result:
    """Run a command; any exception but its exit fails the test."""
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "pump.csv"
    path.write_text(READINGS)
    return path


@pytest.fixture
def state(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> Path:
    """A state file of a stopped service: two streams of three events, then two rejected payloads."""
    broker = mosquitto()
    settings = f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n[[subscribe]]\ntopic = "sensors/#"\n'
    with Running(tmp_path / "service", settings) as service:
        payloads = [json.dumps({"a": 20.0 + n, "b": -n}) for n in range(3)]
        broker.publish_lines("sensors/pump", "\n".join([*payloads, "online", "offline"]) + "\n")
        while service.metrics().get("stream_lstm_events_received_total", 0) < 8:
            pass
        assert service.stop() == 0
    return service.state
