"""How odd an event is: what speaks against "as ever" on its stream, added up in rarities.

A rarity is the logarithm of a probability by that of one in a million: 0.5 is once in a thousand, 1 once in
a million or less. What speaks:

surprise    The prediction's error, in spreads that the model announced. Beyond the stream's own 99.5 %
            quantile the tail is taken for a power law, whose index is learnt from the excesses (Hill, "A
            simple general approach to inference about the tail of a distribution", 1975). Who errs as much
            at this hour of other days surprises by half.
record      The value lies beyond all that this stream has shown. Of n exchangeable values the last is the
            highest or lowest with probability 2/n (Rényi, "On the extreme elements of observations",
            1962); a stream that sets records all the time is taken at its own rate.
level       So does the mean of the last six values.
drift       The same, and no event on the way there was much of a surprise.
standstill  The same value came more often in a row than ever, twice over.

The loudest of the others is added to the first. One incident is told once: after an alert the stream is
heard for 300 events without another, unless it gets far worse.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.trackers.scale import Doubles

ALERT_THRESHOLD = 0.45
INCIDENT_EVENTS = 300
WORSE = 0.25  # 30 times rarer
KINDS = ("", "surprise", "record", "level", "standstill", "drift")  # what spoke loudest

RAREST_LOG = np.log(1e6)

TAIL = 0.995
TAIL_FIRST = -np.log(1.0 - TAIL)
TAIL_RATE = 0.05
TAIL_MIN, TAIL_MAX = 1.0, 200.0
TAIL_RISE, TAIL_FALL = np.exp(TAIL_RATE * TAIL), np.exp(TAIL_RATE * (TAIL - 1.0))

SHAPE_FIRST, SHAPE_MIN, SHAPE_MAX = 0.6, 0.1, 2.0
EXCESSES_FIRST, EXCESSES_MAX = 30.0, 50.0  # what the first index counts for; how many excesses are remembered

NEAR_EVENTS = 6
MARGIN = 0.02  # of the range that was seen: less beyond it is no record
RECORDS_EVENTS = 2_000.0  # over which the rate of records is taken

RUN_MIN = 12  # a shorter standstill is none

HOURS = 24
LEVEL, DRIFT = KINDS.index("level"), KINDS.index("drift")
DRIFT_SURPRISE_MAX = 0.34  # what comes once in a hundred events is no jump
JUMP_KEEP = 0.95  # from event to event

AROUND = np.array([-1, 0, 1])
ROUTINE_KEEP = 0.8  # from day to day
ROUTINE_WEIGHT = 0.5
ROUTINE_MAX = 6e4  # deviations
# As they are kept: sixteen steps for each doubling of 1 + error.
ROUTINE_STEPS = 16.0
ROUTINE = np.exp2(np.arange(256) / ROUTINE_STEPS) - 1.0
HOUR_SECONDS = 3_600.0


class AnomalyState(NamedTuple):
    """What is remembered of a stream to hold its events against; (B, T) where nothing else is said."""

    tail: Doubles  # a surprise of once in two hundred
    shape: Doubles  # how slowly the tail falls beyond
    excesses: Doubles  # how many it was learnt from
    lowest: Doubles
    highest: Doubles
    records: Doubles  # share of events that set one
    near: Doubles  # the mean of the last few
    near_lowest: Doubles
    near_highest: Doubles
    near_records: Doubles
    run: Doubles  # how often the present value has come in a row
    run_longest: Doubles  # of those that ended
    jump: Doubles  # the loudest surprise of late
    hour_worst: Doubles  # the largest error of this hour so far, in deviations
    level: Doubles  # (B,) anomaly of the present incident
    quiet: Doubles  # (B,) events until another may be told


class HourlyErrors(NamedTuple):
    """The largest error of each hour of the days before, where all streams' lie: changed in place."""

    errors: NDArray[np.uint8]  # (rows, T, 24) in deviations, as in `ROUTINE`
    rows: NDArray[np.intp]  # (B,) which are these streams'
    kept: NDArray[np.bool_]  # (B,) which are not to learn


class Observed(NamedTuple):
    """Events that have come, B streams, T targets."""

    values: Doubles  # (B, T) NaN of a target that events do not carry
    last: Doubles  # (B, T) the values before
    error: Doubles  # (B, T) of the prediction, in deviations; NaN where nothing was predicted
    surprise: Doubles  # (B, T) the same in spreads
    seq: NDArray[np.int64]  # (B,) these events included
    time: Doubles  # (B,) epoch seconds, not before …
    time_before: Doubles  # (B,) … that of the last event


class AnomalyResult(NamedTuple):
    """What there is to say of each event."""

    anomaly: Doubles  # (B,) in [0, 1]
    kind: NDArray[np.int8]  # (B,) which of `KINDS` spoke loudest
    incident_score: Doubles  # (B,) the anomaly where it begins or tops an incident, else 0
    alert: NDArray[np.bool_]  # (B,) an incident begins, or gets far worse


def update(past: AnomalyState, routine: HourlyErrors, event: Observed) -> tuple[AnomalyResult, AnomalyState]:
    """Hold events against their streams' past; returns what there is to say, and the past with them.

    Args:
        past: ignored where `seq` is 1.
        routine: likewise.
    """
    past = _begun(past, event)
    error = np.minimum(np.fmax(event.error, 0.0), ROUTINE_MAX)  # 0 where there is none
    count = event.seq[:, None].astype(np.float64)
    unknown = np.isnan(event.values)
    values = np.where(unknown, past.near, event.values) if np.count_nonzero(unknown) else event.values

    hour_worst, usual = _routine(past.hour_worst, routine, event)
    surprise = _surprise(past, event.surprise, np.maximum(count - 1.0, 1.0))
    surprise = surprise * np.where(error > usual, 1.0, ROUTINE_WEIGHT)

    near = past.near + np.maximum(1.0 / count, 1.0 / NEAR_EVENTS) * (values - past.near)
    broken = _beyond(values, past.lowest, past.highest)
    near_broken = _beyond(near, past.near_lowest, past.near_highest)
    record = _rarity(broken, 2.0 / count + past.records)
    level = _rarity(near_broken, 2.0 * NEAR_EVENTS / count + past.near_records)

    again = values == event.last
    run = np.where(again, past.run + 1.0, 0.0)
    standstill = _standstill(past, run, count)

    spoken = np.array([surprise, record, level, standstill])  # (4, B, T)
    if values is not event.values:
        spoken[:, unknown] = 0.0
    jump = np.maximum(spoken[0], past.jump * JUMP_KEEP)
    anomaly, kind = _loudest(spoken, jump)

    left = past.quiet - 1.0
    free = left <= 0.0
    tops = free | (anomaly > past.level)
    begins = tops & (anomaly >= ALERT_THRESHOLD)
    tail, shape, excesses = _tail(past, event.surprise)
    after = AnomalyState(
        tail=tail,
        shape=shape,
        excesses=excesses,
        lowest=np.minimum(past.lowest, values),
        highest=np.maximum(past.highest, values),
        records=past.records + (broken - past.records) / RECORDS_EVENTS,
        near=near,
        near_lowest=np.minimum(past.near_lowest, near),
        near_highest=np.maximum(past.near_highest, near),
        near_records=past.near_records + (near_broken - past.near_records) / RECORDS_EVENTS,
        run=run,
        run_longest=np.where(again, past.run_longest, np.maximum(past.run_longest, past.run)),
        jump=jump,
        hour_worst=np.maximum(hour_worst, error),
        level=np.where(begins, anomaly, np.where(free, 0.0, past.level)),
        quiet=np.where(begins, float(INCIDENT_EVENTS), np.maximum(left, 0.0)),
    )
    alert = begins & (free | (anomaly >= past.level + WORSE))
    return AnomalyResult(anomaly, kind, np.where(tops, anomaly, 0.0), alert), after


def _loudest(spoken: Doubles, jump: Doubles) -> tuple[Doubles, NDArray[np.int8]]:
    """How odd what spoke, (4, B, T), makes an event, and which of it spoke loudest."""
    anomaly = _worst(np.minimum(spoken[0] + np.maximum.reduce(spoken[1:]), 1.0))
    loudest = 1 + _worst(spoken).argmax(axis=0)
    crept = (loudest == LEVEL) & (_worst(jump) < DRIFT_SURPRISE_MAX)
    return anomaly, ((anomaly > 0.0) * np.where(crept, DRIFT, loudest)).astype(np.int8)


def _begun(past: AnomalyState, event: Observed) -> AnomalyState:
    """The past, or where there is none what is taken for it."""
    first = (event.seq == 1)[:, None]
    if not np.count_nonzero(first):
        return past
    values = np.where(np.isnan(event.values), 0.0, event.values)
    blank = dict.fromkeys(AnomalyState._fields, 0.0) | {
        "tail": TAIL_FIRST,
        "shape": SHAPE_FIRST,
        "excesses": EXCESSES_FIRST,
        **dict.fromkeys(("lowest", "highest", "near", "near_lowest", "near_highest"), values),
    }
    masks = {"level": first[:, 0], "quiet": first[:, 0]}
    return AnomalyState(
        **{n: np.where(masks.get(n, first), blank[n], old) for n, old in past._asdict().items()}
    )


def _surprise(past: AnomalyState, surprise: Doubles, events: Doubles) -> Doubles:
    """Rarity of each surprise; with few events known, everything is less rare than it looks."""
    relative = surprise / past.tail
    beyond = TAIL_FIRST + np.log(np.maximum(relative, 1.0)) / past.shape
    rarity = np.where(relative > 1.0, beyond, relative * TAIL_FIRST)
    return np.asarray(events * np.log1p(rarity / events) / RAREST_LOG)


def _standstill(past: AnomalyState, run: Doubles, count: Doubles) -> Doubles:
    """Rarity of a value that comes again and again; said once, as it becomes a standstill."""
    still = run == np.maximum(RUN_MIN, 2.0 * past.run_longest + 1.0)
    return _rarity(still, (past.run_longest + 1.0) / count)


def _tail(past: AnomalyState, surprise: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Where the tail begins, how slowly it falls, and how many excesses that was learnt from."""
    exceeded = surprise > past.tail
    if not np.count_nonzero(exceeded):  # mostly
        return np.maximum(past.tail * TAIL_FALL, TAIL_MIN), past.shape, past.excesses
    excess = np.log(np.maximum(surprise / past.tail, 1.0))
    learnt = np.minimum(past.excesses + 1.0, EXCESSES_MAX)
    tail = past.tail * np.where(exceeded, TAIL_RISE, TAIL_FALL)
    shape = past.shape + exceeded * (excess - past.shape) / learnt
    return (
        np.minimum(np.maximum(tail, TAIL_MIN), TAIL_MAX),
        np.minimum(np.maximum(shape, SHAPE_MIN), SHAPE_MAX),
        np.where(exceeded, learnt, past.excesses),
    )


def _beyond(values: Doubles, lowest: Doubles, highest: Doubles) -> NDArray[np.bool_]:
    return np.maximum(values - highest, lowest - values) > MARGIN * (highest - lowest)


def _rarity(happened: NDArray[np.bool_], probability: Doubles) -> Doubles:
    if not np.count_nonzero(happened):  # mostly
        return np.zeros(happened.shape)
    return np.where(happened, np.log(np.minimum(probability, 1.0)) / -RAREST_LOG, 0.0)


def _routine(worst: Doubles, routine: HourlyErrors, event: Observed) -> tuple[Doubles, Doubles]:
    """The worst of the present hour so far, and the error usual at it; hours that are over are noted."""
    errors, rows, _ = routine
    if np.count_nonzero(event.seq == 1):
        errors[rows[event.seq == 1]] = 0
    hour, before = np.floor(np.array([event.time, event.time_before]) / HOUR_SECONDS).astype(np.intp) % HOURS
    over = (hour != before) & (event.seq > 1)
    if np.count_nonzero(over):
        ended = over & ~routine.kept
        at = rows[ended], slice(None), before[ended]
        faded = np.floor(_as_kept(ROUTINE[errors[at]] * ROUTINE_KEEP))  # so that it is forgotten in the end
        errors[at] = np.maximum(faded, np.ceil(_as_kept(worst[ended])))
        worst = np.where(over[:, None], 0.0, worst)
    target = np.arange(errors.shape[1])
    hours = (hour[:, None] + AROUND) % HOURS  # (B, 3)
    around = errors[rows[:, None, None], target[:, None], hours[:, None]]  # (B, T, 3)
    return worst, ROUTINE[np.maximum.reduce(around, axis=2)]


def _as_kept(error: Doubles) -> Doubles:
    return np.asarray(np.log2(1.0 + error) * ROUTINE_STEPS)


def _worst(of_targets: Doubles) -> Doubles:
    """The largest of the last axis, or 0 where there is none; nothing is below 0."""
    if of_targets.shape[-1] == 1:  # mostly, and then it takes no time
        return of_targets[..., 0]
    return np.asarray(of_targets.max(axis=-1, initial=0.0))
