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
level       The mean of the last six values lies beyond all such means so far. The kind is `drift` instead if
            no event on the way was much of a surprise.
standstill  The same value came 12 times in a row or more, and twice as often as the longest run so far.

The score is the surprise plus the largest of the other three. One incident raises one alert: during the
cooldown of 300 events after it there is no other, unless the anomaly is much worse.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.columns import RecordColumn
from stream_lstm.core.trackers import hourly_errors
from stream_lstm.core.trackers.hourly_errors import ERROR_MAX, HourlyErrors
from stream_lstm.core.trackers.scale import Doubles
from stream_lstm.events import EVENT_MAX

KINDS = ("", "surprise", "record", "level", "standstill", "drift")  # the largest rarity of an event
LEVEL, DRIFT = KINDS.index("level"), KINDS.index("drift")

ALERT_THRESHOLD = 0.45  # an event is anomalous from this score on
INCIDENT_EVENTS = 300  # cooldown
WORSE_MIN = 0.25  # 30 times rarer: an alert also during the cooldown
RAREST_LOG = np.log(1e6)  # an event of one in a million scores 1

# Surprise: threshold and index of its tail.
TAIL = 0.995
TAIL_FIRST = -np.log(1.0 - TAIL)  # the quantile if the model's spread is exact (Laplace)
TAIL_RATE = 0.05  # step size, of the threshold's logarithm
TAIL_MIN, TAIL_MAX = 1.0, 200.0  # spreads
TAIL_RISE, TAIL_FALL = np.exp(TAIL_RATE * TAIL), np.exp(TAIL_RATE * (TAIL - 1.0))
# Index of the tail: limits, so that few excesses cannot make it extreme.
SHAPE_FIRST, SHAPE_MIN, SHAPE_MAX = 0.6, 0.1, 2.0
EXCESSES_FIRST = 30.0  # the first index counts as much as so many excesses
EXCESSES_MAX = 50.0  # from here on older excesses are forgotten exponentially

HOURLY_WEIGHT = 0.5  # of a surprise whose error is usual at its hour

# Record, level, drift.
RECENT_EVENTS = 6  # of the recent mean
RECORD_MARGIN = 0.02  # of the range so far: a value less far beyond it is no record
RECORD_WINDOW_EVENTS = 2_000.0  # of the rate of records
DRIFT_SURPRISE_MAX = 0.34  # once in a hundred events
PEAK_KEEP = 0.95  # of the recent peak of surprise, from event to event

RUN_MIN = 12  # equal values in a row: fewer are no standstill


class AnomalyState(NamedTuple):
    """Normal behaviour of a stream, and its present incident; (B, T) unless another shape is given."""

    tail: Doubles  # 99.5 % quantile of the surprise
    shape: Doubles  # index of the power law beyond it: the larger, the slower it falls
    excesses: Doubles  # surprises beyond the quantile, which the index was learnt from
    lowest: Doubles
    highest: Doubles
    record_rate: Doubles
    recent: Doubles  # mean of the last few values
    recent_lowest: Doubles
    recent_highest: Doubles
    recent_record_rate: Doubles
    run: Doubles  # repetitions of the present value in a row
    run_longest: Doubles  # of the runs that have ended
    peak_surprise: Doubles  # recent peak of the surprise's rarity
    hour_error: Doubles  # largest error of the present hour
    incident: Doubles  # (B,) largest anomaly of the present incident, 0 without one
    cooldown: Doubles  # (B,) remaining


VALUES = (-EVENT_MAX, EVENT_MAX)
COLUMNS = (
    RecordColumn("tail", "rough", "spreads", frozen=True, limits=(TAIL_MIN, TAIL_MAX)),
    RecordColumn("shape", "coarse", "index", frozen=True, limits=(SHAPE_MIN, SHAPE_MAX)),
    RecordColumn("excesses", "coarse", "events", frozen=True, limits=(0.0, EXCESSES_MAX)),
    RecordColumn("lowest", "exact", "of the target", frozen=True, limits=VALUES),
    RecordColumn("highest", "exact", "of the target", frozen=True, limits=VALUES),
    RecordColumn("record_rate", "rough", "share", frozen=True, limits=(0.0, 1.0), stored="records"),
    RecordColumn("recent", "exact", "of the target", limits=VALUES, stored="near"),
    RecordColumn("recent_lowest", "exact", "of the target", frozen=True, limits=VALUES, stored="near_lowest"),
    RecordColumn(
        "recent_highest", "exact", "of the target", frozen=True, limits=VALUES, stored="near_highest"
    ),
    RecordColumn(
        "recent_record_rate", "rough", "share", frozen=True, limits=(0.0, 1.0), stored="near_records"
    ),
    RecordColumn("run", "rough", "events", limits=(0.0, inf)),
    RecordColumn("run_longest", "rough", "events", frozen=True, limits=(0.0, inf)),
    RecordColumn("peak_surprise", "coarse", "rarity", limits=(0.0, inf), stored="jump"),
    RecordColumn(
        "hour_error", "coarse", "deviations", frozen=True, limits=(0.0, ERROR_MAX), stored="hour_worst"
    ),
    RecordColumn("incident", "of_stream", "anomaly", limits=(0.0, 1.0), stored="level"),
    RecordColumn("cooldown", "of_stream", "events", limits=(0.0, INCIDENT_EVENTS), stored="quiet"),
)


class Observed(NamedTuple):
    """One event of each of B streams, with T targets."""

    values: Doubles  # (B, T) NaN of a target that events do not carry
    last: Doubles  # (B, T) the values before
    error: Doubles  # (B, T) of the prediction, in deviations; NaN where there was none
    surprise: Doubles  # (B, T) the same in spreads, 0 where there was none
    seq: NDArray[np.int64]  # (B,) number of events of each stream, this one included
    time: Doubles  # (B,) event time of the stream, epoch seconds
    time_before: Doubles  # (B,) the same before this event


class AnomalyResult(NamedTuple):
    """The anomaly of each event, (B,) each."""

    anomaly: Doubles  # from 0 to 1
    kind: NDArray[np.int8]  # index in `KINDS`
    incident_score: Doubles  # the anomaly where it begins or tops an incident, else 0
    alert: NDArray[np.bool_]  # the event begins an incident, or makes it much worse


def update(before: AnomalyState, hourly: HourlyErrors, event: Observed) -> tuple[AnomalyResult, AnomalyState]:
    """Score one event of each stream against what is normal for it; returns the result and the new state.

    Args:
        before: ignored where `seq` is 1.
        hourly: likewise.
    """
    state = _initialized(before, event)
    error = np.minimum(np.fmax(event.error, 0.0), ERROR_MAX)  # 0 where it is NaN
    count = event.seq[:, None].astype(np.float64)
    unknown = np.isnan(event.values)
    values = np.where(unknown, state.recent, event.values) if np.count_nonzero(unknown) else event.values

    hour_error, usual_error = hourly_errors.update(
        state.hour_error, hourly, event.time, event.time_before, event.seq
    )
    surprise = _surprise(state, event.surprise, np.maximum(count - 1.0, 1.0))
    surprise = surprise * np.where(error > usual_error, 1.0, HOURLY_WEIGHT)

    recent = state.recent + np.maximum(1.0 / count, 1.0 / RECENT_EVENTS) * (values - state.recent)
    broken = _is_record(values, state.lowest, state.highest)
    recent_broken = _is_record(recent, state.recent_lowest, state.recent_highest)
    record = _rarity(broken, 2.0 / count + state.record_rate)
    level = _rarity(recent_broken, 2.0 * RECENT_EVENTS / count + state.recent_record_rate)

    repeated = values == event.last
    run = np.where(repeated, state.run + 1.0, 0.0)
    standstill = _standstill(state, run, count)

    rarities = np.array([surprise, record, level, standstill])  # (4, B, T), in the order of `KINDS`
    if values is not event.values:
        rarities[:, unknown] = 0.0
    peak_surprise = np.maximum(rarities[0], state.peak_surprise * PEAK_KEEP)
    result, incident, cooldown = _decide_alert(state, *_score(rarities, peak_surprise))
    tail, shape, excesses = _tail(state, event.surprise)
    return result, AnomalyState(
        tail=tail,
        shape=shape,
        excesses=excesses,
        lowest=np.minimum(state.lowest, values),
        highest=np.maximum(state.highest, values),
        record_rate=state.record_rate + (broken - state.record_rate) / RECORD_WINDOW_EVENTS,
        recent=recent,
        recent_lowest=np.minimum(state.recent_lowest, recent),
        recent_highest=np.maximum(state.recent_highest, recent),
        recent_record_rate=state.recent_record_rate
        + (recent_broken - state.recent_record_rate) / RECORD_WINDOW_EVENTS,
        run=run,
        run_longest=np.where(repeated, state.run_longest, np.maximum(state.run_longest, state.run)),
        peak_surprise=peak_surprise,
        hour_error=np.maximum(hour_error, error),
        incident=incident,
        cooldown=cooldown,
    )


def _initialized(before: AnomalyState, event: Observed) -> AnomalyState:
    """The state, with that of a blank record where this is a stream's first event."""
    first = (event.seq == 1)[:, None]
    if not np.count_nonzero(first):
        return before
    values = np.where(np.isnan(event.values), 0.0, event.values)
    initial = dict.fromkeys(AnomalyState._fields, 0.0) | {
        "tail": TAIL_FIRST,
        "shape": SHAPE_FIRST,
        "excesses": EXCESSES_FIRST,
        **dict.fromkeys(("lowest", "highest", "recent", "recent_lowest", "recent_highest"), values),
    }
    masks = {"incident": first[:, 0], "cooldown": first[:, 0]}
    return AnomalyState(
        **{n: np.where(masks.get(n, first), initial[n], old) for n, old in before._asdict().items()}
    )


def _surprise(state: AnomalyState, surprise: Doubles, events: Doubles) -> Doubles:
    """Rarity of each surprise; less where only few events are known."""
    relative = surprise / state.tail
    beyond = TAIL_FIRST + np.log(np.maximum(relative, 1.0)) / state.shape
    rarity = np.where(relative > 1.0, beyond, relative * TAIL_FIRST)
    return np.asarray(events * np.log1p(rarity / events) / RAREST_LOG)


def _tail(state: AnomalyState, surprise: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Threshold and index of the tail after these surprises, and the number of excesses."""
    exceeded = surprise > state.tail
    if not np.count_nonzero(exceeded):  # the usual case
        return np.maximum(state.tail * TAIL_FALL, TAIL_MIN), state.shape, state.excesses
    excess = np.log(np.maximum(surprise / state.tail, 1.0))
    excesses = np.minimum(state.excesses + 1.0, EXCESSES_MAX)
    tail = state.tail * np.where(exceeded, TAIL_RISE, TAIL_FALL)
    shape = state.shape + exceeded * (excess - state.shape) / excesses
    return (
        np.minimum(np.maximum(tail, TAIL_MIN), TAIL_MAX),
        np.minimum(np.maximum(shape, SHAPE_MIN), SHAPE_MAX),
        np.where(exceeded, excesses, state.excesses),
    )


def _is_record(values: Doubles, lowest: Doubles, highest: Doubles) -> NDArray[np.bool_]:
    """True where a value lies beyond the range so far by more than the margin."""
    return np.maximum(values - highest, lowest - values) > RECORD_MARGIN * (highest - lowest)


def _standstill(state: AnomalyState, run: Doubles, count: Doubles) -> Doubles:
    """Rarity of a run of equal values, at the event that makes it a standstill."""
    begins = run == np.maximum(RUN_MIN, 2.0 * state.run_longest + 1.0)
    return _rarity(begins, (state.run_longest + 1.0) / count)


def _rarity(happened: NDArray[np.bool_], probability: Doubles) -> Doubles:
    """Rarity of what has happened, 0 where it has not."""
    if not np.count_nonzero(happened):  # the usual case
        return np.zeros(happened.shape)
    return np.where(happened, np.log(np.minimum(probability, 1.0)) / -RAREST_LOG, 0.0)


def _score(rarities: Doubles, peak_surprise: Doubles) -> tuple[Doubles, NDArray[np.int8]]:
    """Anomaly and kind of each event, (B,), from the rarities of its targets, (4, B, T)."""
    anomaly = _max_of_targets(np.minimum(rarities[0] + np.maximum.reduce(rarities[1:]), 1.0))
    largest = 1 + _max_of_targets(rarities).argmax(axis=0)
    drifted = (largest == LEVEL) & (_max_of_targets(peak_surprise) < DRIFT_SURPRISE_MAX)
    return anomaly, ((anomaly > 0.0) * np.where(drifted, DRIFT, largest)).astype(np.int8)


def _decide_alert(
    state: AnomalyState, anomaly: Doubles, kind: NDArray[np.int8]
) -> tuple[AnomalyResult, Doubles, Doubles]:
    """The result with its alert, and `incident` and `cooldown` after it."""
    remaining = state.cooldown - 1.0
    over = remaining <= 0.0
    tops = over | (anomaly > state.incident)
    begins = tops & (anomaly >= ALERT_THRESHOLD)
    alert = begins & (over | (anomaly >= state.incident + WORSE_MIN))
    incident = np.where(begins, anomaly, np.where(over, 0.0, state.incident))
    cooldown = np.where(begins, float(INCIDENT_EVENTS), np.maximum(remaining, 0.0))
    return AnomalyResult(anomaly, kind, np.where(tops, anomaly, 0.0), alert), incident, cooldown


def _max_of_targets(column: Doubles) -> Doubles:
    """The largest of the last axis, 0 where it is empty; nothing is below 0."""
    if column.shape[-1] == 1:  # the usual case, and the fast one
        return column[..., 0]
    return np.asarray(column.max(axis=-1, initial=0.0))
