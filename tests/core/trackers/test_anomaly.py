"""Anomaly: rarities of events on streams of many kinds, and the alerts that come of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.record import fields
from stream_lstm.core.trackers import anomaly, incident
from stream_lstm.core.trackers.anomaly import AnomalyState, Observed, Rarities
from stream_lstm.core.trackers.event_time import TimedEvent
from stream_lstm.core.trackers.hourly_errors import HOUR_SECONDS
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD, STANDSTILL
from tests.core.records import blank
from tests.core.trackers.scored import BEGIN, scored

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
    results = scored(noise, noise)
    assert len(results.alerts()) <= 14
    assert ((results.anomaly >= 0.0) & (results.anomaly <= 1.0)).all()


def test_the_frequent_records_of_a_walk_and_a_counter_become_normal() -> None:
    walk = np.random.default_rng(5).normal(0, 1, 6_000).cumsum()
    assert len(scored(walk, [1.0] * 6_000).alerts()) <= 4
    assert len(scored(range(6_000), [0.1] * 6_000).alerts()) <= 1


def test_a_record_at_every_event_becomes_normal() -> None:
    growing = scored(1.03 ** np.arange(4_000), [0.1] * 4_000)
    assert growing.anomaly[-1] < 0.05 < growing.anomaly.max()


def test_a_large_error_is_the_more_surprising_the_more_events_came_before() -> None:
    errors = np.random.default_rng(6).laplace(0, 1, 3_000).tolist()
    scores = []
    for at in (20, 100, 2_500):
        results = scored([0.0, 1.0] * 1_500, [*errors[:at], 60.0, *errors[at + 1 :]])
        scores.append(results.anomaly[at])
    assert scores == sorted(scores)
    assert scores[2] >= ALERT_THRESHOLD
    assert (2_500, "surprise") in results.alerts()


def test_an_error_at_the_same_hour_of_every_day_counts_half() -> None:
    errors = np.random.default_rng(7).laplace(0, 0.3, 24 * 40)
    errors[6::24] = 12.0  # one event an hour, and a jump each morning
    shifted = errors.copy()
    shifted[24 * 39 + 15] = 12.0
    usual = scored([0.0, 1.0] * (12 * 40), errors, every=HOUR_SECONDS).anomaly
    unusual = scored([0.0, 1.0] * (12 * 40), shifted, every=HOUR_SECONDS).anomaly
    assert unusual[24 * 39 + 15] == pytest.approx(2 * usual[24 * 39 + 6], rel=0.05)


def test_a_value_beyond_all_so_far_is_a_record_once() -> None:
    values = np.random.default_rng(8).uniform(0, 1, 4_000)
    values[3_000:3_010] = 2.0
    values[3_400] = 2.01  # within the margin
    results = scored(values)
    assert results.alerts() == [(3_000, "record")]
    assert ALERT_THRESHOLD <= results.anomaly[3_000] <= math.log(3_001 / 2) / math.log(1e6)
    assert results.anomaly[3_400] == 0.0


def test_a_new_level_is_an_anomaly_although_each_value_occurred_before() -> None:
    values = np.tile([0.0, 10.0], 6_000)
    values[10_000:10_010] = 10.0
    errors = np.where(np.arange(12_000) == 10_000, 2.2, 0.1)  # some surprise, and no alert by itself
    assert [kind for _, kind in scored(values, errors).alerts()] == ["level"]


def test_a_stuck_sensor_raises_one_alert() -> None:
    values = np.random.default_rng(10).normal(20, 1, 4_000)
    values[3_000:3_200] = values[3_000]
    assert [kind for _, kind in scored(values).alerts() if kind == "standstill"] == ["standstill"]
    often = np.repeat(np.random.default_rng(11).normal(20, 1, 60), 100)  # usual on this stream
    assert STANDSTILL not in scored(often).kind[1_000:]


@given(st.lists(st.tuples(st.floats(-1e100, 1e100), st.floats(0, 1e6)), min_size=1, max_size=60))
def test_any_values_and_errors_give_a_score_from_0_to_1(events: list[tuple[float, float]]) -> None:
    with np.errstate(all="raise", under="ignore"):
        results = scored([value for value, _ in events], [error for _, error in events], every=5_000.0)
    assert ((results.anomaly >= 0.0) & (results.anomaly <= 1.0)).all()


def observe(
    state: Any,
    n: int,
    value: float,
    error: float = 0.5,
    last: float = 0.0,
    *,
    learning: bool = True,
    certain: bool = True,
) -> Rarities:
    """Rarities of the event with this number from 0, two hours after the event before."""
    time = BEGIN + n * 2 * HOUR_SECONDS
    timed = TimedEvent(time, time - 2 * HOUR_SECONDS, 2.0, 2.0, False)
    return anomaly.update(state, Observed(value, last, error, error, n + 1), timed, learning, certain)


def test_a_target_without_values_is_never_an_anomaly() -> None:
    streams = [[blank(AnomalyState), blank(AnomalyState)] for _ in range(2)]
    for n in range(50):
        large = n == 40
        scores = []
        for seen, error, targets in zip((1.0, 2.0), (0.5, 50.0 if large else 0.5), streams, strict=True):
            score = incident.add(incident.no_score(), observe(targets[0], n, seen, error, seen))
            unseen = observe(targets[1], n, math.nan, math.nan, math.nan)._replace(peak_surprise=0.0)
            assert not any(unseen)
            scores.append(incident.add(score, unseen).anomaly)
        assert scores[0] < ALERT_THRESHOLD
        assert not large or scores[1] > scores[0]
    for state in (target for targets in streams for target in targets):
        numbers = np.array([state], state.dtype)
        assert all(np.isfinite(column).all() for _, column, _ in fields(AnomalyState, numbers))


def used() -> Any:
    """The state of a stream with a few events, the last of them twice."""
    state, last = blank(AnomalyState), math.nan
    for n, value in enumerate((3.0, 1.0, 4.0, 1.5, 2.5, 2.5)):
        observe(state, n, value, float(n % 3), last)
        last = value
    return state


def test_the_peak_of_surprise_fades_from_event_to_event() -> None:
    state = used()
    peak = observe(state, 6, 2.0, 20.0).peak_surprise
    found = observe(state, 7, 2.0, 0.0)
    assert found.surprise == 0.0
    assert found.peak_surprise == 0.95 * peak > 0.0


def test_a_freeze_keeps_what_is_normal_and_scores_events_all_the_same() -> None:
    frozen, learning = used(), used()
    before = np.array([frozen], frozen.dtype)
    found = observe(frozen, 6, 9.0, 20.0, 2.5, learning=False)
    assert found == observe(learning, 6, 9.0, 20.0, 2.5)
    assert found.record > 0.0
    after, learnt = (np.array([state], state.dtype) for state in (frozen, learning))
    assert before["hourly"]["hours"].tobytes() == after["hourly"]["hours"].tobytes()
    assert before["hourly"]["hours"].tobytes() != learnt["hourly"]["hours"].tobytes()
    kept = {path: column[0] for path, column, field in fields(AnomalyState, before) if field.frozen}
    assert kept == {path: column[0] for path, column, field in fields(AnomalyState, after) if field.frozen}
    for path in ("recent", "run", "peak_surprise"):
        assert before[path] != after[path] == learnt[path]


def test_an_event_of_uncertain_time_is_scored_and_changes_nothing() -> None:
    state, known = used(), used()
    before = state.tobytes()
    assert observe(state, 6, 9.0, 20.0, 2.5, certain=False) == observe(known, 6, 9.0, 20.0, 2.5)
    assert state.tobytes() == before != known.tobytes()


def test_literal_constants_are_what_they_say() -> None:
    assert pytest.approx(math.log(1e6), rel=1e-15) == anomaly.RAREST_LOG
    assert pytest.approx(-math.log(1.0 - 0.995), rel=1e-13) == anomaly.TAIL_FIRST
    assert pytest.approx(math.exp(0.05 * 0.995), rel=1e-15) == anomaly.TAIL_RISE
    assert pytest.approx(math.exp(0.05 * -0.005), rel=1e-15) == anomaly.TAIL_FALL
