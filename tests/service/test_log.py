"""Logging: one line an event, as text or JSON, and rate-limited repeats."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from stream_lstm.service import log


@pytest.fixture(autouse=True)
def _restored_logger() -> Iterator[None]:
    """Restore the logger after each test, whose captured stream is then closed."""
    logger = log.logger
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def test_json_lines_hold_the_fields_of_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    log.logger.warning("rejected: %s", "x", extra={"about": {"reason": "malformed"}})
    log.logger.debug("below the level")
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"], line["reason"]) == ("warning", "rejected: x", "malformed")
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str], form: str) -> None:
    log.configure("info", form)
    try:
        raise ValueError("oh")
    except ValueError:
        log.logger.exception("failed")
    assert "ValueError: oh" in capsys.readouterr().err


def test_text_lines_show_the_fields_as_key_and_value(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "text")
    log.logger.info("connected", extra={"about": {"broker": "b"}})
    assert capsys.readouterr().err.endswith("info    connected broker=b\n")


def test_a_repeated_kind_is_suppressed_for_30_seconds_and_counted() -> None:
    now = 100.0
    throttle = log.Throttle(lambda: now)
    assert throttle.allow("a") == 0
    assert throttle.allow("a") is None
    assert throttle.allow("b") == 0
    now = 129.9
    assert throttle.allow("a") is None
    now = 130.0
    assert throttle.allow("a") == 2
    assert throttle.allow("a") is None
