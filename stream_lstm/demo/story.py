"""What the demo has seen: per sensor the latest prediction, errors beside persistence's, and what was odd."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

INCIDENT_SECONDS = 6 * 3600.0  # in the recording's time: oddities closer than this are one incident
INCIDENTS_MAX = 10_000


@dataclass
class Incident:
    """Odd events close to each other."""

    sensor: str
    start: float  # epoch seconds, of the recording
    end: float
    anomaly: float
    value: float
    events: int = 1


@dataclass
class Sensor:
    """One stream as the demo sees it."""

    name: str
    said: dict[str, Any] = field(default_factory=dict)  # the latest prediction
    events: int = 0
    error: float = 0.0  # sums of absolute errors
    persistence: float = 0.0
    covered: int = 0
    judged: int = 0
    incidents: list[Incident] = field(default_factory=list)

    def hear(self, said: dict[str, Any]) -> None:
        """Take in one prediction."""
        before, self.said = self.said, said
        self.events += 1
        if said["expected"] is None or not before:
            return
        value = said["value"]
        self.judged += 1
        self.error += abs(value - said["expected"])
        self.persistence += abs(value - before["value"])
        low, high = before["interval"] or (value, value)
        self.covered += low <= value <= high
        if said["kind"]:
            self._odd(said)

    def _odd(self, said: dict[str, Any]) -> None:
        time, anomaly, value = said["time"], said["anomaly"], said["value"]
        last = self.incidents[-1] if self.incidents else None
        if last and time - last.end < INCIDENT_SECONDS:
            last.end, last.events = time, last.events + 1
            if anomaly > last.anomaly:
                last.anomaly, last.value = anomaly, value
        elif said["alert"] and len(self.incidents) < INCIDENTS_MAX:
            self.incidents.append(Incident(self.name, time, time, anomaly, value))

    @property
    def ratio(self) -> float | None:
        """Mean error by that of "same as last time"; None while it cannot be said."""
        return self.error / self.persistence if self.persistence else None


class Story:
    """All sensors of the demo."""

    def __init__(self) -> None:
        self.sensors: dict[str, Sensor] = {}
        self.events = 0  # predictions heard
        self._json = msgspec.json.Decoder()
        self._awaited = 0
        self._complete = asyncio.Event()

    def hear(self, payload: bytes) -> None:
        """Take in a prediction as published."""
        said = self._json.decode(payload)
        name = said["stream"].split("/")[1]
        sensor = self.sensors.get(name)
        if sensor is None:
            sensor = self.sensors[name] = Sensor(name)
        sensor.hear(said)
        self.events += 1
        if self.events >= self._awaited:
            self._complete.set()

    async def complete(self, events: int) -> None:
        """Wait until so many predictions were heard."""
        self._awaited = events
        if self.events < events:
            self._complete.clear()
            await self._complete.wait()

    def incidents(self) -> Iterator[Incident]:
        """All incidents, sensor by sensor."""
        for name in sorted(self.sensors):
            yield from self.sensors[name].incidents
