"""Results of the demo: relative error, coverage, incidents, and waiting for all predictions."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stream_lstm.demo.results import INCIDENT_GAP_SECONDS, Results


def prediction(**changes: Any) -> bytes:
    base = {
        "stream": "sensors/pump/telemetry:value",
        "seq": 1,
        "time": 0.0,
        "value": 10.0,
        "expected": None,
        "prediction": 10.0,
        "interval": None,
        "anomaly": 0.0,
        "alert": False,
        "kind": None,
    }
    return json.dumps(base | changes).encode()


def pump() -> Results:
    """One sensor of four events, the last two of them an incident."""
    results = Results()
    results.update(prediction())
    results.update(prediction(value=12.0, expected=11.0, interval=[11.0, 13.0], time=300.0))
    anomalous = {"anomaly": 0.95, "alert": True, "kind": "surprise"}
    results.update(prediction(value=20.0, expected=12.0, interval=[11.0, 13.0], time=600.0, **anomalous))
    results.update(prediction(value=21.0, expected=12.0, time=900.0, anomaly=1.0, kind="record"))
    return results


async def test_the_error_is_relative_to_the_last_value_forecast() -> None:
    sensor = pump().sensors["pump"]
    assert sensor.relative_error == pytest.approx((1 + 8 + 9) / (2 + 8 + 1))
    assert (sensor.evaluated, sensor.covered) == (3, 1)


async def test_anomalies_close_to_each_other_are_one_incident() -> None:
    results = pump()
    later = 900.0 + INCIDENT_GAP_SECONDS
    results.update(prediction(value=30.0, expected=12.0, time=later, anomaly=0.92, alert=True, kind="record"))
    first, second = results.incidents()
    assert (first.events, first.anomaly, first.value) == (2, 1.0, 21.0)
    assert second.events == 1


async def test_completion_waits_for_all_predictions() -> None:
    results = pump()
    await results.complete(4)
    waiting = asyncio.ensure_future(results.complete(5))
    await asyncio.sleep(0)
    assert not waiting.done()
    results.update(prediction())
    await waiting
