"""Anomaly score of each event, from 0 to 1: the sum of rarities of its error, its value and the recent mean.

A rarity is the logarithm of a probability relative to that of one in a million: 0.5 is once in a thousand
events, 1 is once in a million or less. There are four, named as the `kind` of an anomaly:

surprise    The prediction's error, in spreads that the model announced. Beyond the stream's own 99.5 %
            quantile the tail is modelled as a power law, whose index is learnt from the excesses (Hill, "A
            simple general approach to inference about the tail of a distribution", 1975). It counts half
            where the stream has had errors as large at this hour of earlier days (`hourly_errors`).
record      The value lies beyond all values of the stream so far. Of n exchangeable values the last is the
            highest or lowest with probability 2/n (Rényi, "On the extreme elements of observations", 1962);
            to this the stream's own rate of records is added.
level       The mean of the last six values lies beyond all such means so far.
standstill  The same value came 12 times in a row or more, and twice as often as the longest run so far.

An event's score is its surprise plus the largest of the other three, see `incident`.
"""

from __future__ import annotations

import math
from math import inf
from typing import Annotated, NamedTuple

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import log, log1p
from stream_lstm.core.record import Field, Float, Record
from stream_lstm.core.trackers import hourly_errors
from stream_lstm.core.trackers.event_time import TimedEvent
from stream_lstm.core.trackers.hourly_errors import ERROR_MAX, HourlyErrorsState
from stream_lstm.events import EVENT_MAX

# Constants are literals: one that a C library computed would differ between machines. A test checks them.
RAREST_LOG = 13.815510557964274  # log(1e6): an event of one in a million scores 1

# Surprise: threshold and index of its tail.
TAIL_FIRST = 5.298317366548036  # -log(1 - 0.995): the quantile if the model's spread is exact (Laplace)
TAIL_RISE, TAIL_FALL = 1.0510083114514144, 0.9997500312473961  # exp(0.05 · 0.995), exp(0.05 · -0.005)
TAIL_MIN, TAIL_MAX = 1.0, 200.0  # spreads
# Index of the tail: limits, so that few excesses cannot make it extreme.
SHAPE_FIRST, SHAPE_MIN, SHAPE_MAX = 0.6, 0.1, 2.0
EXCESSES_FIRST = 30.0  # the first index counts as much as so many excesses
EXCESSES_MAX = 50.0  # from here on older excesses are forgotten exponentially

HOURLY_WEIGHT = 0.5  # of a surprise whose error is usual at its hour

# Record, level, drift.
RECENT_EVENTS = 6.0  # of the recent mean
RECORD_MARGIN = 0.02  # of the range so far: a value less far beyond it is no record
RECORD_WINDOW_EVENTS = 2_000.0  # of the rate of records
PEAK_KEEP = 0.95  # of the recent peak of surprise, from event to event

RUN_MIN = 12.0  # equal values in a row: fewer are no standstill


class AnomalyState(Record):
    """Normal behaviour of one target."""

    tail: Annotated[Float, Field("spreads", True, TAIL_MIN, TAIL_MAX)]  # 99.5 % quantile of the surprise
    shape: Annotated[
        Float, Field("index", True, SHAPE_MIN, SHAPE_MAX)
    ]  # the larger, the slower the tail falls
    excesses: Annotated[Float, Field("events", True, 0.0, EXCESSES_MAX)]  # beyond the quantile, of the index
    lowest: Annotated[Float, Field("of the target", True, -EVENT_MAX, EVENT_MAX)]
    highest: Annotated[Float, Field("of the target", True, -EVENT_MAX, EVENT_MAX)]
    record_rate: Annotated[Float, Field("share", True, 0.0, 1.0)]
    recent: Annotated[Float, Field("of the target", False, -EVENT_MAX, EVENT_MAX)]  # mean of the last values
    recent_lowest: Annotated[Float, Field("of the target", True, -EVENT_MAX, EVENT_MAX)]
    recent_highest: Annotated[Float, Field("of the target", True, -EVENT_MAX, EVENT_MAX)]
    recent_record_rate: Annotated[Float, Field("share", True, 0.0, 1.0)]
    run: Annotated[Float, Field("events", False, 0.0, inf)]  # repetitions of the present value in a row
    run_longest: Annotated[Float, Field("events", True, 0.0, inf)]  # of the runs that have ended
    peak_surprise: Annotated[Float, Field("rarity", False, 0.0, inf)]  # recent peak of the surprise's rarity
    hourly: HourlyErrorsState


class Observed(NamedTuple):
    """One event of one target."""

    value: float  # NaN of a target that events do not carry
    last: float  # the value before
    error: float  # of the prediction, in deviations; NaN where there was none
    surprise: float  # the same in spreads, 0 where there was none
    seq: int  # number of events of the stream, this one included


class Rarities(NamedTuple):
    """Rarities of one event of one target, and the recent peak of its surprise."""

    surprise: float
    record: float
    level: float
    standstill: float
    peak_surprise: float


@compiled
def update(
    state: AnomalyState, event: Observed, timed: TimedEvent, learning: bool, certain: bool
) -> Rarities:
    """Compare one more event with what is normal for its stream.

    Args:
        state: changed; begun anew where `event.seq` is 1.
        event: of the target.
        timed: its time.
        learning: False if the stream is frozen: then what is normal stays.
        certain: False if the event's time is unknown: then nothing changes at all.
    """
    unknown = math.isnan(event.value)
    if event.seq == 1:
        _begin(state, 0.0 if unknown else event.value)
    value = state.recent if unknown else event.value
    error = min(event.error, ERROR_MAX) if event.error > 0.0 else 0.0  # 0 where it is NaN
    usual_error = hourly_errors.update(state.hourly, timed, event.seq, learning and certain)
    surprise = _surprise(state, event) * (1.0 if error > usual_error else HOURLY_WEIGHT)

    recent = state.recent + max(1.0 / event.seq, 1.0 / RECENT_EVENTS) * (value - state.recent)
    broken = _is_record(value, state.lowest, state.highest)
    recent_broken = _is_record(recent, state.recent_lowest, state.recent_highest)
    record = _rarity(broken, 2.0 / event.seq + state.record_rate)
    level = _rarity(recent_broken, 2.0 * RECENT_EVENTS / event.seq + state.recent_record_rate)

    repeated = value == event.last
    run = state.run + 1.0 if repeated else 0.0
    begins = run == max(RUN_MIN, 2.0 * state.run_longest + 1.0)
    standstill = _rarity(begins, (state.run_longest + 1.0) / event.seq)

    if unknown:
        surprise = record = level = standstill = 0.0
    peak_surprise = max(surprise, state.peak_surprise * PEAK_KEEP)
    if certain and learning:
        _learn(state, event.surprise, value, recent, broken, recent_broken)
        if not repeated:
            state.run_longest = max(state.run_longest, state.run)
        hourly_errors.learn(state.hourly, error)
    if certain:
        state.recent, state.run, state.peak_surprise = recent, run, peak_surprise
    return Rarities(surprise, record, level, standstill, peak_surprise)


@compiled
def _begin(state: AnomalyState, value: float) -> None:
    state.tail, state.shape, state.excesses = TAIL_FIRST, SHAPE_FIRST, EXCESSES_FIRST
    state.lowest = state.highest = state.recent = state.recent_lowest = state.recent_highest = value
    state.record_rate = state.recent_record_rate = 0.0
    state.run = state.run_longest = state.peak_surprise = 0.0


@compiled
def _learn(
    state: AnomalyState, surprise: float, value: float, recent: float, broken: bool, recent_broken: bool
) -> None:
    _learn_tail(state, surprise)
    state.lowest, state.highest = min(state.lowest, value), max(state.highest, value)
    state.recent_lowest, state.recent_highest = (
        min(state.recent_lowest, recent),
        max(state.recent_highest, recent),
    )
    state.record_rate += ((1.0 if broken else 0.0) - state.record_rate) / RECORD_WINDOW_EVENTS
    state.recent_record_rate += (
        (1.0 if recent_broken else 0.0) - state.recent_record_rate
    ) / RECORD_WINDOW_EVENTS


@compiled
def _learn_tail(state: AnomalyState, surprise: float) -> None:
    """Threshold and index of the tail after one more surprise, and the number of excesses."""
    if not surprise > state.tail:
        state.tail = max(state.tail * TAIL_FALL, TAIL_MIN)
        return
    excess = log(surprise / state.tail)
    state.excesses = min(state.excesses + 1.0, EXCESSES_MAX)
    state.tail = min(max(state.tail * TAIL_RISE, TAIL_MIN), TAIL_MAX)
    state.shape = min(max(state.shape + (excess - state.shape) / state.excesses, SHAPE_MIN), SHAPE_MAX)


@compiled
def _surprise(state: AnomalyState, event: Observed) -> float:
    """Rarity of the error; less where only few events are known."""
    events = max(event.seq - 1.0, 1.0)
    relative = event.surprise / state.tail
    rarity = relative * TAIL_FIRST if relative <= 1.0 else TAIL_FIRST + log(relative) / state.shape
    return events * log1p(rarity / events) / RAREST_LOG


@compiled
def _is_record(value: float, lowest: float, highest: float) -> bool:
    """True if a value lies beyond the range so far by more than the margin."""
    return max(value - highest, lowest - value) > RECORD_MARGIN * (highest - lowest)


@compiled
def _rarity(happened: bool, probability: float) -> float:
    return log(min(probability, 1.0)) / -RAREST_LOG if happened else 0.0
