"""Counters and histograms: what a batch adds to them."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.predictions import Totals
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD
from stream_lstm.service.metrics.counters import AGE_SECONDS, FEW_EVENTS, Counters, Histogram
from tests.core import models


def totals(errors: list[float], persistence: list[float], missed: list[bool], anomaly: list[float]) -> Totals:
    columns = {"error": errors, "persistence": persistence, "missed": missed, "anomaly": anomaly}
    alert = np.array(anomaly) >= ALERT_THRESHOLD
    return models.predictions(models.description(), len(errors), alert=alert, **columns).totals()


def test_relative_error_and_coverage_are_none_until_a_value_is_judged() -> None:
    counters = Counters()
    assert (counters.relative_error, counters.coverage) == (None, None)
    counters.observe_predictions(
        totals([1.0, 3.0, np.nan], [2.0, 6.0, np.nan], [True, False, False], [0.0, 0.95, np.nan])
    )
    assert (counters.relative_error, counters.coverage) == (0.5, 0.5)
    assert (counters.judged_total, counters.covered_total) == (2, 1)
    assert (counters.anomalies_total, counters.alerts_total) == (1, 1)


def test_a_first_event_is_not_judged() -> None:
    counters = Counters()
    counters.observe_predictions(totals([np.nan], [np.nan], [False], [0.0]))
    counters.observe_ages(np.array([]), 1.0)
    assert (counters.judged_total, counters.age.total) == (0, 0.0)


def test_values_that_never_move_have_a_coverage_but_no_relative_error() -> None:
    counters = Counters()
    counters.observe_predictions(totals([0.0], [0.0], [False], [0.0]))
    assert (counters.relative_error, counters.coverage) == (None, 1.0)


def test_a_histogram_counts_an_observation_in_the_bucket_that_includes_its_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.add(1.0, 3)
    histogram.add(1.5)
    histogram.add(9.0, 2)
    assert histogram.buckets() == [("1.0", 3), ("2.0", 4), ("+Inf", 6)]
    assert histogram.total == pytest.approx(3 + 1.5 + 18)


@pytest.mark.parametrize("times", [1, FEW_EVENTS])
def test_ages_of_a_batch_fall_into_the_buckets_of_single_observations(times: int) -> None:
    counters, histogram = Counters(), Histogram(AGE_SECONDS)
    ages = [0.0, 0.001, 0.5, 1.0, 3_600.0, 1e9] * times
    counters.observe_ages(1e9 - np.array(ages), 1e9)
    for age in ages:
        histogram.add(1e9 - (1e9 - age))
    assert counters.age.counts == histogram.counts
    assert counters.age.total == pytest.approx(histogram.total)


@pytest.mark.parametrize("times", [1, FEW_EVENTS + 1])
def test_an_event_from_the_future_neither_lowers_the_sum_of_ages_nor_hides_a_backlog(times: int) -> None:
    counters = Counters()
    counters.observe_ages(np.array([5_000.0] * times), 1_000.0)
    assert counters.newest_time == 0.0
    counters.observe_ages(np.array([990.0, 5_000.0] * times), 1_000.0)
    assert (counters.age.total, counters.age.counts[0]) == (10.0 * times, 2 * times)
    assert counters.newest_time == 990.0
    counters.observe_ages(np.array([1_001.0] * times), 1_000.0)  # within the usual difference of clocks
    assert counters.newest_time == 1_001.0
