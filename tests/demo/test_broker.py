"""Child processes of the demo: waiting for their port, and stopping them."""

from __future__ import annotations

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


def test_a_child_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(broker, "STOP_SECONDS_MAX", 0.2)
    stubborn = ["sh", "-c", "trap '' TERM; echo there; while :; do sleep 0.1; done"]
    with broker.Child(stubborn, log=tmp_path / "log") as child:
        while "there" not in child.log_tail():
            pass
        assert child.stop() == -9
