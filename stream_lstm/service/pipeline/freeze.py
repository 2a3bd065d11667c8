"""Which streams are not to learn at present, so that a failure that is known of does not become normal.

Two ways to say so: `[[freeze]]` in the settings, always or by the clock; and one retained message, a JSON
array of stream filters, which holds until another takes its place. A frozen stream's memory goes on and every
event is predicted; what is normal for it (scale, trust, widths, extremes, routine) stays as it was.
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
FILTERS_MAX = 1_000
KNOWN_MAX = 1_000_000


class TimeWindow:
    """A time of the week in UTC, or all of it.

    Args:
        begin: from; None: always.
        end: to; before `begin` it ends on the day after.
        days: on which it begins; empty: on all.
    """

    def __init__(self, begin: time | None, end: time | None, days: Sequence[str]) -> None:
        self._begin, self._end = begin, end
        self._days = {DAYS.index(day) for day in days} or set(range(len(DAYS)))

    def holds(self, now: float) -> bool:
        """Whether this moment, in epoch seconds, lies within."""
        moment = datetime.fromtimestamp(now, UTC)
        clock, today = moment.time(), moment.weekday()
        if self._begin is None or self._end is None:
            return today in self._days
        if self._begin <= self._end:
            return today in self._days and self._begin <= clock < self._end
        began_today = today in self._days and clock >= self._begin
        return began_today or ((today - 1) % len(DAYS) in self._days and clock < self._end)


class Freezer:
    """Says of each stream whether it is frozen.

    Args:
        planned: filters, and when each holds.
        topic: where the message comes from; empty: nowhere.
    """

    def __init__(self, planned: Sequence[tuple[Pattern, TimeWindow]], topic: str) -> None:
        self._planned = planned
        self._asked: list[Pattern] = []
        self._now: list[Pattern] = []
        self._known: dict[str, bool] = {}
        self.topic = topic

    def apply_message(self, payload: bytes) -> None:
        """Take on what a message asks for.

        Raises:
            PayloadError: it cannot be understood; what was asked for before still holds.
        """
        self._asked = _patterns(payload)

    @property
    def active(self) -> int:
        """How many filters hold."""
        return len(self._now)

    def refresh(self, now: float) -> None:
        """See which filters hold at this moment, in epoch seconds."""
        holding = [pattern for pattern, window in self._planned if window.holds(now)] + self._asked
        if holding != self._now or len(self._known) > KNOWN_MAX:
            self._now = holding
            self._known.clear()

    def frozen(self, keys: Sequence[str]) -> list[bool] | None:
        """For each stream, whether it is; None where none can be."""
        if not self._now:
            return None
        return [self._is(key) for key in keys]

    def _is(self, key: str) -> bool:
        found = self._known.get(key)
        if found is None:
            names = key, key.rpartition(":")[0] or key  # a device's name freezes all its fields
            found = any(pattern.match(name) is not None for pattern in self._now for name in names)
            self._known[key] = found
        return found


def _patterns(payload: bytes) -> list[Pattern]:
    if not payload:
        return []  # how a retained message is taken back
    try:
        content: Any = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PayloadError("malformed", 'expected a JSON array of stream filters, ["plant/#"]') from None
    if not isinstance(content, list) or not all(isinstance(text, str) for text in content):
        raise PayloadError("wrong_type", 'expected a JSON array of stream filters, ["plant/#"]')
    if len(content) > FILTERS_MAX:
        raise PayloadError("too_large", f"{len(content)} filters, at most {FILTERS_MAX} are taken")
    try:
        return [Pattern(text) for text in content]
    except ValueError as error:
        raise PayloadError("malformed", f"a stream filter is wrong: {error}") from None


def freezer(settings: Settings) -> Freezer:
    """Knows which streams are not to learn."""
    planned = [
        (Pattern(entry.streams), TimeWindow(entry.begin, entry.end, entry.days)) for entry in settings.freeze
    ]
    return Freezer(planned, settings.mqtt.freeze_topic)
