"""Evaluation of recorded streams: the same as the engine and plain arithmetic, without look-ahead."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.backtest.evaluation import (
    FIRST_EVENTS,
    Evaluation,
    evaluate,
    evaluate_stream,
    median_relative_mae,
    run_streams,
)
from stream_lstm.backtest.files import Series
from stream_lstm.events import Batch
from stream_lstm.service.assembly import load_model
from stream_lstm.train.generate import generate_stream
from tests.core.models import engine, random_model

MODEL = load_model(None)


def generated(seed: int, size: int) -> Series:
    return Series(str(seed), *generate_stream(np.random.default_rng(seed), size))


def test_streams_side_by_side_give_what_the_engine_gives_for_each_alone() -> None:
    streams = [generated(1, 120), generated(2, 80)]
    for one, run in zip(streams, run_streams(MODEL, streams), strict=True):
        alone = engine(MODEL, 1)
        for n, (time, value) in enumerate(zip(one.times, one.values, strict=True)):
            predictions = alone.apply(Batch.timed(np.array([1]), np.array([time]), np.array([[value]])))
            assert np.array_equal(run.expected[n], predictions.expected[0, 0], equal_nan=True)
            assert run.anomaly[n] == predictions.anomaly[0]
            assert run.alert[n] == predictions.alert[0]
            if n + 1 < len(one.values):
                low = predictions.prediction[0, 0] - predictions.half_width[0, 0, 0]
                assert np.array_equal(run.low[n + 1], low, equal_nan=True)


def test_no_output_changes_when_later_events_change() -> None:
    whole = generated(3, 400)
    (run,) = run_streams(MODEL, [whole])
    for cut in (1, 2, 50, 399):
        changed = Series("x", whole.times.copy(), whole.values.copy())
        changed.values[cut:] = 1e6 * np.random.default_rng(cut).normal(size=400 - cut)
        changed.times[cut + 1 :] += 3_600.0
        (other,) = run_streams(MODEL, [changed])
        for column, name in zip(run, run._fields, strict=True):
            upto = cut + 1 if name in ("expected", "low", "high") else cut  # known before the event arrives
            assert column[:upto].tobytes() == other[run._fields.index(name)][:upto].tobytes(), name


def test_error_coverage_and_alerts_agree_with_plain_arithmetic() -> None:
    one = generated(5, 600)
    (run,) = run_streams(MODEL, [one])
    of = evaluate_stream(one, run)
    moves = np.abs(np.diff(one.values))
    assert of.last_value_mae == pytest.approx(moves.mean())
    assert of.mae == pytest.approx(np.abs(one.values - run.expected)[1:].mean())
    first = np.abs(one.values - run.expected)[1 : FIRST_EVENTS + 1].sum() / moves[:FIRST_EVENTS].sum()
    assert of.first_relative_mae == pytest.approx(first)
    bounded = range(2, 600)
    inside = [run.low[n] <= one.values[n] <= run.high[n] for n in bounded]
    assert of.coverage == pytest.approx(np.mean(inside))
    assert of.alerts == run.alert.sum()
    assert of.anomalies >= of.alerts
    assert of.relative_mae == pytest.approx(of.mae / of.last_value_mae)


def test_a_flat_stream_has_a_relative_error_of_one_and_no_part_in_the_median() -> None:
    flat = Series("flat", np.arange(50) * 60.0, np.full(50, 3.0))
    moving = [generated(seed, 90) for seed in (6, 7)]
    evaluations = evaluate(MODEL, [*moving, flat])
    assert not evaluations[2].moves
    assert evaluations[2].relative_mae == 1.0
    median = np.median([evaluations[0].relative_mae, evaluations[1].relative_mae])
    assert median_relative_mae(evaluations) == pytest.approx(median)
    assert np.isnan(median_relative_mae(evaluations[2:]))
    assert Evaluation(5, 0.1, 0.0, 0.0, 0.0, 1.0, 1.0, 0, 0, 0.0).relative_mae == float("inf")


@pytest.mark.parametrize(("coverage", "well"), [(0.87, False), (0.88, True), (0.92, True), (0.93, False)])
def test_coverage_counts_as_good_within_two_percent_of_ninety(coverage: float, well: bool) -> None:
    assert Evaluation(5, 0.1, 0.2, 0.0, 0.0, 1.0, coverage, 0, 0, 0.0).well_covered == well


def test_json_names_are_the_documented_ones() -> None:
    of = Evaluation(5, 0.1, 0.2, 0.3, 0.4, 1.5, 0.9, 2, 1, 0.7)
    assert of.fields() == {
        "events": 5,
        "error": 0.1,
        "persistence": 0.2,
        "seasonal": 0.3,
        "least_squares": 0.4,
        "first": 1.5,
        "covered": 0.9,
        "anomalies": 2,
        "alerts": 1,
        "trust": 0.7,
        "ratio": 0.5,
    }


def test_the_default_model_beats_the_last_value_on_a_daily_season() -> None:
    times = 1.7e9 + np.arange(3_000) * 300.0
    values = np.sin(times * 2 * np.pi / 86_400) * 10 + np.random.default_rng(1).normal(0, 1, 3_000)
    (of,) = evaluate(MODEL, [Series("daily", times, values)])
    assert of.relative_mae < 0.85
    assert 0.87 < of.coverage < 0.93


def test_with_a_random_model_the_error_stays_close_to_that_of_the_last_value() -> None:
    one = generated(8, 2_000)
    (of,) = evaluate(random_model(), [one])
    assert of.relative_mae < 1.02
