"""Results of the demo: for each sensor its last prediction, relative error, coverage and incidents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

INCIDENT_GAP_SECONDS = (
    6 * 3600.0
)  # of recorded time: a trade-off between a flood of incidents and merged ones
INCIDENTS_MAX = 10_000  # of a sensor: the summary shows twelve in all; bounds the memory of a long demo


@dataclass
class Incident:
    """Anomalous events close to each other.

    Attributes:
        start, end: event times, epoch seconds.
        anomaly: the highest score.
        value: of the event with that score.
    """

    sensor: str
    start: float
    end: float
    anomaly: float
    value: float
    events: int = 1


@dataclass
class SensorResults:
    """Results of one sensor.

    Attributes:
        prediction: the last one, as published; empty before the first.
        events: number of predictions.
        error: sum of absolute errors of the predictions.
        naive_error: of the last-value forecast.
        covered: values inside their prediction interval.
        evaluated: values that had a prediction.
    """

    name: str
    prediction: dict[str, Any] = field(default_factory=dict)
    events: int = 0
    error: float = 0.0
    naive_error: float = 0.0
    covered: int = 0
    evaluated: int = 0
    incidents: list[Incident] = field(default_factory=list)

    def update(self, prediction: dict[str, Any]) -> None:
        """Add the next prediction."""
        previous, self.prediction = self.prediction, prediction
        self.events += 1
        if prediction["expected"] is None or not previous:
            return
        value = prediction["value"]
        self.evaluated += 1
        self.error += abs(value - prediction["expected"])
        self.naive_error += abs(value - previous["value"])
        low, high = previous["interval"] or (value, value)
        self.covered += low <= value <= high
        if prediction["kind"]:
            self._add_anomaly(prediction)

    def _add_anomaly(self, prediction: dict[str, Any]) -> None:
        time, anomaly, value = prediction["time"], prediction["anomaly"], prediction["value"]
        last = self.incidents[-1] if self.incidents else None
        if last and time - last.end < INCIDENT_GAP_SECONDS:
            last.end, last.events = time, last.events + 1
            if anomaly > last.anomaly:
                last.anomaly, last.value = anomaly, value
        elif prediction["alert"] and len(self.incidents) < INCIDENTS_MAX:
            self.incidents.append(Incident(self.name, time, time, anomaly, value))

    @property
    def relative_error(self) -> float | None:
        """Mean error relative to the last-value forecast; None while that has no error."""
        return self.error / self.naive_error if self.naive_error else None


class Results:
    """Results of all sensors.

    Attributes:
        sensors: by name.
        events: number of predictions.
    """

    def __init__(self) -> None:
        self.sensors: dict[str, SensorResults] = {}
        self.events = 0
        self._json = msgspec.json.Decoder()
        self._awaited = 0
        self._complete = asyncio.Event()

    def update(self, payload: bytes) -> None:
        """Add a prediction as published."""
        prediction = self._json.decode(payload)
        name = prediction["stream"].split("/")[1]
        sensor = self.sensors.get(name)
        if sensor is None:
            sensor = self.sensors[name] = SensorResults(name)
        sensor.update(prediction)
        self.events += 1
        if self.events >= self._awaited:
            self._complete.set()

    async def complete(self, events: int) -> None:
        """Wait until there are so many predictions."""
        self._awaited = events
        if self.events < events:
            self._complete.clear()
            await self._complete.wait()

    def incidents(self) -> Iterator[Incident]:
        """All incidents, by sensor."""
        for name in sorted(self.sensors):
            yield from self.sensors[name].incidents
