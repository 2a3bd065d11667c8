"""Prediction intervals have the coverage that is asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stream_lstm.core.trackers import interval
from stream_lstm.core.trackers.interval import INTERVAL, IntervalState
from tests.core.records import blank

ERRORS = {
    "laplace": lambda rng, n: rng.laplace(0, 1, n),
    "gauss": lambda rng, n: rng.normal(0, 3, n),
    "heavy": lambda rng, n: rng.standard_t(2.5, n) * 0.2,
    "changing": lambda rng, n: rng.laplace(0, 1, n) * np.where(np.arange(n) % 4_000 < 2_000, 0.3, 5.0),
}


def missed(errors: list[float], share: float = INTERVAL) -> list[bool]:
    """True for each error outside its interval; the model's spread is always 1."""
    state, out = blank(IntervalState), []
    state["spread"] = 1.0
    for seq, error in enumerate(errors, 1):
        out.append(interval.update(state, error, 1.0, 1.0, seq, share, True).missed)
    return out


@pytest.mark.parametrize("kind", ERRORS)
def test_nine_in_ten_values_lie_inside_for_any_distribution_of_errors(kind: str) -> None:
    found = missed(ERRORS[kind](np.random.default_rng(3), 12_000).tolist())
    assert 0.885 <= 1 - np.mean(found[1_000:]) <= 0.915


@pytest.mark.parametrize("share", [0.5, 0.8, 0.99])
def test_other_coverages_are_reached_as_well(share: float) -> None:
    found = missed(np.random.default_rng(4).laplace(0, 1, 12_000).tolist(), share)
    assert 1 - np.mean(found[1_000:]) == pytest.approx(share, abs=0.015)


def forecast() -> Any:
    """The state of a stream of which 10 is expected, with an interval of ± 3 spreads of 2 deviations."""
    state = blank(IntervalState)
    state["expected"], state["spread"], state["width"] = 10.0, 2.0, 3.0
    return state


def test_an_interval_is_in_deviations_before_the_event_and_the_error_in_those_after_it() -> None:
    at_end = interval.update(forecast(), 16.0, 1.0, 1.5, 2, INTERVAL, True)
    assert (at_end.error, at_end.missed, at_end.surprise) == (4.0, False, 2.0)
    assert at_end.width == pytest.approx(3.0 * math.exp(-0.005))
    beyond = interval.update(forecast(), 16.1, 1.0, 1.5, 2, INTERVAL, True)
    assert beyond.missed
    assert beyond.width == pytest.approx(3.0 * math.exp(0.045))


@pytest.mark.parametrize(("value", "seq", "width"), [(math.nan, 2, 3.0), (99.0, 1, math.log(10.0))])
def test_without_a_value_or_a_forecast_there_is_no_error(value: float, seq: int, width: float) -> None:
    state = forecast()
    found = interval.update(state, value, 1.0, 1.0, seq, INTERVAL, True)
    assert math.isnan(found.error)
    assert (found.missed, found.surprise) == (False, 0.0)
    assert found.width == state["width"] == pytest.approx(width)


def test_a_freeze_keeps_the_width_and_gives_the_one_with_the_event() -> None:
    state = forecast()
    frozen = interval.update(state, 99.0, 1.0, 1.0, 2, INTERVAL, False)
    assert state["width"] == 3.0
    assert frozen == interval.update(state, 99.0, 1.0, 1.0, 2, INTERVAL, True)
    assert state["width"] == frozen.width > 3.0
