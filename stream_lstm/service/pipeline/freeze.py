"""Freezing: streams that are excluded from learning at present, so that a known fault does not become normal.

Two ways to set it: `[[freeze]]` in the settings, always or at set hours; and one retained message on
`mqtt.freeze_topic`, a JSON array of stream filters, which holds until another replaces it. LTM and STM of
a frozen stream are updated and every event is predicted; scale, expert weights, interval width, extremes,
hourly errors and daily profile are not updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any

import msgspec

from stream_lstm.core.codec.topics import Pattern
from stream_lstm.errors import PayloadError
from stream_lstm.service.settings import Settings

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FILTERS_MAX = 1_000  # of one message: each new stream is matched against all of them
CACHED_STREAMS_MAX = 1_000_000  # bounds memory; the cache is only there for speed


class TimeWindow:
    """A time of the week in UTC, or all of it.

    Args:
        begin: first moment; None: always.
        end: first moment after it; before `begin` it ends on the following day.
        days: on which it begins; empty: every day.
    """

    def __init__(self, begin: time | None, end: time | None, days: Sequence[str]) -> None:
        self._begin, self._end = begin, end
        self._days = {DAYS.index(day) for day in days} or set(range(len(DAYS)))

    def holds(self, now: float) -> bool:
        """True if this moment, in epoch seconds, lies inside."""
        moment = datetime.fromtimestamp(now, UTC)
        clock, today = moment.time(), moment.weekday()
        if self._begin is None or self._end is None:
            return today in self._days
        if self._begin <= self._end:
            return today in self._days and self._begin <= clock < self._end
        began_today = today in self._days and clock >= self._begin
        return began_today or ((today - 1) % len(DAYS) in self._days and clock < self._end)


class Freezer:
    """Decides for each stream if it is frozen.

    Args:
        planned: filters, and when each holds.
        topic: of the message that freezes streams; empty: none.
    """

    def __init__(self, planned: Sequence[tuple[Pattern, TimeWindow]], topic: str) -> None:
        self._planned = planned
        self._requested: list[Pattern] = []
        self._holding: list[Pattern] = []
        self._cache: dict[str, bool] = {}
        self.topic = topic

    def apply_message(self, payload: bytes) -> None:
        """Take over the filters of a message.

        Raises:
            PayloadError: it cannot be read; the filters of the last message still hold.
        """
        self._requested = _patterns(payload)

    @property
    def active(self) -> int:
        """How many filters hold."""
        return len(self._holding)

    def refresh(self, now: float) -> None:
        """Determine which filters hold at this moment, in epoch seconds."""
        holding = [pattern for pattern, window in self._planned if window.holds(now)] + self._requested
        if holding != self._holding or len(self._cache) > CACHED_STREAMS_MAX:
            self._holding = holding
            self._cache.clear()

    def frozen(self, keys: Sequence[str]) -> list[bool] | None:
        """True for each frozen stream; None where no filter holds."""
        if not self._holding:
            return None
        return [self._is_frozen(key) for key in keys]

    def _is_frozen(self, key: str) -> bool:
        found = self._cache.get(key)
        if found is None:
            names = key, key.rpartition(":")[0] or key  # a device's name freezes all its fields
            found = any(pattern.match(name) is not None for pattern in self._holding for name in names)
            self._cache[key] = found
        return found


def _patterns(payload: bytes) -> list[Pattern]:
    if not payload:
        return []  # how a retained message is removed
    try:
        content: Any = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PayloadError("malformed", 'expected a JSON array of stream filters, ["plant/#"]') from None
    if not isinstance(content, list) or not all(isinstance(text, str) for text in content):
        raise PayloadError("wrong_type", 'expected a JSON array of stream filters, ["plant/#"]')
    if len(content) > FILTERS_MAX:
        raise PayloadError("too_large", f"{len(content)} filters, at most {FILTERS_MAX} are accepted")
    try:
        return [Pattern(text) for text in content]
    except ValueError as error:
        raise PayloadError("malformed", f"invalid stream filter: {error}") from None


def freezer(settings: Settings) -> Freezer:
    """The freezer of these settings."""
    planned = [
        (Pattern(entry.streams), TimeWindow(entry.begin, entry.end, entry.days)) for entry in settings.freeze
    ]
    return Freezer(planned, settings.mqtt.freeze_topic)
