"""Anomaly score on streams of many kinds, and one alert per incident."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.trackers import anomaly, hourly_errors
from stream_lstm.core.trackers.anomaly import (
    ALERT_THRESHOLD,
    INCIDENT_EVENTS,
    KINDS,
    AnomalyResult,
    AnomalyState,
    Observed,
)

HOUR = hourly_errors.HOUR_SECONDS


def blank_state(streams: int = 1, targets: int = 1) -> AnomalyState:
    """The state of streams without events."""
    blank = {name: np.zeros((streams, targets)) for name in AnomalyState._fields}
    return AnomalyState(**blank | {"incident": np.zeros(streams), "cooldown": np.zeros(streams)})


def blank_hours(streams: int = 1, targets: int = 1) -> hourly_errors.HourlyErrors:
    errors = np.zeros((streams, targets, hourly_errors.HOURS), np.uint8)
    return hourly_errors.HourlyErrors(errors, np.arange(streams), np.zeros(streams, np.bool_))


def scored(
    values: Sequence[float], errors: Sequence[float] | None = None, *, every: float = 60.0
) -> list[AnomalyResult]:
    """The result of each event of a stream; errors are in spreads, which are deviations here."""
    state, hours, out, last = blank_state(), blank_hours(), [], math.nan
    for n, value in enumerate(values):
        error = np.array([[abs(errors[n]) if errors is not None and n else 0.0]])
        seen, before = np.array([[value]]), np.array([[last]])
        at = np.array([1.7e9 + n * every])
        event = Observed(seen, before, error, error, np.array([n + 1]), at, at - every)
        result, state = anomaly.update(state, hours, event)
        out.append(result)
        last = value
    return out


def anomalies(results: Sequence[AnomalyResult]) -> list[float]:
    return [float(result.anomaly[0]) for result in results]


def alerts(results: Sequence[AnomalyResult]) -> list[tuple[int, str]]:
    """Position and kind of each alert."""
    return [(n, KINDS[result.kind[0]]) for n, result in enumerate(results) if result.alert[0]]


DRAWS = {
    "laplace": lambda rng, n: rng.laplace(0, 1, n),
    "gauss": lambda rng, n: rng.normal(0, 3, n),
    "heavy": lambda rng, n: rng.standard_t(2.5, n) * 0.2,
    "flat": lambda rng, n: np.zeros(n),
    "coarse": lambda rng, n: rng.normal(0, 1, n).round(),
    "changing": lambda rng, n: rng.laplace(0, 1, n) * np.where(np.arange(n) % 4_000 < 2_000, 0.3, 5.0),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_noise_of_any_kind_rarely_raises_an_alert(kind: str) -> None:
    noise = DRAWS[kind](np.random.default_rng(4), 12_000)
    results = scored(noise.tolist(), noise.tolist())
    assert len(alerts(results)) <= 14
    assert all(0.0 <= score <= 1.0 for score in anomalies(results))


def test_the_frequent_records_of_a_walk_and_a_counter_become_normal() -> None:
    walk = np.random.default_rng(5).normal(0, 1, 6_000).cumsum()
    assert len(alerts(scored(walk.tolist(), [1.0] * 6_000))) <= 4
    assert len(alerts(scored(list(map(float, range(6_000))), [0.1] * 6_000))) <= 1


def test_a_large_error_is_the_more_surprising_the_more_events_came_before() -> None:
    errors = np.random.default_rng(6).laplace(0, 1, 3_000).tolist()
    scores = []
    for at in (20, 100, 2_500):
        results = scored([0.0, 1.0] * 1_500, [*errors[:at], 60.0, *errors[at + 1 :]])
        scores.append(anomalies(results)[at])
    assert scores == sorted(scores)
    assert scores[2] >= ALERT_THRESHOLD
    assert (2_500, "surprise") in alerts(results)


def test_an_error_at_the_same_hour_of_every_day_counts_half() -> None:
    rng = np.random.default_rng(7)
    errors = rng.laplace(0, 0.3, 24 * 40)
    errors[6::24] = 12.0  # one event an hour, and a jump each morning
    quiet = errors.copy()
    quiet[: 24 * 38 : 24] = quiet[6 : 24 * 38 : 24]
    shifted = errors.copy()
    shifted[24 * 39 + 15] = 12.0
    usual = anomalies(scored([0.0, 1.0] * (12 * 40), errors.tolist(), every=HOUR))
    unusual = anomalies(scored([0.0, 1.0] * (12 * 40), shifted.tolist(), every=HOUR))
    assert unusual[24 * 39 + 15] == pytest.approx(2 * usual[24 * 39 + 6], rel=0.05)


def test_a_value_beyond_all_so_far_is_a_record_once() -> None:
    values = np.random.default_rng(8).uniform(0, 1, 4_000)
    values[3_000:3_010] = 2.0
    values[3_400] = 2.01  # within the margin
    results = scored(values.tolist())
    assert alerts(results) == [(3_000, "record")]
    assert ALERT_THRESHOLD <= anomalies(results)[3_000] <= math.log(3_001 / 2) / math.log(1e6)
    assert anomalies(results)[3_400] == 0.0


def test_a_new_level_is_an_anomaly_although_each_value_occurred_before() -> None:
    values = np.tile([0.0, 10.0], 6_000)
    values[10_000:10_010] = 10.0
    errors = np.where(np.arange(12_000) == 10_000, 2.2, 0.1)  # some surprise, and no alert by itself
    assert [kind for _, kind in alerts(scored(values.tolist(), errors.tolist()))] == ["level"]


def test_a_new_level_without_a_surprise_on_the_way_is_a_drift() -> None:
    rng = np.random.default_rng(12)
    values = rng.normal(20, 1, 14_000) + np.clip(np.arange(14_000) - 10_000, 0, None) * 0.004
    found = alerts(scored(values.tolist(), rng.laplace(0, 1, 14_000).tolist()))
    assert "drift" in [kind for _, kind in found]
    assert all(kind != "level" for _, kind in found)


def test_a_stuck_sensor_raises_one_alert() -> None:
    values = np.random.default_rng(10).normal(20, 1, 4_000)
    values[3_000:3_200] = values[3_000]
    assert [kind for _, kind in alerts(scored(values.tolist())) if kind == "standstill"] == ["standstill"]
    often = np.repeat(np.random.default_rng(11).normal(20, 1, 60), 100)  # usual on this stream
    assert "standstill" not in {kind for n, kind in alerts(scored(often.tolist())) if n > 1_000}


def test_an_incident_raises_one_alert_and_the_next_incident_another() -> None:
    errors = np.random.default_rng(12).laplace(0, 1, 4_000)
    errors[2_000:2_040] = 60.0
    errors[2_040 + INCIDENT_EVENTS + 300] = 600.0
    results = scored([0.0, 1.0] * 2_000, errors.tolist())
    first, second = alerts(results)
    assert first == (2_000, "surprise")
    assert second[0] == 2_340 + INCIDENT_EVENTS
    within = [float(result.incident_score[0]) for result in results[2_001:2_040]]
    assert all(score == 0.0 or score > results[2_000].incident_score[0] for score in within)


def test_a_target_without_values_is_never_an_anomaly() -> None:
    state, hours, seq = blank_state(2, 2), blank_hours(2, 2), np.array([1, 1])
    seen = np.array([[1.0, math.nan], [2.0, math.nan]])
    for n in range(50):
        at = np.full(2, 1.7e9 + n * 7_200)
        error = np.array([[0.5, 0.0], [50.0 if n == 40 else 0.5, 0.0]])
        event = Observed(seen, seen, error, error, seq + n, at, at - 7_200)
        result, state = anomaly.update(state, hours, event)
        assert result.anomaly[0] < ALERT_THRESHOLD
        if n == 40:
            assert result.anomaly[1] > result.anomaly[0]
    assert all(np.isfinite(column).all() for column in state)


@given(st.lists(st.tuples(st.floats(-1e100, 1e100), st.floats(0, 1e6)), min_size=1, max_size=60))
def test_any_values_and_errors_give_a_score_from_0_to_1(events: list[tuple[float, float]]) -> None:
    with np.errstate(all="raise", under="ignore"):
        results = scored([value for value, _ in events], [error for _, error in events], every=5_000.0)
    assert all(0.0 <= score <= 1.0 for score in anomalies(results))


def test_an_incident_that_gets_much_worse_raises_another_alert() -> None:
    values = np.random.default_rng(13).uniform(0, 1, 4_000)
    errors = np.full(4_000, 0.5)
    values[3_000], errors[3_000] = 1.5, 0.5
    values[3_050], errors[3_050] = 9.0, 500.0
    values[3_060], errors[3_060] = 9.5, 500.0
    assert [n for n, _ in alerts(scored(values.tolist(), errors.tolist()))] == [3_000, 3_050]
