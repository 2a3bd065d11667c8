"""Hourly errors: the usual error at each hour of the day."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from stream_lstm.core.trackers.hourly_errors import ERRORS, HOUR_SECONDS, HOURS, HourlyErrors, update


def usual_errors(errors: list[float], *, frozen_from: int = 10**9) -> list[float]:
    """The usual error at each of these hours, one event each."""
    stored, out = np.full((1, 1, HOURS), 200, np.uint8), []  # of another stream: ignored at the first event
    hour_error = np.zeros((1, 1))
    for n, error in enumerate(errors):
        hours = HourlyErrors(stored, np.array([0]), np.array([n >= frozen_from]))
        time = np.array([1.7e9 + n * HOUR_SECONDS])
        hour_error, usual = update(hour_error, hours, time, time - HOUR_SECONDS, np.array([n + 1]))
        hour_error = np.maximum(hour_error, error)
        out.append(float(usual[0, 0]))
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
    assert ERRORS[0] == 0.0
    assert (1.0 + ERRORS[16:] == pytest.approx(2.0 * (1.0 + ERRORS[:-16]))) is True
