"""Events as columns of lists (as decoded) and as a batch of arrays, and the reasons for rejections."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EVENT_MAX = 1e100  # larger numbers are rejected by the decoder: their squares would overflow a double


class Clock(enum.IntEnum):
    """Source of an event's time; part of every prediction."""

    EVENT = 0  # the payload
    ARRIVAL = 1  # the arrival of the message: the payload carries no time
    UNCERTAIN = 2  # likewise, and the message may have waited at the broker


CLOCK_BITS = 0x0F  # of an event's mark: its `Clock`
FROZEN = 0x10  # flag in the mark: the stream was frozen


# Reasons for rejecting a message or one of its fields. The keys are labels of a metric: few and fixed.
REASONS: dict[str, str] = {
    "empty": "the payload is empty",
    "too_large": "the payload is larger than limits.payload_bytes_max",
    "too_many_fields": "an object with more numbers than limits.fields_max, where no fields are named",
    "malformed": "neither JSON (UTF-8) nor a decimal number",
    "wrong_type": "JSON of another type than expected",
    "missing_field": "an object without an expected field",
    "not_finite": "NaN, infinity, or a number too large for a double",
    "out_of_range": "a number beyond ±1e100",
    "bad_time": "the time cannot be parsed, or lies before 2000 or more than a day ahead",
    "bad_key": "topic and payload give no valid stream name",
    "unexpected_topic": "no subscription matches the topic",
    "new_streams": "a new stream, beyond the rate limit limits.new_streams_per_second",
    "late": "older than the newest event of its stream by more than time.late_seconds_max",
    "repeated": "the same time as another event of its stream, and time.repeated is reject",
    "streams_max": "too many streams in memory at once, see limits.streams_max",
}


@dataclass(slots=True)
class Events:
    """Events in order of arrival, in columns of one entry an event; `values` holds F numbers an event."""

    keys: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # epoch seconds
    marks: list[int] = field(default_factory=list)  # `Clock`, with `FROZEN` added for frozen streams
    values: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)

    def mark_uncertain(self, start: int) -> None:
        """Mark the times of events from `start` on as uncertain, except those that the payload carries."""
        marks = (Clock.UNCERTAIN if mark == Clock.ARRIVAL else mark for mark in self.marks[start:])
        self.marks[start:] = map(int, marks)

    def remove(self, positions: Sequence[int], *, features: int) -> None:
        """Remove events at these ascending positions; `features` is F."""
        for n in reversed(positions):
            del self.keys[n], self.times[n], self.marks[n], self.values[n * features : (n + 1) * features]

    @classmethod
    def from_batch(cls, keys: list[str], batch: Batch) -> Events:
        """The events of a batch, with the keys of their streams."""
        return cls(keys, batch.times.tolist(), batch.marks.tolist(), batch.values.ravel().tolist())

    def batch(self, streams: NDArray[np.intp], features: int) -> Batch:
        """The events as arrays.

        Args:
            streams: (N,) the stream of each event.
            features: F, the numbers of one event.
        """
        return Batch(
            streams=streams,
            times=np.array(self.times, np.float64),
            marks=np.array(self.marks, np.uint8),
            values=np.array(self.values, np.float64).reshape(-1, features),
        )


class Batch(NamedTuple):
    """N events of F features in order of arrival, as journal, engine, history and gate trace take them."""

    streams: NDArray[np.intp]  # (N,) a row in memory for the engine, a number on disk for the journal
    times: NDArray[np.float64]  # (N,) epoch seconds
    marks: NDArray[np.uint8]  # (N,) `Clock`, with `FROZEN` added for frozen streams
    values: NDArray[np.float64]  # (N, F) within ±`EVENT_MAX`

    @classmethod
    def timed(
        cls, streams: NDArray[np.intp], times: NDArray[np.float64], values: NDArray[np.float64]
    ) -> Batch:
        """Events that carry their time, of streams that are not frozen."""
        return cls(streams, times, np.zeros(len(times), np.uint8), values)

    def select(self, which: NDArray[Any] | slice) -> Batch:
        """Some of the events, by position or mask."""
        return Batch._make(column[which] for column in self)

    def with_streams(self, streams: NDArray[np.intp]) -> Batch:
        """The same events with other numbers of their streams."""
        return self._replace(streams=streams)
