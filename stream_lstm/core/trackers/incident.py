"""Incident of each stream: the score and kind of an event by all its targets, and when an alert is raised.

The kind is the largest rarity; it is `drift` instead of `level` if no event on the way was much of a
surprise. One incident raises one alert: during the cooldown of 300 events after it there is no other, unless
the anomaly is much worse.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from stream_lstm.compiler import compiled
from stream_lstm.core.record import Field, Float, Record
from stream_lstm.core.trackers.anomaly import Rarities

KINDS = ("", "surprise", "record", "level", "standstill", "drift")
SURPRISE, RECORD, LEVEL, STANDSTILL, DRIFT = 1, 2, 3, 4, 5

ALERT_THRESHOLD = 0.45  # an event is anomalous from this score on
INCIDENT_EVENTS = 300.0  # cooldown
WORSE_MIN = 0.25  # 30 times rarer: an alert also during the cooldown
DRIFT_SURPRISE_MAX = 0.34  # once in a hundred events


class IncidentState(Record):
    """The present incident."""

    incident: Annotated[Float, Field("anomaly", False, 0.0, 1.0)]  # its largest anomaly, 0 without one
    cooldown: Annotated[Float, Field("events", False, 0.0, INCIDENT_EVENTS)]  # remaining


class Score(NamedTuple):
    """The anomaly of an event, by those of its targets that were added so far."""

    anomaly: float  # from 0 to 1
    rarities: Rarities  # the largest of all targets, each


class Verdict(NamedTuple):
    """Outcome of an event for its stream."""

    anomaly: float  # from 0 to 1
    kind: int  # index in `KINDS`
    incident_score: float  # the anomaly where it begins or tops an incident, else 0
    alert: bool  # the event begins an incident, or makes it much worse


@compiled
def no_score() -> Score:
    """Of an event without targets."""
    return Score(0.0, Rarities(0.0, 0.0, 0.0, 0.0, 0.0))


@compiled
def add(score: Score, target: Rarities) -> Score:
    """The score with one more target."""
    most = score.rarities
    rest = max(target.record, target.level, target.standstill)
    return Score(
        max(score.anomaly, min(target.surprise + rest, 1.0)),
        Rarities(
            max(most.surprise, target.surprise),
            max(most.record, target.record),
            max(most.level, target.level),
            max(most.standstill, target.standstill),
            max(most.peak_surprise, target.peak_surprise),
        ),
    )


@compiled
def update(state: IncidentState, score: Score, seq: int, certain: bool) -> Verdict:
    """Decide on an alert.

    Args:
        state: changed; begun anew where `seq` is 1.
        score: of the event, by all targets.
        seq: number of events of the stream, this one included.
        certain: False if the event's time is unknown: then nothing changes.
    """
    if seq == 1:
        state.incident = state.cooldown = 0.0
    anomaly, remaining = score.anomaly, state.cooldown - 1.0
    over = remaining <= 0.0
    tops = over or anomaly > state.incident
    begins = tops and anomaly >= ALERT_THRESHOLD
    alert = begins and (over or anomaly >= state.incident + WORSE_MIN)
    if certain and begins:
        state.incident, state.cooldown = anomaly, INCIDENT_EVENTS
    elif certain:
        state.incident, state.cooldown = 0.0 if over else state.incident, max(remaining, 0.0)
    kind = _kind(score.rarities) if anomaly > 0.0 else 0
    return Verdict(anomaly, kind, anomaly if tops else 0.0, alert)


@compiled
def _kind(rarities: Rarities) -> int:
    kind, largest = SURPRISE, rarities.surprise
    if rarities.record > largest:
        kind, largest = RECORD, rarities.record
    if rarities.level > largest:
        kind, largest = LEVEL, rarities.level
    if rarities.standstill > largest:
        kind = STANDSTILL
    return DRIFT if kind == LEVEL and rarities.peak_surprise < DRIFT_SURPRISE_MAX else kind
