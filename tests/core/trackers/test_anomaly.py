"""What is odd and what is not, on streams of many kinds; one incident, one alert."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.trackers import anomaly
from stream_lstm.core.trackers.anomaly import (
    ALERT_THRESHOLD,
    INCIDENT_EVENTS,
    KINDS,
    AnomalyResult,
    AnomalyState,
    HourlyErrors,
    Observed,
)

HOUR = anomaly.HOUR_SECONDS


def nothing(streams: int = 1, targets: int = 1) -> AnomalyState:
    """The past of streams that have none."""
    blank = {name: np.zeros((streams, targets)) for name in AnomalyState._fields}
    return AnomalyState(**blank | {"level": np.zeros(streams), "quiet": np.zeros(streams)})


def no_routine(streams: int = 1, targets: int = 1) -> HourlyErrors:
    errors = np.zeros((streams, targets, anomaly.HOURS), np.uint8)
    return HourlyErrors(errors, np.arange(streams), np.zeros(streams, np.bool_))


def told(
    values: Sequence[float], errors: Sequence[float] | None = None, *, every: float = 60.0
) -> list[AnomalyResult]:
    """What is said of each event of a stream; errors are in spreads, and deviations."""
    past, routine, out, last = nothing(), no_routine(), [], math.nan
    for n, value in enumerate(values):
        error = np.array([[abs(errors[n]) if errors is not None and n else 0.0]])
        seen, before = np.array([[value]]), np.array([[last]])
        at = np.array([1.7e9 + n * every])
        event = Observed(seen, before, error, error, np.array([n + 1]), at, at - every)
        odd, past = anomaly.update(past, routine, event)
        out.append(odd)
        last = value
    return out


def anomalies(said: Sequence[AnomalyResult]) -> list[float]:
    return [float(odd.anomaly[0]) for odd in said]


def alerts(said: Sequence[AnomalyResult]) -> list[tuple[int, str]]:
    """Where alerts were raised, and why."""
    return [(n, KINDS[odd.kind[0]]) for n, odd in enumerate(said) if odd.alert[0]]


DRAWS = {
    "laplace": lambda rng, n: rng.laplace(0, 1, n),
    "gauss": lambda rng, n: rng.normal(0, 3, n),
    "heavy": lambda rng, n: rng.standard_t(2.5, n) * 0.2,
    "flat": lambda rng, n: np.zeros(n),
    "coarse": lambda rng, n: rng.normal(0, 1, n).round(),
    "changing": lambda rng, n: rng.laplace(0, 1, n) * np.where(np.arange(n) % 4_000 < 2_000, 0.3, 5.0),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_noise_of_any_kind_is_rarely_odd(kind: str) -> None:
    noise = DRAWS[kind](np.random.default_rng(4), 12_000)
    said = told(noise.tolist(), noise.tolist())
    assert len(alerts(said)) <= 14
    assert all(0.0 <= odd <= 1.0 for odd in anomalies(said))


def test_a_walk_and_a_counter_set_records_all_the_time_and_that_becomes_normal() -> None:
    walk = np.random.default_rng(5).normal(0, 1, 6_000).cumsum()
    assert len(alerts(told(walk.tolist(), [1.0] * 6_000))) <= 4
    assert len(alerts(told(list(map(float, range(6_000))), [0.1] * 6_000))) <= 1


def test_a_great_error_is_a_surprise_and_rather_after_much_than_after_little() -> None:
    errors = np.random.default_rng(6).laplace(0, 1, 3_000).tolist()
    odd = []
    for at in (20, 100, 2_500):
        said = told([0.0, 1.0] * 1_500, [*errors[:at], 60.0, *errors[at + 1 :]])
        odd.append(anomalies(said)[at])
    assert odd == sorted(odd)
    assert odd[2] >= ALERT_THRESHOLD
    assert (2_500, "surprise") in alerts(said)


def test_who_errs_at_the_same_hour_of_every_day_surprises_by_half() -> None:
    rng = np.random.default_rng(7)
    errors = rng.laplace(0, 0.3, 24 * 40)
    errors[6::24] = 12.0  # one event an hour, and a jump each morning
    quiet = errors.copy()
    quiet[: 24 * 38 : 24] = quiet[6 : 24 * 38 : 24]
    shifted = errors.copy()
    shifted[24 * 39 + 15] = 12.0
    usual = anomalies(told([0.0, 1.0] * (12 * 40), errors.tolist(), every=HOUR))
    unusual = anomalies(told([0.0, 1.0] * (12 * 40), shifted.tolist(), every=HOUR))
    assert unusual[24 * 39 + 15] == pytest.approx(2 * usual[24 * 39 + 6], rel=0.05)


def test_a_value_beyond_all_before_is_a_record_and_the_next_like_it_is_none() -> None:
    values = np.random.default_rng(8).uniform(0, 1, 4_000)
    values[3_000:3_010] = 2.0
    values[3_400] = 2.01  # within the margin
    said = told(values.tolist())
    assert alerts(said) == [(3_000, "record")]
    assert ALERT_THRESHOLD <= anomalies(said)[3_000] <= math.log(3_001 / 2) / math.log(1e6)
    assert anomalies(said)[3_400] == 0.0


def test_a_level_that_was_never_held_is_odd_though_each_value_was_seen() -> None:
    values = np.tile([0.0, 10.0], 6_000)
    values[10_000:10_010] = 10.0
    errors = np.where(np.arange(12_000) == 10_000, 2.2, 0.1)  # some surprise, and no alert by itself
    assert [kind for _, kind in alerts(told(values.tolist(), errors.tolist()))] == ["level"]


def test_a_level_that_was_reached_without_a_surprise_is_a_drift() -> None:
    rng = np.random.default_rng(12)
    values = rng.normal(20, 1, 14_000) + np.clip(np.arange(14_000) - 10_000, 0, None) * 0.004
    found = alerts(told(values.tolist(), rng.laplace(0, 1, 14_000).tolist()))
    assert "drift" in [kind for _, kind in found]
    assert all(kind != "level" for _, kind in found)


def test_a_sensor_that_sticks_is_told_once() -> None:
    values = np.random.default_rng(10).normal(20, 1, 4_000)
    values[3_000:3_200] = values[3_000]
    assert [kind for _, kind in alerts(told(values.tolist())) if kind == "standstill"] == ["standstill"]
    often = np.repeat(np.random.default_rng(11).normal(20, 1, 60), 100)  # it always did
    assert "standstill" not in {kind for n, kind in alerts(told(often.tolist())) if n > 1_000}


def test_an_incident_is_told_once_and_another_after_it() -> None:
    errors = np.random.default_rng(12).laplace(0, 1, 4_000)
    errors[2_000:2_040] = 60.0
    errors[2_040 + INCIDENT_EVENTS + 300] = 600.0
    said = told([0.0, 1.0] * 2_000, errors.tolist())
    first, second = alerts(said)
    assert first == (2_000, "surprise")
    assert second[0] == 2_340 + INCIDENT_EVENTS
    within = [float(odd.incident_score[0]) for odd in said[2_001:2_040]]
    assert all(told == 0.0 or told > said[2_000].incident_score[0] for told in within)


def test_what_cannot_be_seen_is_not_odd() -> None:
    past, routine, seq = nothing(2, 2), no_routine(2, 2), np.array([1, 1])
    seen = np.array([[1.0, math.nan], [2.0, math.nan]])
    for n in range(50):
        at = np.full(2, 1.7e9 + n * 7_200)
        error = np.array([[0.5, 0.0], [50.0 if n == 40 else 0.5, 0.0]])
        odd, past = anomaly.update(past, routine, Observed(seen, seen, error, error, seq + n, at, at - 7_200))
        assert odd.anomaly[0] < ALERT_THRESHOLD
        if n == 40:
            assert odd.anomaly[1] > odd.anomaly[0]
    assert all(np.isfinite(column).all() for column in past)


@given(st.lists(st.tuples(st.floats(-1e100, 1e100), st.floats(0, 1e6)), min_size=1, max_size=60))
def test_nothing_that_comes_breaks_it(events: list[tuple[float, float]]) -> None:
    with np.errstate(all="raise", under="ignore"):
        said = told([value for value, _ in events], [error for _, error in events], every=5_000.0)
    assert all(0.0 <= odd <= 1.0 for odd in anomalies(said))


def test_an_incident_that_gets_far_worse_is_told_again() -> None:
    values = np.random.default_rng(13).uniform(0, 1, 4_000)
    errors = np.full(4_000, 0.5)
    values[3_000], errors[3_000] = 1.5, 0.5
    values[3_050], errors[3_050] = 9.0, 500.0
    values[3_060], errors[3_060] = 9.5, 500.0
    assert [n for n, _ in alerts(told(values.tolist(), errors.tolist()))] == [3_000, 3_050]
