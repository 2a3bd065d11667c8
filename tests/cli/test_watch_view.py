"""Frames of `watch`: the line on the service, the table of streams, and the limits of the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from stream_lstm.cli.terminal import formatting
from stream_lstm.cli.watch_view import Size, Snapshot, render
from stream_lstm.service.http.schemas import Counts, Latency, Line, Overview, Streams

NOW = 1_767_225_600.0
HOSTILE = [
    "\x1b[2J\x1b[H",
    "a\nb",
    "\u202eevil",
    "z\u200bero",
    "温度" * 20,
    "🚀" * 20,
    "e\u0301" * 40,
    "\x9b31m",
]


def line(name: str = "pump", **changes: Any) -> Line:
    base: dict[str, Any] = {
        "events": 500,
        "time": NOW - 13.0,
        "seen": NOW - 12.0,
        "value": 21.5,
        "prediction": 21.75,
        "interval": (20.5, 23.0),
        "anomaly": 0.5,
        "odd": 0.75,
        "error_ratio": 0.812,
        "covered": 0.9,
        "warm": True,
        "stale": False,
    }
    return Line(name=name, **(base | changes))


def overview(**changes: Any) -> Overview:
    base: dict[str, Any] = {
        "version": "1.0.0",
        "model": "default:0",
        "now": NOW,
        "started": NOW - 100.0,
        "ready": True,
        "obstacles": [],
        "connected": True,
        "broker": "mqtt://broker",
        "over_seconds": 5.0,
        "events_per_second": 1_234.4,
        "predictions_per_second": 1_234.4,
        "rejected_per_second": 0.0,
        "latency": Latency(0.0019, 0.005),
        "streams": Counts(known=1_200, memory=1_000, disk=200, active=9, stale=2, odd=1, frozen_filters=0),
        "events": 1,
        "predictions": 1,
        "alerts": 0,
        "rejected": {"json": 2, "type": 1},
        "redelivered": 0,
        "late": 0,
        "backlog_seconds": None,
        "inbox_messages": 0,
        "unacknowledged": 0,
        "reading_paused": False,
        "error_ratio": None,
        "covered": None,
        "interval": 0.9,
        "alert_from": 0.45,
        "checkpoint_age_seconds": 0.0,
        "state_bytes": 0,
        "viewers": 0,
    }
    return Overview(**(base | changes))


def snapshot(*lines: Line, disk: int = 0, total: int | None = None, **changes: Any) -> Snapshot:
    total = len(lines) if total is None else total
    return Snapshot(overview(**changes), Streams(total, total, disk, 0, list(lines)), 100.0)


def drawn(found: Snapshot | None, size: Size = Size(), **options: Any) -> list[str]:  # noqa: B008 - it is immutable
    return render(found, size, **({"colour": False, "now": 100.0} | options))


def test_the_first_line_is_health_and_load() -> None:
    assert drawn(snapshot())[0] == (
        "ready · 1,234 events/s · latency p50 1.9 ms · 1,200 streams · 1 anomalous · 2 stale · 3 rejected"
    )
    idle = drawn(snapshot(latency=Latency(None, None)))[0]
    assert "latency" not in idle


def test_problems_come_first() -> None:
    found = snapshot(line(), ready=False, obstacles=["not connected to the broker", "the disk is\x1b full"])
    assert drawn(found)[0].startswith(
        "not ready: not connected to the broker; the disk is\\x1b full · 1,234 events/s"
    )
    assert drawn(found, Size(40, 10))[0] == "not ready: not connected to the broker;…"
    assert drawn(None) == ["connecting …"]
    assert drawn(None, problem="http://x does not answer") == ["unreachable: http://x does not answer"]
    unreachable = drawn(found, problem="gone", now=112.0)
    assert unreachable[0] == "unreachable: gone; last answer 12 s ago"
    assert unreachable[2].startswith("pump")  # the last table stays


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "21.5       21.75 ± 1.25  0.75 ████▌    0.81    12 s ago"),
        ({"interval": None, "prediction": None}, "21.5                  –  0.75"),
        ({"interval": None}, "21.75  0.75"),
        ({"error_ratio": None}, "████▌       –    12 s ago"),
        ({"seen": 0.0}, "0.81           –"),
        ({"seen": NOW + 3.0}, "now"),
        ({"stale": True}, "12 s ago  stale"),
        ({"warm": False}, "12 s ago  cold"),
        ({"warm": False, "stale": True}, "12 s ago  stale cold"),
        ({"value": {"t": 21.5, "load": None}}, "t 21.5, load –  "),
        ({"value": {"a": 1.0, "b": 2.0, "c": 3.0}}, "a 1, b 2, +1  "),
        (
            {
                "prediction": {"a": 1.0, "b": None, "c": 3.0},
                "interval": {"a": (0.0, 2.0), "b": None, "c": (0.0, 6.0)},
            },
            "a 1 ± 1, b –, +1  ",
        ),
        ({"prediction": {"a": 1.0}, "interval": None}, "a 1  "),
        ({"value": {"\x1b[0m": 1.0}}, "\\x1b[0m 1"),
    ],
)
def test_a_stream_is_a_row(changes: dict[str, Any], words: str) -> None:
    assert words in drawn(snapshot(line(**changes)))[2]


def test_colours_mark_anomalous_and_stale_streams() -> None:
    found = snapshot(line("high"), line("stale", odd=0.1, stale=True), line("plain", odd=0.1))
    lines = drawn(found, colour=True)
    assert "\x1b[31m\x1b[1mhigh" in lines[2]
    assert lines[3].startswith("stale")
    assert "\x1b[33mstale\x1b[0m" in lines[3]
    assert "\x1b" not in lines[4]
    assert all(text.startswith("\x1b[2m") for text in drawn(found, colour=True, problem="gone")[2:5])


def test_the_last_line_counts_the_streams() -> None:
    assert drawn(snapshot(line(), total=1_200))[-1].startswith("1 of 1,200 streams; error: relative to")
    assert drawn(snapshot(disk=7), foot="q quits")[-1] == "0 of 0 streams (7 on disk, not listed); q quits"


@pytest.mark.parametrize("columns", [1, 7, 20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("lines", [1, 2, 3, 6, 50])
def test_a_frame_fits_the_terminal_with_hostile_names(columns: int, lines: int) -> None:
    found = snapshot(*[line(name, value={name: 1.0}) for name in HOSTILE])
    for problem in ("", "\x1b[2J"):
        made = drawn(found, Size(columns, lines), problem=problem)
        assert len(made) <= lines
        for text in made:
            shown = text.replace(formatting.LEFT_TO_RIGHT_MARK, "")
            assert formatting.width(shown) <= columns
            assert shown.isprintable()
    assert len(drawn(found, Size(80, 50))) == len(HOSTILE) + 3


def test_columns_keep_their_place_from_one_frame_to_the_next() -> None:
    heads = {
        drawn(snapshot(line(value=value, prediction=value, seen=NOW - age)), Size(100, 10))[1]
        for value, age in ((1.0, 0.0), (123.456, 12.0), (99_999.5, 3_000.0))
    }
    assert len(heads) == 1
