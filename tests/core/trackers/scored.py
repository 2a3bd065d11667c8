"""Scores of a stream's events by the anomaly tracker and the incident tracker, for tests of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.compiler import compiled
from stream_lstm.core.record import Doubles
from stream_lstm.core.trackers import anomaly, incident
from stream_lstm.core.trackers.anomaly import AnomalyState, Observed
from stream_lstm.core.trackers.event_time import TimedEvent
from stream_lstm.core.trackers.incident import KINDS, IncidentState
from tests.core.records import blank

BEGIN = 1.7e9  # epoch seconds


class Scored(NamedTuple):
    """What `incident.Verdict` has, one number for each event."""

    anomaly: Doubles
    kind: Doubles
    incident_score: Doubles
    alert: Doubles

    def alerts(self) -> list[tuple[int, str]]:
        """Position and kind of each alert."""
        return [(int(n), KINDS[int(self.kind[n])]) for n in np.flatnonzero(self.alert)]


def scored(
    values: Sequence[float] | Doubles, errors: Sequence[float] | Doubles | None = None, *, every: float = 60.0
) -> Scored:
    """The scores of a stream with one target; errors are in spreads, which are deviations here."""
    seen = np.array(values, np.float64)
    erred = np.zeros(len(seen)) if errors is None else np.abs(np.array(errors, np.float64))
    erred[0] = 0.0
    out = np.zeros((len(Scored._fields), len(seen)))
    _score(blank(AnomalyState), blank(IncidentState), seen, erred, every, out)
    return Scored(*out)


@compiled
def _score(
    state: AnomalyState,
    present: IncidentState,
    values: Doubles,
    errors: Doubles,
    every: float,
    out: NDArray[np.float64],
) -> None:
    """One loop for all events: a call of a compiled function from Python takes as long as ten events."""
    last = math.nan
    for n in range(len(values)):
        time = BEGIN + n * every
        event = Observed(values[n], last, errors[n], errors[n], n + 1)
        rarities = anomaly.update(state, event, TimedEvent(time, time - every, 2.0, 2.0, False), True, True)
        verdict = incident.update(present, incident.add(incident.no_score(), rarities), n + 1, True)
        out[0, n], out[1, n] = verdict.anomaly, verdict.kind
        out[2, n], out[3, n] = verdict.incident_score, verdict.alert
        last = values[n]
