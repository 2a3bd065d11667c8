"""Figures of predictions, held against arithmetic event by event; and no look ahead."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.backtest import baselines
from stream_lstm.backtest.figures import FIRST_EVENTS, Figures, evaluate, follow, judge, median_ratio
from stream_lstm.backtest.files import Series
from stream_lstm.events import Batch
from stream_lstm.service.assembly import load_model
from stream_lstm.train.generate import stream
from tests.core.models import engine, random_model

MODEL = load_model(None)


def generated(seed: int, size: int) -> Series:
    return Series(str(seed), *stream(np.random.default_rng(seed), size))


def test_a_stream_is_followed_as_the_engine_alone_follows_it() -> None:
    streams = [generated(1, 120), generated(2, 80)]
    for one, course in zip(streams, follow(MODEL, streams), strict=True):
        alone = engine(MODEL, 1)
        for n, (time, value) in enumerate(zip(one.times, one.values, strict=True)):
            said = alone.apply(Batch.timed(np.array([1]), np.array([time]), np.array([[value]])))
            assert np.array_equal(course.expected[n], said.expected[0, 0], equal_nan=True)
            assert course.anomaly[n] == said.anomaly[0]
            assert course.alert[n] == said.alert[0]
            if n + 1 < len(one.values):
                low = said.prediction[0, 0] - said.half_width[0, 0, 0]
                assert np.array_equal(course.low[n + 1], low, equal_nan=True)


def test_no_output_changes_when_later_events_change() -> None:
    whole = generated(3, 400)
    (course,) = follow(MODEL, [whole])
    for cut in (1, 2, 50, 399):
        changed = Series("x", whole.times.copy(), whole.values.copy())
        changed.values[cut:] = 1e6 * np.random.default_rng(cut).normal(size=400 - cut)
        changed.times[cut + 1 :] += 3_600.0
        (other,) = follow(MODEL, [changed])
        for column, name in zip(course, course._fields, strict=True):
            upto = cut + 1 if name in ("expected", "low", "high") else cut  # said before the event came
            assert column[:upto].tobytes() == other[course._fields.index(name)][:upto].tobytes(), name


def test_nor_do_the_baselines_look_ahead() -> None:
    whole = generated(4, 300)
    for method in (baselines.seasonal, baselines.least_squares):
        said = method(whole.times, whole.values)
        for cut in (2, 150, 299):
            values = whole.values.copy()
            values[cut:] = 1e5
            assert np.array_equal(said[: cut + 1], method(whole.times, values)[: cut + 1], equal_nan=True)


def test_figures_are_those_of_plain_arithmetic() -> None:
    one = generated(5, 600)
    (course,) = follow(MODEL, [one])
    of = judge(one, course)
    moves = np.abs(np.diff(one.values))
    assert of.persistence == pytest.approx(moves.mean())
    assert of.error == pytest.approx(np.abs(one.values - course.expected)[1:].mean())
    first = np.abs(one.values - course.expected)[1 : FIRST_EVENTS + 1].sum() / moves[:FIRST_EVENTS].sum()
    assert of.first == pytest.approx(first)
    bounded = range(2, 600)
    inside = [course.low[n] <= one.values[n] <= course.high[n] for n in bounded]
    assert of.covered == pytest.approx(np.mean(inside))
    assert of.alerts == course.alert.sum()
    assert of.anomalies >= of.alerts
    assert of.ratio == pytest.approx(of.error / of.persistence)


def test_a_flat_stream_has_no_ratio_to_speak_of() -> None:
    flat = Series("flat", np.arange(50) * 60.0, np.full(50, 3.0))
    moving = [generated(seed, 90) for seed in (6, 7)]
    figures = evaluate(MODEL, [*moving, flat])
    assert figures[2].persistence == 0.0
    assert figures[2].ratio == 1.0
    assert median_ratio(figures) == pytest.approx(np.median([figures[0].ratio, figures[1].ratio]))
    assert np.isnan(median_ratio(figures[2:]))
    assert Figures(5, 0.1, 0.0, 0.0, 0.0, 1.0, 1.0, 0, 0, 0.0).ratio == float("inf")


def test_the_shipped_model_beats_persistence_on_a_daily_season() -> None:
    times = 1.7e9 + np.arange(3_000) * 300.0
    values = np.sin(times * 2 * np.pi / 86_400) * 10 + np.random.default_rng(1).normal(0, 1, 3_000)
    (of,) = evaluate(MODEL, [Series("daily", times, values)])
    assert of.ratio < 0.85
    assert 0.87 < of.covered < 0.93


def test_a_model_that_understands_nothing_costs_little() -> None:
    one = generated(8, 2_000)
    (of,) = evaluate(random_model(), [one])
    assert of.ratio < 1.02


def test_least_squares_learn_what_repeats_and_the_season_repeats_the_day() -> None:
    rng = np.random.default_rng(2)
    times = np.arange(2_000) * 300.0
    values = np.sin(np.arange(2_000) / 3.0) * 5 + rng.normal(0, 0.1, 2_000)
    squares = np.abs(values - baselines.least_squares(times, values))[200:]
    assert squares.mean() < 0.3 * np.abs(np.diff(values)).mean()
    daily = np.sin(times * 2 * np.pi / 86_400) * 50
    assert np.abs(daily - baselines.seasonal(times, daily))[288:].max() < 1e-9
    assert np.array_equal(baselines.seasonal(times, daily)[1:288], daily[:287])


@pytest.mark.parametrize("values", [np.full(60, 3.0), np.r_[np.zeros(30), 1e100, np.zeros(29)]])
def test_baselines_survive_flat_and_wild_streams(values: np.ndarray) -> None:
    said = baselines.least_squares(np.arange(60) * 60.0, values)
    assert np.isfinite(said[1:]).all()
