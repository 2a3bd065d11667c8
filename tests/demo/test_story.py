"""What the demo tells: errors beside persistence's, incidents, and a summary that a person can read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stream_lstm.demo import picture
from stream_lstm.demo.story import Story


def said(**changes: Any) -> bytes:
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


def story() -> Story:
    told = Story()
    told.hear(said())
    told.hear(said(value=12.0, expected=11.0, interval=[11.0, 13.0], time=300.0))
    odd = {"anomaly": 0.95, "alert": True, "kind": "surprise"}
    told.hear(said(value=20.0, expected=12.0, interval=[11.0, 13.0], time=600.0, **odd))
    told.hear(said(value=21.0, expected=12.0, time=900.0, anomaly=1.0, kind="record"))
    return told


async def test_errors_stand_beside_those_of_same_as_last_time() -> None:
    sensor = story().sensors["pump"]
    assert sensor.ratio == pytest.approx((1 + 8 + 9) / (2 + 8 + 1))
    assert (sensor.judged, sensor.covered) == (3, 1)


async def test_oddities_close_together_are_one_incident() -> None:
    told = story()
    told.hear(said(value=30.0, expected=12.0, time=1e6, anomaly=0.92, alert=True, kind="record"))
    first, second = told.incidents()
    assert (first.events, first.anomaly, first.value) == (2, 1.0, 21.0)
    assert second.events == 1


async def test_completion_is_awaited() -> None:
    told = story()
    await told.complete(4)
    waiting = asyncio.ensure_future(told.complete(5))
    await asyncio.sleep(0)
    assert not waiting.done()
    told.hear(said())
    await waiting


async def test_the_summary_names_events_error_and_what_was_odd() -> None:
    text = "\n".join(picture.summary(story(), 2.0))
    assert "4 events in 2 s (2/s)" in text
    assert "1.64" in text
    assert "1970-01-01 00:10  value 21, anomaly 1.00, 2 events" in text


async def test_nothing_heard_and_nothing_odd_are_said_so() -> None:
    assert "no prediction came back" in picture.summary(Story(), 1.0)[0]
    calm = Story()
    calm.hear(said())
    assert "nothing was odd" in "\n".join(picture.summary(calm, 1.0))


async def test_lines_and_table_show_the_same_story(capsys: pytest.CaptureFixture[str]) -> None:
    lines = picture.screen(plain=True)
    lines.show(Story(), 1.0)
    lines.show(story(), 1.0)
    lines.end(story(), 1.0)
    assert "oddest now: pump (1.00)" in capsys.readouterr().out
    table = picture.Table()
    table.say("broker: x")
    table.show(story(), 1.0)
    table.end(story(), 1.0)
    assert "median 1.64" in capsys.readouterr().out
