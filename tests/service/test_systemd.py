"""Notifications to systemd, from a running service and by themselves."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_lstm.service.systemd import Notifier
from tests.brokers import Mosquitto
from tests.service.running import SECONDS_MAX, Serving


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_reports_ready_watchdog_status_and_stopping(
    abstract: bool, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    address = f"@stream-lstm-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        manager.settimeout(SECONDS_MAX)
        config = tmp_path / "settings.toml"
        config.write_text(
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{mosquitto().port}"\n[state]\npath = "{tmp_path}/s.db"\n'
            "[http]\nenabled = false\n"
        )
        with Serving(config, NOTIFY_SOCKET=address, WATCHDOG_USEC="400000") as service:
            sent: list[str] = []
            while sent.count("WATCHDOG=1") < 3 or not any("connected to mqtt://" in note for note in sent):
                sent.append(manager.recv(4_096).decode())
            assert sent[0] == "READY=1"
            service.process.terminate()
            while sent[-1] != "STOPPING=1":
                sent.append(manager.recv(4_096).decode())
            assert service.process.wait(SECONDS_MAX) == 0


def test_without_a_manager_notifications_do_nothing() -> None:
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).ready()


def test_the_watchdog_is_reset_at_half_its_timeout() -> None:
    watched = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000"}
    assert Notifier(watched).watchdog_seconds == 0.5


def test_the_watchdog_of_no_socket_or_of_another_process_is_ignored() -> None:
    assert Notifier({"WATCHDOG_USEC": "1000000"}).watchdog_seconds is None
    other = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert Notifier(other).watchdog_seconds is None
