"""Accuracy: relative error and coverage of one stream."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stream_lstm.core.trackers import accuracy
from stream_lstm.core.trackers.accuracy import Accuracy, AccuracyState, relative_mae
from tests.core.records import blank


def updated(errors: list[float], steps: list[float], missed: list[bool]) -> tuple[Accuracy, Any]:
    """The means after these events, as they are returned and as the record has them."""
    state = blank(AccuracyState)
    for name in state.dtype.names:
        state[name] = 7.0  # of another stream: ignored at the first event
    for seq, (error, step, out) in enumerate(zip(errors, steps, missed, strict=True), 1):
        found = accuracy.update(state, error, step, out, seq, True)
    assert tuple(found) == (state["mae"], state["naive_mae"], state["coverage"])
    return found, state


def test_the_first_500_events_have_plain_means() -> None:
    errors, steps, missed = [math.nan, 1.0, 3.0, 2.0], [0.0, 2.0, 2.0, 8.0], [False, True, False, False]
    found, _ = updated(errors, steps, missed)
    assert found == pytest.approx((2.0, 4.0, 2 / 3))
    assert relative_mae(found) == pytest.approx(0.5)


def test_old_errors_are_forgotten() -> None:
    found, _ = updated([5.0] * 2_000 + [1.0] * 3_000, [2.0] * 5_000, [True] * 2_000 + [False] * 3_000)
    assert relative_mae(found) == pytest.approx(0.5, rel=0.02)
    assert found.coverage == pytest.approx(1.0, abs=0.01)


def test_without_movement_or_predictions_the_relative_error_is_unknown() -> None:
    first, _ = updated([math.nan], [0.0], [False])
    still, _ = updated([0.0] * 9, [0.0] * 9, [False] * 9)
    unseen, _ = updated([math.nan] * 9, [math.nan] * 9, [False] * 9)
    assert all(math.isnan(relative_mae(found)) for found in (first, still, unseen))
    assert unseen.coverage == 0.0


def test_the_relative_error_is_read_from_a_record_as_well() -> None:
    found, state = updated([math.nan, 1.0], [0.0, 4.0], [False, False])
    assert relative_mae(state) == relative_mae(found) == 0.25


def test_a_freeze_keeps_the_means_and_gives_those_with_the_event() -> None:
    _, state = updated([math.nan, 1.0, 3.0], [0.0, 2.0, 2.0], [False, True, False])
    before = state.tobytes()
    frozen = accuracy.update(state, 8.0, 5.0, True, 4, False)
    assert state.tobytes() == before
    assert frozen == accuracy.update(state, 8.0, 5.0, True, 4, True)
    assert frozen == pytest.approx((4.0, 3.0, 1 / 3))
