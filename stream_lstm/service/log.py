"""Logging to standard error: one line an event, as text or JSON; repeated messages are rate-limited."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

REPEAT_SECONDS_MIN = 30.0  # a lasting problem stays visible and cannot flood the log

logger = logging.getLogger("stream_lstm")


class JsonLines(logging.Formatter):
    """Format a record as a JSON object: time, level, message, and the fields of `extra={"about": {...}}`."""

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
    """Format a record as text, with the fields as `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by the traceback of an exception."""
        about = " ".join(f"{key}={value}" for key, value in getattr(record, "about", {}).items())
        line = f"{_utc(record)} {record.levelname.lower():7} {record.getMessage()} {about}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _utc(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure(level: str, form: str) -> None:
    """Send the package's log to standard error.

    Args:
        level: lowest level to log: debug, info, warning or error.
        form: "text" or "json".
    """
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(JsonLines() if form == "json" else TextLines())
    logger.handlers[:] = [output]
    logger.setLevel(level.upper())
    logger.propagate = False


class Throttle:
    """Rate limit of repeated log messages: each kind at most once in `REPEAT_SECONDS_MIN`.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._allowed: dict[str, float] = {}  # time of the last message, by kind
        self._suppressed: dict[str, int] = {}  # number since then, by kind

    def allow(self, kind: str) -> int | None:
        """Decide whether to log a message now.

        Args:
            kind: of the message; kinds are few, since each is remembered.

        Returns:
            None to suppress it; else how many of its kind were suppressed since the last one.
        """
        now = self._clock()
        if now - self._allowed.get(kind, -REPEAT_SECONDS_MIN) < REPEAT_SECONDS_MIN:
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return None
        self._allowed[kind] = now
        return self._suppressed.pop(kind, 0)
