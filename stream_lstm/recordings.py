"""Recordings of sensors: CSV files of `timestamp,value`, and a schedule to replay them."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from stream_lstm.core.codec.timestamps import in_seconds
from stream_lstm.errors import SettingsError

# Readings are held in memory as Python objects; a file of more lines is refused before it fills the memory.
ROWS_MAX = 10_000_000


class Reading(NamedTuple):
    """One line of a recording."""

    seconds: float  # since the recording's start
    time: str  # as recorded
    value: float


class Recording(NamedTuple):
    """All readings of one sensor, in the order of the file."""

    name: str
    readings: list[Reading]

    @property
    def seconds(self) -> float:
        """Duration, from the first reading to the last."""
        return self.readings[-1].seconds


class Due(NamedTuple):
    """A scheduled reading; `at` is in seconds from the start of the replay."""

    at: float
    name: str
    reading: Reading


def read(path: Path) -> Recording:
    """Read a CSV file of `timestamp,value`, times in ISO 8601 or epoch seconds, ascending.

    Raises:
        SettingsError: the file cannot be read or parsed; the message gives the line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return Recording(path.stem, list(_readings(csv.reader(file), str(path))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(str(path), f"cannot be read: {error}") from None


def _readings(lines: Iterable[list[str]], name: str) -> Iterator[Reading]:
    start: float | None = None
    for number, line in enumerate(lines, 1):
        if not line or (number == 1 and _is_header(line)):
            continue
        if number > ROWS_MAX:
            raise SettingsError(name, f"has more than {ROWS_MAX} lines")
        try:
            time, value = line[0].strip(), float(line[1])
            seconds = parse_time(time)
        except (ValueError, IndexError):
            raise SettingsError(name, f"line {number} is not timestamp,value") from None
        start = seconds if start is None else start
        yield Reading(max(seconds - start, 0.0), time, value)
    if start is None:
        raise SettingsError(name, "holds no readings")


def _is_header(line: list[str]) -> bool:
    return not any(character.isdigit() for character in "".join(line[:2]))


def parse_time(text: str) -> float:
    """Parse a recorded time: ISO 8601, in UTC where it names no zone, or an epoch number.

    Returns:
        Epoch seconds. A large number is milli-, micro- or nanoseconds, as in payloads.

    Raises:
        ValueError: the text is neither.
    """
    try:
        return in_seconds(float(text))
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def schedule(recordings: Iterable[Recording], *, speed: float | None, seconds: float | None) -> Iterator[Due]:
    """Merge the readings of all recordings in the order in which they are due.

    Args:
        recordings: all start at the same time.
        speed: factor relative to the recorded time; None stretches each recording over `seconds`.
        seconds: duration of the replay.
    """

    def scheduled(recording: Recording) -> Iterator[Due]:
        factor = 1.0 / speed if speed else (seconds or recording.seconds) / max(recording.seconds, 1.0)
        for reading in recording.readings:
            yield Due(reading.seconds * factor, recording.name, reading)

    return heapq.merge(*map(scheduled, recordings), key=lambda due: due.at)
