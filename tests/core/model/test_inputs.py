"""Inputs of the cell: their numbers, their order, their limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_lstm.core.model import inputs
from stream_lstm.core.model.input_names import INPUTS
from stream_lstm.core.state import room, spec_record, state_type
from stream_lstm.core.trackers.event_time import TimedEvent
from tests.core.models import FIXED, description
from tests.core.records import given

TIMED = TimedEvent(time=21_600.0, time_before=0.0, usual_gap=0.0, gap=3.0, late=False)
SIX = 21_600.0  # o'clock


def made(names: list[str], values: list[float], **changes: Any) -> list[float]:
    """The inputs of the 500th event of a stream with the means 0 and 1 and deviations 1 and 2."""
    features = ["a", "b"][: len(values)]
    spec = description(**({"features": features, "targets": features} | changes | {"inputs": names}))
    states, model, space = np.zeros(1, state_type(spec)), spec_record(spec), room(spec)
    states["seq"], count = 500, len(values)
    states["scale"]["mean"], states["scale"]["variance"] = [0.0, 1.0][:count], [1.0, 4.0][:count]
    states["value"] = np.array(values) - [1.0, 4.0][:count]
    inputs.make(*(given(each) for each in (space, model, states)), np.array(values), SIX, TIMED)
    return [float(number) for number in space["entering"][0]]


def test_inputs_come_in_the_order_of_their_names_and_within_their_limits() -> None:
    found = made(list(INPUTS), [50.0, -99.0])
    assert found == pytest.approx([10, -10, 1, 2, 1, 0, 0.2225209, 0.9749279, -1, 3, 1], abs=1e-6)
    assert made(["age", "difference"], [50.0, 3.0]) == [1.0, 1.0, 2.0]


def test_a_fixed_scaling_has_its_own_origin_unit_and_limit() -> None:
    assert made(["value"], [50.0, -99.0], **FIXED) == [50.0, -50.0]
    assert made(["value"], [1e9, 0.0], **FIXED) == [1e6, -0.5]


def test_a_first_event_has_no_difference() -> None:
    spec = description(inputs=["difference"])
    states, model, space = np.zeros(1, state_type(spec)), spec_record(spec), room(spec)
    states["seq"], states["value"], states["scale"]["variance"] = 1, 7.0, 1.0
    inputs.make(*(given(each) for each in (space, model, states)), np.array([9.0]), SIX, TIMED)
    assert space["entering"][0].tolist() == [0.0]
