"""Incident: kind and score of an event by all its targets, and one alert per incident."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.trackers import incident
from stream_lstm.core.trackers.anomaly import Rarities
from stream_lstm.core.trackers.incident import INCIDENT_EVENTS, KINDS, IncidentState, Score
from tests.core.records import blank
from tests.core.trackers.scored import scored

COOLDOWN = int(INCIDENT_EVENTS)


def test_a_new_level_without_a_surprise_on_the_way_is_a_drift() -> None:
    rng = np.random.default_rng(12)
    values = rng.normal(20, 1, 14_000) + np.clip(np.arange(14_000) - 10_000, 0, None) * 0.004
    found = scored(values, rng.laplace(0, 1, 14_000)).alerts()
    assert "drift" in [kind for _, kind in found]
    assert all(kind != "level" for _, kind in found)


def test_an_incident_raises_one_alert_and_the_next_incident_another() -> None:
    errors = np.random.default_rng(12).laplace(0, 1, 4_000)
    errors[2_000:2_040] = 60.0
    errors[2_040 + COOLDOWN + 300] = 600.0
    results = scored([0.0, 1.0] * 2_000, errors)
    first, second = results.alerts()
    assert first == (2_000, "surprise")
    assert second[0] == 2_340 + COOLDOWN
    within = results.incident_score[2_001:2_040]
    assert ((within == 0.0) | (within > results.incident_score[2_000])).all()


def test_an_incident_that_gets_much_worse_raises_another_alert() -> None:
    values = np.random.default_rng(13).uniform(0, 1, 4_000)
    errors = np.full(4_000, 0.5)
    values[3_000], errors[3_000] = 1.5, 0.5
    values[3_050], errors[3_050] = 9.0, 500.0
    values[3_060], errors[3_060] = 9.5, 500.0
    assert [n for n, _ in scored(values, errors).alerts()] == [3_000, 3_050]


def rarities(
    surprise: float = 0.0,
    record: float = 0.0,
    level: float = 0.0,
    standstill: float = 0.0,
    *,
    peak: float = 0.0,
) -> Rarities:
    return Rarities(surprise, record, level, standstill, peak)


def score(*targets: Rarities) -> Score:
    total = incident.no_score()
    for target in targets:
        total = incident.add(total, target)
    return total


def kind(*targets: Rarities) -> str:
    return KINDS[incident.update(blank(IncidentState), score(*targets), 1, True).kind]


def test_the_score_is_the_surprise_and_the_largest_other_rarity_of_one_target() -> None:
    first, second = rarities(0.25, 0.125, 0.25, 0.0), rarities(0.0, 0.25, 0.0, 0.375)
    assert [score(target).anomaly for target in (first, second)] == [0.5, 0.375]
    assert score(first, second).anomaly == score(second, first).anomaly == 0.5
    assert score(rarities(0.75, 0.5)).anomaly == 1.0


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([], ""),
        ([rarities()], ""),
        ([rarities(0.5, 0.4, 0.4, 0.4)], "surprise"),
        ([rarities(0.4, 0.5, 0.4, 0.4)], "record"),
        ([rarities(0.4, 0.4, 0.4, 0.5)], "standstill"),
        ([rarities(0.5, 0.5, 0.5, 0.5)], "surprise"),
        ([rarities(0.1, 0.2, 0.3, 0.2, peak=0.34)], "level"),
        ([rarities(0.1, 0.2, 0.3, 0.2, peak=0.33)], "drift"),
        ([rarities(0.1, 0.2), rarities(0.3)], "surprise"),
        ([rarities(level=0.5), rarities(peak=0.5)], "level"),
        ([rarities(level=0.5, peak=0.5), rarities()], "level"),
    ],
)
def test_the_kind_is_that_of_the_largest_rarity_of_all_targets(
    targets: list[Rarities], expected: str
) -> None:
    assert kind(*targets) == expected


def test_within_a_cooldown_an_alert_is_raised_only_by_an_event_30_times_rarer() -> None:
    state, found = blank(IncidentState), []
    for seq, number in enumerate((0.5, 0.4, 0.7, 0.6, 0.96), 1):
        found.append(incident.update(state, score(rarities(number)), seq, True))
    assert [verdict.alert for verdict in found] == [True, False, False, False, True]
    assert [verdict.incident_score for verdict in found] == [0.5, 0.0, 0.7, 0.0, 0.96]


def test_an_event_of_uncertain_time_neither_starts_nor_shortens_a_cooldown() -> None:
    state, high, none = blank(IncidentState), score(rarities(0.5)), score()
    incident.update(state, none, 1, True)
    assert incident.update(state, high, 2, False).incident_score == 0.5
    assert not any(state.tobytes())
    assert incident.update(state, high, 3, True).alert
    before = state.tobytes()
    assert not incident.update(state, none, 4, False).alert
    assert state.tobytes() == before
    assert incident.update(state, none, 5, True) == (0.0, 0, 0.0, False)
    assert state["cooldown"] == INCIDENT_EVENTS - 1.0


def test_a_streams_first_event_begins_without_an_incident() -> None:
    state = blank(IncidentState)
    state["incident"], state["cooldown"] = 1.0, 100.0  # of another stream
    assert incident.update(state, score(rarities(0.5)), 1, True).alert
