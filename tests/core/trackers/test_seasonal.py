"""Seasonal expert: the step of a day ago is expected again; an unknown one is 0."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core.trackers import seasonal
from stream_lstm.core.trackers.scale import Scale
from stream_lstm.core.trackers.seasonal import SLOT_SECONDS, SLOTS, STEPS_PER_UNIT, DayProfiles, DayScale

Doubles = NDArray[np.float64]


def steps_after(
    values: Doubles,
    every: float = SLOT_SECONDS,
    deviations: Doubles | None = None,
    means: Doubles | None = None,
) -> list[float]:
    """The expected step after each value."""
    days = DayProfiles(
        np.full((3, 1, SLOTS), 7, np.int8), np.array([1]), np.zeros(1, np.bool_)
    )  # of another stream
    scale_of_day, out = DayScale(*np.full((2, 1, 1), 5.0)), []
    last, before = 0.0, 1.7e9
    for n, value in enumerate(values.tolist()):
        time = 1.7e9 + n * every
        mean, deviation = (0.0 if means is None else means[n]), (1.0 if deviations is None else deviations[n])
        scale_of_day, step = seasonal.update(
            scale_of_day,
            days,
            Scale(np.array([[mean]]), np.array([[deviation]])),
            np.array([[last]]),
            np.array([before]),
            np.array([time]),
            np.array([every]),
            np.array([n + 1]),
        )
        before, last = time, value
        out.append(float(step[0, 0]))
    assert (days.steps[[0, 2]] == 7).all()
    return out


@pytest.mark.parametrize("every", [SLOT_SECONDS, 3 * SLOT_SECONDS])
def test_the_step_of_a_day_ago_is_expected(every: float) -> None:
    count = int(86_400 / every)
    one = np.where(np.arange(count) % count < count // 3, -1.0, 2.0)
    found = steps_after(np.tile(one, 3), every)
    assert not any(found[: count - 1])
    steps = np.append(np.diff(np.tile(one, 3)), 0.0)
    assert np.allclose(found[2 * count : -1], steps[2 * count : -1], atol=2 / STEPS_PER_UNIT)


def test_within_a_slot_no_step_is_expected() -> None:
    found = steps_after(np.tile(np.repeat([0.0, 3.0], 50), 200), 10.0)  # a change every 500 s
    inside = [step for n, step in enumerate(found) if n * 10 % SLOT_SECONDS < SLOT_SECONDS - 10.0]
    assert not any(inside[100:200])


def test_the_day_is_kept_when_the_scale_changes() -> None:
    one = np.where(np.arange(SLOTS) < 100, 20.0, 22.0)
    rng = np.random.default_rng(1)
    deviations = np.exp(np.cumsum(rng.normal(0, 0.05, 3 * SLOTS))).clip(0.5, 5.0)
    means = 21.0 + np.cumsum(rng.normal(0, 0.05, 3 * SLOTS))
    found = steps_after(np.tile(one, 3), deviations=deviations, means=means)
    steps = np.append(np.diff(np.tile(one, 3)), 0.0)
    assert np.allclose(found[2 * SLOTS : -1], steps[2 * SLOTS : -1], atol=1.0)


def test_an_outlier_is_not_kept() -> None:
    values = np.zeros(3 * SLOTS)
    values[[100, 100 + SLOTS]] = 50.0
    assert not any(steps_after(values))


@pytest.mark.parametrize("last", [1e100, -1e100, np.nan])
def test_extreme_numbers_are_not_kept(last: float) -> None:
    days = DayProfiles(np.zeros((1, 1, SLOTS), np.int8), np.array([0]), np.zeros(1, np.bool_))
    one = np.ones((1, 1))
    times = np.array([0.0]), np.array([86_700.0]), np.array([1e6])
    with np.errstate(all="raise", under="ignore"):
        _, step = seasonal.update(
            DayScale(one, one), days, Scale(one, one), one * last, *times, np.array([5])
        )
    assert not days.steps.any()
    assert step.tolist() == [[0.0]]
