"""Recorded sensors: what they said, and when to say it again."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from stream_lstm.errors import SettingsError

ROWS_MAX = 10_000_000


class Reading(NamedTuple):
    """One line of a recording."""

    seconds: float  # since the recording's start
    time: str  # as recorded
    value: float


class Recording(NamedTuple):
    """A recorded sensor."""

    name: str
    readings: list[Reading]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.readings[-1].seconds


class Due(NamedTuple):
    """A reading and when it is to be said, in seconds from the start of the show."""

    at: float
    name: str
    reading: Reading


def read(path: Path) -> Recording:
    """Read a CSV file of `timestamp,value`, times in ISO 8601 or epoch seconds, ascending.

    Raises:
        SettingsError: the file cannot be read so; says which line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return Recording(path.stem, list(_readings(csv.reader(file), str(path))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(str(path), f"cannot be read: {error}") from None


def _readings(lines: Iterable[list[str]], name: str) -> Iterator[Reading]:
    start: float | None = None
    for number, line in enumerate(lines, 1):
        if not line or (number == 1 and _is_head(line)):
            continue
        if number > ROWS_MAX:
            raise SettingsError(name, f"has more than {ROWS_MAX} lines")
        try:
            time, value = line[0].strip(), float(line[1])
            moment = epoch(time)
        except (ValueError, IndexError):
            raise SettingsError(name, f"line {number} is not timestamp,value") from None
        start = moment if start is None else start
        yield Reading(max(moment - start, 0.0), time, value)
    if start is None:
        raise SettingsError(name, "holds no readings")


def _is_head(line: list[str]) -> bool:
    return not any(character.isdigit() for character in "".join(line[:2]))


def epoch(time: str) -> float:
    """A time of a recording as epoch seconds; UTC where it names no zone."""
    try:
        return float(time)
    except ValueError:
        moment = datetime.fromisoformat(time)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def schedule(recordings: Iterable[Recording], *, speed: float | None, seconds: float | None) -> Iterator[Due]:
    """All readings, in the order in which they are due.

    Args:
        recordings: all start together.
        speed: how many times faster than recorded; None stretches each over `seconds`.
        seconds: the length of the show.
    """

    def of(recording: Recording) -> Iterator[Due]:
        factor = 1.0 / speed if speed else (seconds or recording.seconds) / max(recording.seconds, 1.0)
        for reading in recording.readings:
            yield Due(reading.seconds * factor, recording.name, reading)

    return heapq.merge(*map(of, recordings), key=lambda due: due.at)
