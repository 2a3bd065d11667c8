"""Experts: the better one has the weight, and the others cost little."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stream_lstm.core import engine
from stream_lstm.core.engine import Event
from stream_lstm.core.predictions import prediction_type
from stream_lstm.core.state import room, spec_record, state_type
from stream_lstm.core.trackers import experts
from stream_lstm.core.trackers.event_time import TimedEvent
from stream_lstm.core.trackers.experts import ExpertsState
from stream_lstm.core.trackers.seasonal import SLOT_SECONDS, STEPS_PER_UNIT
from tests.core.models import description
from tests.core.records import blank, given


def model_weights(model: list[float], step: list[float]) -> list[float]:
    """The model's weight after each event, from its errors and those of the last-value forecast."""
    state, out = blank(ExpertsState), []
    state["model_advantage"] = state["seasonal_advantage"] = 7.0  # of another stream: ignored at first
    for seq, (error, move) in enumerate(zip(model, step, strict=True), 1):
        state["model_step"] = move - error
        found = experts.update(state, move, 1.0, 1.0, sum(step[:seq]) / seq, seq, True)
        assert found.model + found.seasonal < 1.0
        out.append(found.model)
    return out


def test_before_the_first_prediction_the_model_has_half_the_weight() -> None:
    assert model_weights([math.nan], [0.0]) == [0.5]


@pytest.mark.parametrize(("model", "expected"), [(0.5, 1.0), (1.5, 0.0), (1.0, 0.5)])
def test_the_expert_with_the_smaller_error_has_the_weight(model: float, expected: float) -> None:
    step = np.random.default_rng(0).exponential(1.0, 300)
    assert model_weights((model * step).tolist(), step.tolist())[-1] == pytest.approx(expected, abs=0.01)


def test_the_weight_follows_a_change_within_some_hundred_events() -> None:
    step = [1.0] * 3_000
    found = model_weights([0.5] * 1_500 + [1.5] * 1_500, step)
    assert found[1_499] > 0.99
    assert found[2_300] < 0.01


def test_a_constant_stream_and_extreme_numbers_give_finite_weights() -> None:
    assert model_weights([0.0] * 50, [0.0] * 50)[-1] == 0.5
    assert model_weights([1e130, 1e130, 0.0], [0.0, 0.0, 1e130])[-1] <= 1.0
    assert all(map(math.isfinite, model_weights([math.nan, 1.0, 2.0], [0.0, 1.0, 0.0])))


def known(model_step: float, seasonal_step: float) -> Any:
    """The state of a stream whose experts predicted these steps, and had no advantage before."""
    state = blank(ExpertsState)
    state["model_step"], state["seasonal_step"] = model_step, seasonal_step
    return state


def test_each_experts_error_is_that_of_its_own_step() -> None:
    state = known(2.0, -1.0)
    experts.update(state, 5.0, 2.0, 4.0, 1.0, 2, True)
    last_value = 5.0 / 4.0  # the error of its forecast
    assert last_value - state["model_advantage"] == 0.25
    assert last_value - state["seasonal_advantage"] == 1.75


def test_a_freeze_keeps_the_advantages_and_gives_the_weights_with_the_event() -> None:
    state = known(1.0, 0.5)
    before = state.tobytes()
    frozen = experts.update(state, 1.0, 1.0, 1.0, 1.0, 2, False)
    assert state.tobytes() == before
    assert frozen == experts.update(state, 1.0, 1.0, 1.0, 1.0, 2, True)
    assert frozen.model > 0.5
    assert state["model_advantage"] == 1.0
    assert state["seasonal_advantage"] == 0.5


def forecast(model: float, seasonal: float) -> list[float]:
    """The forecast after the value 10, with these weights of the model and the seasonal expert.

    The model expects 14 and 18, the seasonal expert a step of -5.
    """
    spec = description(horizon=[1, 4])
    states, space, out = np.zeros(1, state_type(spec)), room(spec), np.zeros(1, prediction_type(spec))
    states["scale"]["variance"] = 1.0
    day = states["targets"]["seasonal"]
    day["unit"], day["slots"][..., :2] = 1.0, (5 * STEPS_PER_UNIT + 1, 1)
    space["outputs"], space["seasonal_weight"] = [4.0, 0.0, 8.0, 0.0], seasonal
    out["trust"] = model
    event = Event(9, TimedEvent(100.0, 100.0, math.log10(SLOT_SECONDS), 2.0, False), False, True)
    engine._predict_step(*(given(states), 0, 10.0, given(spec_record(spec)), given(space), event, given(out)))
    return [float(number) for number in out["forecast"][0, :, 0]]


def test_the_forecast_is_the_weighted_mean_of_the_experts_and_further_ahead_of_two_of_them() -> None:
    found = forecast(0.5, 0.2)  # the last value has 0.3
    assert found[0] == pytest.approx(0.5 * 14.0 + 0.2 * 5.0 + 0.3 * 10.0)
    assert found[1] == pytest.approx((0.5 * 18.0 + 0.3 * 10.0) / 0.8)


def test_a_forecast_of_the_seasonal_expert_alone_is_finite() -> None:
    assert forecast(0.0, 1.0) == [5.0, 10.0]
