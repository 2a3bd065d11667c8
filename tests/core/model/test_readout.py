"""Readout: outputs to forecasts and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core.model import readout
from stream_lstm.core.model.readout import LOG_SPREAD_MAX, LOG_SPREAD_MIN
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.state import room, spec_record, state_type
from tests.core.models import FIXED, KINDS, description
from tests.core.records import given


def outputs(spec: ModelSpec, numbers: list[float]) -> Any:
    space = room(spec)
    space["outputs"] = numbers
    return given(space)


def test_a_step_model_has_a_location_and_a_spread_for_each_step_ahead() -> None:
    space = outputs(description(horizon=[1, 4]), [0.5, 0.0, -1.0, np.log(3.0)])
    assert [readout.location(space, ahead, 0, 1) for ahead in (0, 1)] == [0.5, -1.0]
    assert [readout.spread(space, ahead, 0, 1) for ahead in (0, 1)] == pytest.approx([1.0, 3.0])


def test_locations_and_spreads_of_several_targets_lie_side_by_side() -> None:
    pair = description(features=["a", "b"], targets=["a", "b"])
    space = outputs(pair, [0.25, 0.5, np.log(2.0), np.log(4.0)])
    assert [readout.location(space, 0, target, 2) for target in (0, 1)] == [0.25, 0.5]
    assert [readout.spread(space, 0, target, 2) for target in (0, 1)] == pytest.approx([2.0, 4.0])


def test_the_spread_is_limited() -> None:
    spreads = [readout.spread(outputs(description(), [0.0, raw]), 0, 0, 1) for raw in (99.0, -99.0)]
    assert spreads == pytest.approx([np.exp(LOG_SPREAD_MAX), np.exp(LOG_SPREAD_MIN)])


def value(changes: dict[str, Any], numbers: list[float], target: int) -> float:
    """The expected value of a target where the second feature has mean 10 and deviation 3."""
    spec = description(**changes)
    states = np.zeros(1, state_type(spec))
    states["scale"]["mean"], states["scale"]["variance"] = [1.0, 10.0], [4.0, 9.0]
    model = given(spec_record(spec))
    return readout.value(outputs(spec, numbers), model, given(states), target)


def test_a_value_is_scaled_back_by_the_streams_own_scale_or_by_the_fixed_one() -> None:
    assert value(KINDS["value"], [2.0], 0) == 16.0
    assert [value(FIXED, [2.0, 2.0], target) for target in (0, 1)] == [2.0, 11.0]


def probabilities(logits: list[float]) -> NDArray[np.float64]:
    out = np.empty(len(logits))
    readout.probabilities(outputs(description(**KINDS["classes"]), logits), out)
    return out


def test_probabilities_add_up_to_one_for_any_logits() -> None:
    found = [probabilities(logits) for logits in ([0.0, 0.0], [1e6, -1e6], [1.0, 3.0])]
    assert [sum(each) for each in found] == pytest.approx([1.0, 1.0, 1.0])
    assert [each.tolist() for each in found[:2]] == [[0.5, 0.5], [1.0, 0.0]]
    assert found[2][1] == pytest.approx(1.0 / (1.0 + np.exp(-2.0)))
