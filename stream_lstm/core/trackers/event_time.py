"""A stream's own time: how far apart its events usually are, and what to make of those that come late.

An event that is older than the last one of its stream is late: it counts as one, and the stream's time stays
where it was. Ten late events in a row are believed: then the sensor's clock has been set back, not the order
been mixed up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.trackers.scale import Doubles

GAP_MIN, GAP_MAX = 1e-3, 1e6  # seconds
GAP_FIRST = 2.0  # of a stream that has only one event: a hundred seconds, in the middle between both
MEMORY_EVENTS = 100.0
LATE_IN_A_ROW_MAX = 10


class EventTime(NamedTuple):
    """What is remembered of a stream's time, (B,) each."""

    time: Doubles  # of the newest event, epoch seconds
    usual: Doubles  # running mean of the gaps' logarithm (base 10, of seconds)
    behind: Doubles  # how many late events came in a row


class TimedEvent(NamedTuple):
    """One event in its stream's time."""

    after: EventTime
    gap: Doubles  # (B,) since the event before, as `EventTime.usual`; that itself where nobody can say
    late: NDArray[np.bool_]  # (B,)


def update(
    before: EventTime, times: Doubles, seq: NDArray[np.int64], uncertain: NDArray[np.bool_] | None = None
) -> TimedEvent:
    """The pace after one more event of each stream.

    Args:
        before: ignored where `seq` is 1.
        times: (B,) epoch seconds.
        seq: (B,) how many events the stream has had, this one included.
        uncertain: (B,) `times` says when it came, not when it was.
    """
    known = seq > 1
    usual = np.where(known, before.usual, GAP_FIRST)
    late = (times < before.time) & known
    time, behind = times, np.zeros_like(times)
    if np.count_nonzero(late):  # seldom
        behind[late] = before.behind[late] + 1.0
        time = np.where(late & (behind < LATE_IN_A_ROW_MAX), before.time, times)
        behind[behind >= LATE_IN_A_ROW_MAX] = 0.0
        known &= ~late
    if uncertain is not None:
        known &= ~uncertain
    seconds = np.minimum(np.maximum(np.where(known, times - before.time, 1.0), GAP_MIN), GAP_MAX)
    gap = np.where(known, np.log10(seconds), usual)
    gain = np.maximum(1.0 / np.maximum(seq - 1, 1), 1.0 / MEMORY_EVENTS)
    return TimedEvent(EventTime(time, usual + gain * (gap - usual), behind), gap, late)
