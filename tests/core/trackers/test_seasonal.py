"""Seasonal expert: the step of a day ago is expected again; an unknown one is 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core.record import layout
from stream_lstm.core.trackers import seasonal
from stream_lstm.core.trackers.event_time import TimedEvent
from stream_lstm.core.trackers.seasonal import SLOT_SECONDS, SLOTS, STEPS_PER_UNIT, SeasonalState
from tests.core.records import blank, given

Doubles = NDArray[np.float64]
BEGIN = 1.7e9  # epoch seconds


def event(n: int, every: float = SLOT_SECONDS) -> TimedEvent:
    """The time of the event with this number from 0."""
    time = BEGIN + n * every
    return TimedEvent(time, time - every, math.log10(every), 2.0, False)


def steps_after(
    values: Doubles,
    every: float = SLOT_SECONDS,
    deviations: Doubles | None = None,
    means: Doubles | None = None,
) -> list[float]:
    """The expected step after each value."""
    records = np.zeros(3, layout(SeasonalState))
    records["slots"], records["base"], records["unit"] = 7, 5.0, 5.0  # of other streams
    state, out, last = given(records[1:2]), [], 0.0
    for n, value in enumerate(values.tolist()):
        mean = 0.0 if means is None else float(means[n])
        deviation = 1.0 if deviations is None else float(deviations[n])
        step = seasonal.update(state, mean, deviation, last, event(n, every), n + 1, True)
        last = value
        out.append(float(step))
    assert (records["slots"][[0, 2]] == 7).all()
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
    values = np.full(3 * SLOTS, 2.0)
    values[[100, 100 + SLOTS]] = 50.0
    assert not any(steps_after(values))


def scaled() -> Any:
    """The state of a stream without a day, quantized from the base 1 in the unit 1."""
    state = blank(SeasonalState)
    state["base"] = state["unit"] = 1.0
    return state


@pytest.mark.parametrize("last", [1e100, -1e100, np.nan])
def test_extreme_numbers_are_not_kept(last: float) -> None:
    state = scaled()
    with np.errstate(all="raise", under="ignore"):
        step = seasonal.update(state, 1.0, 1.0, last, TimedEvent(86_700.0, 0.0, 6.0, 2.0, False), 5, True)
    assert not state["slots"].any()
    assert step == 0.0


def test_a_frozen_stream_keeps_its_day_and_its_scale() -> None:
    state = scaled()
    seasonal.update(state, 1.0, 1.0, 2.0, event(4), 5, True)
    before = state.tobytes()
    seasonal.update(state, 100.0, 50.0, 3.0, event(5), 6, False)
    assert state.tobytes() == before
    seasonal.update(state, 100.0, 50.0, 90.0, event(5), 6, True)
    assert (state["base"], state["unit"]) == (100.0, 50.0)
    assert np.count_nonzero(state["slots"]) == 2


@pytest.mark.parametrize(
    ("steps", "slot"),
    [
        (0.0, 1),
        (0.4, 1),
        (125.6, 127),
        (126.4, 127),
        (126.6, 0),
        (128.0, 0),
        (-0.6, -1),
        (-127.0, -127),
        (-127.1, 0),
        (math.nan, 0),
        (math.inf, 0),
    ],
)
def test_a_slot_holds_steps_within_its_byte_and_nothing_else(steps: float, slot: int) -> None:
    for quantized in (seasonal._quantized, getattr(seasonal._quantized, "function", seasonal._quantized)):
        assert quantized(steps) == slot


@pytest.mark.parametrize("steps", [-127.0, -1.0, 0.0, 1.0, 126.0])
def test_a_slots_steps_are_read_back(steps: float) -> None:
    assert seasonal._steps(seasonal._quantized(steps)) == steps


@pytest.mark.parametrize(
    ("mean", "deviation", "changes"),
    [
        (3.0, 3.0, False),
        (-1.0, 0.34, False),
        (3.1, 1.0, True),
        (-1.1, 1.0, True),
        (1.0, 3.1, True),
        (1.0, 0.33, True),
    ],
)
def test_a_day_is_quantized_anew_in_a_much_changed_scale(
    mean: float, deviation: float, changes: bool
) -> None:
    state = scaled()
    state["slots"][0] = 17  # the value 2
    seasonal.update(state, mean, deviation, 2.0, event(4), 5, True)
    assert (state["base"], state["unit"]) == ((mean, deviation) if changes else (1.0, 1.0))
    assert state["base"] + seasonal._steps(int(state["slots"][0])) * state["unit"] / 16 == pytest.approx(
        2.0, abs=deviation / 32
    )


def test_a_constant_is_the_logarithm_that_it_says() -> None:
    assert math.log(10.0) == seasonal.LN10
