"""Silence counts only while the service runs and is connected, whatever the system clock is set to."""

from __future__ import annotations

import math

from stream_lstm.service.state.silence import SilenceClock

DAY = 86_400.0


class Clocks:
    """Clocks that a test moves."""

    def __init__(self, newest: float | None = None) -> None:
        self.wall, self.time, self.since = 1.7e9, 0.0, 1.7e9
        self.silence = SilenceClock(
            newest,
            wall_clock=lambda: self.wall,
            clock=lambda: self.time,
            connected_since=lambda: self.since,
        )

    def pass_seconds(self, seconds: float) -> None:
        self.wall, self.time = self.wall + seconds, self.time + seconds

    def limit(self) -> float:
        """How long ago the last event of a stream must be for it to be forgotten after a day."""
        return self.wall - self.silence.before(DAY)


def test_while_it_runs_and_is_connected_the_limit_is_that_of_the_settings() -> None:
    clocks = Clocks()
    for _ in range(5):
        clocks.pass_seconds(DAY)
        assert clocks.limit() == DAY


def test_a_stop_extends_the_limit_by_its_duration() -> None:
    clocks = Clocks(newest=1.7e9 - 2 * DAY)
    assert clocks.limit() == 3 * DAY
    clocks.pass_seconds(30.0)
    assert clocks.limit() == 3 * DAY


def test_time_without_a_connection_extends_it() -> None:
    clocks = Clocks()
    clocks.since = math.nan
    clocks.pass_seconds(100.0)
    assert clocks.limit() == DAY + 100.0
    clocks.pass_seconds(50.0)
    clocks.since = clocks.wall - 20.0
    assert clocks.limit() == DAY + 130.0


def test_a_clock_that_is_set_makes_nobody_silent() -> None:
    clocks = Clocks()
    clocks.wall += 2 * DAY
    assert clocks.limit() == 3 * DAY  # an event of before the jump is two days old by this clock
    clocks.wall -= 5 * DAY
    assert clocks.limit() == 3 * DAY
    clocks.pass_seconds(60.0)
    assert clocks.limit() == 3 * DAY


def test_a_newest_event_from_the_future_extends_nothing() -> None:
    assert Clocks(newest=1.7e9 + 500.0).limit() == DAY
