"""Baseline forecasts: what they learn, no look-ahead, and finite on flat and wild streams."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.backtest import baselines
from stream_lstm.train.generate import generate_stream


def test_no_forecast_changes_when_later_events_change() -> None:
    whole = generate_stream(np.random.default_rng(4), 300)
    for method in (baselines.seasonal_naive, baselines.least_squares):
        forecast = method(whole.times, whole.values)
        for cut in (2, 150, 299):
            values = whole.values.copy()
            values[cut:] = 1e5
            other = method(whole.times, values)
            assert np.array_equal(forecast[: cut + 1], other[: cut + 1], equal_nan=True)


def test_least_squares_learns_a_short_season() -> None:
    rng = np.random.default_rng(2)
    times = np.arange(2_000) * 300.0
    values = np.sin(np.arange(2_000) / 3.0) * 5 + rng.normal(0, 0.1, 2_000)
    errors = np.abs(values - baselines.least_squares(times, values))[200:]
    assert errors.mean() < 0.3 * np.abs(np.diff(values)).mean()


def test_seasonal_naive_repeats_the_day_and_before_that_the_last_value() -> None:
    times = np.arange(2_000) * 300.0
    daily = np.sin(times * 2 * np.pi / 86_400) * 50
    forecast = baselines.seasonal_naive(times, daily)
    assert np.abs(daily - forecast)[288:].max() < 1e-9
    assert np.array_equal(forecast[1:288], daily[:287])


@pytest.mark.parametrize("values", [np.full(60, 3.0), np.r_[np.zeros(30), 1e100, np.zeros(29)]])
def test_least_squares_stays_finite_on_flat_and_wild_streams(values: np.ndarray) -> None:
    forecast = baselines.least_squares(np.arange(60) * 60.0, values)
    assert np.isfinite(forecast[1:]).all()
