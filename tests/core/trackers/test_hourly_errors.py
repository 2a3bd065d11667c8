"""Hourly errors: the usual error at each hour of the day."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from stream_lstm.core.trackers import hourly_errors
from stream_lstm.core.trackers.event_time import TimedEvent
from stream_lstm.core.trackers.hourly_errors import HOUR_SECONDS, HourlyErrorsState
from tests.core.records import blank


def usual_errors(errors: list[float], *, frozen_from: int = 10**9) -> list[float]:
    """The usual error at each of these hours, one event each."""
    state, out = blank(HourlyErrorsState), []
    state["hours"], state["hour_error"] = 200, 50.0  # of another stream: ignored at the first event
    for n, error in enumerate(errors):
        time, learning = 1.7e9 + n * HOUR_SECONDS, n < frozen_from
        timed = TimedEvent(time, time - HOUR_SECONDS, 2.0, 2.0, False)
        out.append(float(hourly_errors.update(state, timed, n + 1, learning)))
        if learning:
            hourly_errors.learn(state, error)
    return out


def test_an_error_is_usual_at_its_hour_and_the_neighbouring_ones_a_day_later() -> None:
    errors = [0.0] * 48
    errors[6] = 12.0
    usual = usual_errors(errors)
    assert not any(usual[:6])
    assert [n for n, error in enumerate(usual) if error and n >= 24] == [24 + 5, 24 + 6, 24 + 7]
    assert usual[24 + 6] == pytest.approx(12.0, rel=0.05)
    assert usual[24 + 6] >= 12.0


def test_an_old_error_is_forgotten_in_the_end() -> None:
    errors = [0.0] * (24 * 60)
    errors[6] = 12.0
    usual = usual_errors(errors)[6::24]
    assert all(later < earlier for earlier, later in pairwise(usual[1:9]))
    assert usual[-1] == 0.0


def test_a_frozen_stream_keeps_its_usual_errors() -> None:
    errors = [0.0] * 48
    errors[6] = errors[30] = 12.0
    errors[10] = 3.0
    frozen, learning = usual_errors(errors, frozen_from=11), usual_errors(errors)
    assert frozen[24 + 6] == learning[24 + 6]
    assert frozen[24 + 10] == 0.0 < learning[24 + 10]


def test_a_byte_has_sixteen_steps_for_each_doubling() -> None:
    errors = [hourly_errors._error(steps) for steps in range(256)]
    assert errors[0] == 0.0
    doubled = [2.0 * (1.0 + error) for error in errors[:-16]]
    assert [1.0 + error for error in errors[16:]] == pytest.approx(doubled)
    assert errors[255] > hourly_errors.ERROR_MAX
    assert math.log(2.0) == hourly_errors.LN2
