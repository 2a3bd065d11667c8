"""Freezing: filters, by the clock and by message."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from stream_lstm.core.codec.topics import Pattern
from stream_lstm.errors import PayloadError
from stream_lstm.service.pipeline.freeze import FILTERS_MAX, Freezer, TimeWindow

NIGHT = TimeWindow(time(22), time(6), ())
FRIDAY_NIGHT = TimeWindow(time(22), time(6), ("fri",))
NOON = TimeWindow(time(11, 30), time(12, 30), ("mon", "tue"))
WEEKEND = TimeWindow(None, None, ("sat", "sun"))
ALWAYS = TimeWindow(None, None, ())


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("window", "moment", "holds"),
    [
        (NIGHT, "2026-11-24T21:59", False),
        (NIGHT, "2026-11-24T22:00", True),
        (NIGHT, "2026-11-25T05:59", True),
        (NIGHT, "2026-11-25T06:00", False),
        (FRIDAY_NIGHT, "2026-11-27T23:00", True),  # a Friday
        (FRIDAY_NIGHT, "2026-11-28T05:00", True),
        (FRIDAY_NIGHT, "2026-11-28T23:00", False),
        (FRIDAY_NIGHT, "2026-11-27T05:00", False),
        (NOON, "2026-11-23T12:00", True),  # a Monday
        (NOON, "2026-11-25T12:00", False),
        (NOON, "2026-11-23T12:30", False),
        (WEEKEND, "2026-11-28T12:00", True),
        (WEEKEND, "2026-11-27T12:00", False),
        (ALWAYS, "2026-11-27T12:00", True),
    ],
)
def test_a_time_window_holds_at_set_hours(window: TimeWindow, moment: str, holds: bool) -> None:
    assert window.holds(at(moment)) is holds


def test_settings_and_the_last_message_add_up() -> None:
    freezer = Freezer([(Pattern("night/#"), NIGHT)], "freeze")
    keys = ["night/a:v", "plant/b:v", "plant/c/d"]
    freezer.refresh(at("2026-11-24T12:00"))
    assert freezer.frozen(keys) is None
    freezer.refresh(at("2026-11-24T23:00"))
    assert freezer.frozen(keys) == [True, False, False]
    freezer.apply_message(b'["plant/+", "other"]')
    freezer.refresh(at("2026-11-24T23:01"))
    assert (freezer.frozen(keys), freezer.active) == ([True, True, False], 3)
    freezer.apply_message(b'["plant/#"]')
    freezer.refresh(at("2026-11-25T12:00"))
    assert freezer.frozen(keys) == [False, True, True]
    freezer.apply_message(b"")
    freezer.refresh(at("2026-11-25T12:01"))
    assert (freezer.frozen(keys), freezer.active) == (None, 0)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"plant/#", "malformed"),
        (b"\xff", "malformed"),
        (b"[" * 5_000, "malformed"),
        (b'{"streams": []}', "wrong_type"),
        (b"[1]", "wrong_type"),
        (b'["a/#/b"]', "malformed"),
        (b'[""]', "malformed"),
        (b'["' + b'","'.join([b"a"] * (FILTERS_MAX + 1)) + b'"]', "too_large"),
    ],
)
def test_an_unreadable_message_changes_nothing(payload: bytes, reason: str) -> None:
    freezer = Freezer([], "freeze")
    freezer.apply_message(b'["a"]')
    with pytest.raises(PayloadError) as caught:
        freezer.apply_message(payload)
    assert caught.value.reason == reason
    freezer.refresh(0.0)
    assert freezer.frozen(["a", "b"]) == [True, False]
