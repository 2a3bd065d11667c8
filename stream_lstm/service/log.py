"""Logs on standard error: one line an event, as text or JSON; a repeated problem at most every 30 seconds."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

REPEAT_SECONDS_MIN = 30.0

logger = logging.getLogger("stream_lstm")


class JsonLines(logging.Formatter):
    """A JSON object a line: time, level, message, and what the call gave as `extra={"about": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback where there is one."""
        about = " ".join(f"{key}={value}" for key, value in getattr(record, "about", {}).items())
        line = f"{_utc(record)} {record.levelname.lower():7} {record.getMessage()} {about}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _utc(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def start(level: str, form: str) -> None:
    """Send the package's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


class Throttle:
    """Lets a repeated message through at most once in `REPEAT_SECONDS_MIN` for each of its kinds.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def allow(self, kind: str) -> int | None:
        """None if `kind` was said too recently, else how often it was held back since; kinds are few."""
        now = self._clock()
        if now - self._said.get(kind, -REPEAT_SECONDS_MIN) < REPEAT_SECONDS_MIN:
            self._held[kind] = self._held.get(kind, 0) + 1
            return None
        self._said[kind] = now
        return self._held.pop(kind, 0)
