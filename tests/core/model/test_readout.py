"""Readout: outputs to forecasts and probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.model import readout
from stream_lstm.core.model.readout import LOG_SPREAD_MAX, LOG_SPREAD_MIN
from stream_lstm.core.trackers.scale import Scale
from tests.core.models import FIXED, KINDS, description


def test_a_step_is_added_to_the_value_in_deviations() -> None:
    outputs = np.array([[0.5, 0.0, -1.0, np.log(3.0)]])  # two steps ahead: location, log of the spread
    found = readout.step(outputs, np.array([[20.0]]), np.array([[2.0]]))
    assert found.expected.tolist() == [[[21.0], [18.0]]]
    assert found.spread[0, :, 0].tolist() == pytest.approx([1.0, 3.0])


def test_the_spread_is_limited() -> None:
    outputs = np.array([[0.0, 99.0], [0.0, -99.0]])
    found = readout.step(outputs, np.zeros((2, 1)), np.ones((2, 1)))
    assert found.spread.ravel().tolist() == pytest.approx([np.exp(LOG_SPREAD_MAX), np.exp(LOG_SPREAD_MIN)])


def test_a_value_is_scaled_back_by_the_streams_own_scale_or_by_the_fixed_one() -> None:
    scale = Scale(np.array([[1.0, 10.0]]), np.array([[4.0, 9.0]]))
    running = readout.value(np.array([[2.0]]), description(**KINDS["value"]), scale, [1])
    assert running.expected.tolist() == [[[16.0]]]
    fixed = readout.value(np.array([[2.0, 2.0]]), description(**FIXED), scale, [1, -1])
    assert fixed.expected.tolist() == [[[2.0, 11.0]]]
    assert fixed.spread.tolist() == [[[1.0, 1.0]]]


def test_probabilities_add_up_to_one_for_any_logits() -> None:
    with np.errstate(all="raise", under="ignore"):
        found = readout.probabilities(np.array([[0.0, 0.0], [1e6, -1e6], [1.0, 3.0]]))
    assert found.sum(axis=1).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert found[:2].tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert found[2, 1] > found[2, 0]
