"""Child processes of the demo: waiting for their port, and stopping them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stream_lstm.demo import broker


def test_a_child_that_never_listens_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(broker, "START_SECONDS_MAX", 0.05)
    with (
        broker.Child(["sleep", "30"], log=tmp_path / "log") as child,
        pytest.raises(broker.StreamLstmError, match="nothing listens"),
    ):
        broker.until_listening(broker.free_port(), child)


SERVER = """
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    answers = [(503, ["compiling"]), (503, ["compiling"]), (503, ["not connected"]), (200, [])]

    def do_GET(self):
        status, obstacles = self.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps({"obstacles": obstacles}).encode())

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_service_that_is_not_ready_is_waited_for_and_its_obstacles_are_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(broker, "REPORTED_SECONDS", 0.0)
    port, reports = broker.free_port(), list[str]()
    with broker.Child([sys.executable, "-c", SERVER, str(port)], log=tmp_path / "log") as child:
        broker.until_listening(port, child)
        broker.until_ready(port, child, reports.append)
    assert reports == ["waiting: compiling", "waiting: not connected"]


def test_a_service_that_ends_before_it_is_ready_is_an_error(tmp_path: Path) -> None:
    with (
        broker.Child([sys.executable, "-c", "print('no model')"], log=tmp_path / "log") as child,
        pytest.raises(broker.StreamLstmError, match="no model"),
    ):
        broker.until_ready(broker.free_port(), child, print)


def test_a_child_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(broker, "STOP_SECONDS_MAX", 0.2)
    stubborn = ["sh", "-c", "trap '' TERM; echo there; while :; do sleep 0.1; done"]
    with broker.Child(stubborn, log=tmp_path / "log") as child:
        while "there" not in child.log_tail():
            pass
        assert child.stop() == -9
