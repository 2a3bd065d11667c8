"""Admission: late events and streams without space are rejected, the others get a row."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.service.harness import reading, running_pipeline
from tests.service.scripted import SentMessage


async def test_late_and_repeated_events_are_rejected_where_the_settings_say_so(tmp_path: Path) -> None:
    settings = {"time": {"late_seconds_max": 30.0, "repeated": "reject"}}
    async with running_pipeline(tmp_path / "s.db", **settings) as running:
        running.link.feed(
            reading("a", 1.0, 100), reading("b", 2.0, 5), reading("a", 3.0, 100), reading("a", 4.0, 60)
        )
        running.link.feed(
            reading("a", 5.0, 80), reading("c", 6.0, 0), reading("a", 7.0, 101), reading("a", 8.0, 50)
        )
        await running.link.until_delivered(2)
        assert [p["value"] for p in running.predictions()] == [1.0, 2.0, 5.0, 6.0, 7.0]
        rejected = [json.loads(b) for t, b in running.link.publications if t == "stream_lstm/rejected"]
        assert [r["reason"] for r in rejected] == ["repeated", "late", "late"]
        assert [json.loads(base64.b64decode(r["payload_base64"]))["v"] for r in rejected] == [3.0, 4.0, 8.0]
        assert running.counters.late_total == 1
        assert running.counters.events_total == 8


async def test_rejections_name_the_right_messages_where_new_streams_and_late_events_meet(
    tmp_path: Path,
) -> None:
    settings = {"time": {"late_seconds_max": 0.0}, "limits": {"new_streams_per_second": 0.05}}
    async with running_pipeline(tmp_path / "s.db", **settings) as running:
        two = SentMessage("s/b", b'{"v": 10, "w": 20, "t": 1700000000}')
        running.link.feed(
            reading("a", 1.0, 9), reading("a", 2.0, 10), two, reading("c", 3.0, 0), reading("a", 4.0, 5)
        )
        await running.link.until_delivered(1)
        rejected = [json.loads(b) for t, b in running.link.publications if t == "stream_lstm/rejected"]
        found = [(r["reason"], r["topic"]) for r in rejected]
        assert found[-1] == ("late", "s/a")
        assert ("new_streams", "s/c") in found
        assert ("late", "s/c") not in found
