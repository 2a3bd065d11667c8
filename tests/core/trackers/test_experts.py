"""Experts: the better one has the weight, and the others cost little."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream_lstm.core.trackers import experts


def model_weights(model: list[float], step: list[float]) -> list[float]:
    """The model's weight after each event, from its errors and those of the last-value forecast."""
    advantage, out = np.zeros((1, 1)), []
    for seq, (error, move) in enumerate(zip(model, step, strict=True), 1):
        mean_step = np.array([[sum(step[:seq]) / seq]])
        advantage = experts.update(
            advantage, np.array([[error]]), np.array([[move]]), mean_step, np.array([seq])
        )
        model, seasonal = experts.weights(np.array([advantage, np.zeros((1, 1))]))
        assert model + seasonal < 1.0 or advantage[0, 0] > 50.0
        out.append(float(model[0, 0]))
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


def test_each_experts_error_is_that_of_its_own_step() -> None:
    known = experts.Experts(*(np.array([[step]]) for step in (2.0, -1.0, 0.0, 0.0)))
    values, last, one = np.array([[15.0]]), np.array([[10.0]]), np.ones((1, 1))
    found = experts.errors(known, values, last, 2.0 * one, 4.0 * one)
    assert found.tolist() == [[[0.25]], [[1.75]]]


def test_the_forecast_is_the_weighted_mean_of_the_experts_and_further_ahead_of_two_of_them() -> None:
    weight = np.array([[[0.5]], [[0.2]]])  # the last value has 0.3
    found = experts.combine(weight, np.array([[10.0]]), np.array([[[14.0], [18.0]]]), np.array([[-5.0]]))
    assert found[0, 0, 0] == pytest.approx(0.5 * 14.0 + 0.2 * 5.0 + 0.3 * 10.0)
    assert found[0, 1, 0] == pytest.approx((0.5 * 18.0 + 0.3 * 10.0) / 0.8)


def test_a_forecast_of_the_seasonal_expert_alone_is_finite() -> None:
    weight = np.array([[[0.0]], [[1.0]]])
    found = experts.combine(weight, np.array([[10.0]]), np.array([[[14.0], [18.0]]]), np.array([[-5.0]]))
    assert found[0, :, 0].tolist() == [5.0, 10.0]
