"""Events in columns, as decoded and as a batch of arrays, and the reasons for rejection."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EVENT_MAX = 1e100  # larger numbers are rejected by the decoder: their squares would overflow a double


class Clock(enum.IntEnum):
    """Where an event's time comes from; never mixed silently, a prediction says which."""

    EVENT = 0  # the payload carries it
    ARRIVAL = 1  # it does not: when the message reached us
    UNCERTAIN = 2  # it does not, and the message had been waiting at the broker


CLOCK_BITS = 0x0F  # of an event's mark
FROZEN = 0x10  # also in the mark: the stream was not to learn from it


# Why a message or one of its fields is refused: labels of a metric, so few and fixed.
REASONS: dict[str, str] = {
    "empty": "the payload has no bytes",
    "too_large": "the payload is larger than limits.payload_bytes_max",
    "malformed": "neither JSON in UTF-8 nor a decimal number",
    "wrong_type": "JSON, but not of the type that is asked for",
    "missing_field": "an object without a field that is asked for",
    "not_finite": "NaN, infinity, or a number that no double can hold",
    "out_of_range": "a number beyond ±1e100",
    "bad_time": "the time cannot be read, or is absurd",
    "bad_key": "the stream cannot be named from this topic and payload",
    "unexpected_topic": "no subscription matches the topic",
    "new_streams": "a new stream, and limits.new_streams_per_second came before it",
    "late": "older than time.late_seconds_max allows, beside the newest event of its stream",
    "repeated": "another event of its stream has the same time, and time.repeated says reject",
    "streams_max": "more streams at once than limits.streams_max has room for",
}


@dataclass(slots=True)
class Events:
    """Events in order of arrival, one entry a column each; `values` holds F numbers an event, in a row."""

    keys: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # epoch seconds
    marks: list[int] = field(default_factory=list)  # `Clock`, and perhaps `FROZEN`
    values: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)

    def mark_uncertain(self, start: int) -> None:
        """From this event on: those without a time of their own arrived late, by an unknown time."""
        late = (Clock.UNCERTAIN if mark == Clock.ARRIVAL else mark for mark in self.marks[start:])
        self.marks[start:] = map(int, late)

    def remove(self, positions: Sequence[int], *, features: int) -> None:
        """Remove events at these ascending positions; `features` is F."""
        for n in reversed(positions):
            del self.keys[n], self.times[n], self.marks[n], self.values[n * features : (n + 1) * features]

    @classmethod
    def from_batch(cls, keys: list[str], batch: Batch) -> Events:
        """The events of a batch, under these keys."""
        return cls(keys, batch.times.tolist(), batch.marks.tolist(), batch.values.ravel().tolist())

    def batch(self, streams: NDArray[np.intp], features: int) -> Batch:
        """The same as arrays.

        Args:
            streams: (N,) the stream of each event.
            features: F, of one event.
        """
        return Batch(
            streams=streams,
            times=np.array(self.times, np.float64),
            marks=np.array(self.marks, np.uint8),
            values=np.array(self.values, np.float64).reshape(-1, features),
        )


class Batch(NamedTuple):
    """N events of F features in order of arrival: what journal, engine, history and gate trace work on."""

    streams: NDArray[np.intp]  # (N,) a row in memory for the engine, a number on disk for the journal
    times: NDArray[np.float64]  # (N,) epoch seconds
    marks: NDArray[np.uint8]  # (N,) `Clock`, and perhaps `FROZEN`
    values: NDArray[np.float64]  # (N, F) within ±`EVENT_MAX`

    @classmethod
    def timed(
        cls, streams: NDArray[np.intp], times: NDArray[np.float64], values: NDArray[np.float64]
    ) -> Batch:
        """Events that carry a time of their own, of streams that are not frozen."""
        return cls(streams, times, np.zeros(len(times), np.uint8), values)

    def select(self, which: NDArray[Any] | slice) -> Batch:
        """Some of these events, by position or by mask."""
        return Batch._make(column[which] for column in self)

    def with_streams(self, streams: NDArray[np.intp]) -> Batch:
        """The same events with their streams numbered in another way."""
        return self._replace(streams=streams)
