"""Running scale: mean and deviation from the first event on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.trackers import scale
from stream_lstm.core.trackers.scale import WINDOW_EVENTS, ScaleState
from tests.core.records import blank


def scales(values: list[float]) -> list[tuple[float, float, float]]:
    """Mean, deviation and scaled value after each event."""
    state, out = blank(ScaleState), []
    for n, value in enumerate(values, 1):
        scale.update(state, value, n, True)
        mean, deviation = float(state["mean"]), float(scale.deviation(state))
        out.append((mean, deviation, (value - mean) / deviation))
    return out


def test_the_first_500_events_have_their_plain_mean_and_deviation() -> None:
    values = np.random.default_rng(0).normal(5, 2, int(WINDOW_EVENTS)).tolist()
    mean, deviation, _ = scales(values)[-1]
    assert mean == pytest.approx(np.mean(values))
    assert deviation == pytest.approx(np.std(values))


@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=80))
def test_a_scaled_value_is_bounded_from_the_first_event_on(values: list[float]) -> None:
    for n, (_, deviation, scaled) in enumerate(scales(values), 1):
        assert deviation > 0
        assert abs(scaled) <= n**0.5 * 1.01


def test_a_constant_stream_is_scaled_to_zero_and_its_first_step_is_large() -> None:
    out = scales([21.5] * 600 + [22.0])
    assert out[599][2] == 0.0
    assert 20 < out[600][2] < 23


def test_a_large_offset_does_not_hide_a_small_deviation() -> None:
    values = (1e9 + np.random.default_rng(1).normal(0, 1e-3, 2_000)).tolist()
    assert scales(values)[-1][1] == pytest.approx(1e-3, rel=0.1)


def test_a_scale_follows_its_sensor() -> None:
    rng = np.random.default_rng(2)
    mean, deviation, _ = scales([*rng.normal(0, 1, 1_000).tolist(), *rng.normal(100, 5, 4_000).tolist()])[-1]
    assert mean == pytest.approx(100, abs=1.5)
    assert deviation == pytest.approx(5, rel=0.15)


def test_a_freeze_keeps_the_scale() -> None:
    state = blank(ScaleState)
    scale.update(state, 3.0, 1, True)
    before = state.tobytes()
    scale.update(state, 9.0, 2, False)
    assert state.tobytes() == before
    scale.update(state, 9.0, 2, True)
    assert (state["mean"], state["variance"]) == (6.0, 9.0)
