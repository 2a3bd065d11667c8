"""Inputs of the cell: their numbers, their order, their limits."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.model import inputs

SEEN = inputs.Seen(
    scaled=np.array([[50.0, -50.0]]),
    step=np.array([[1.0, 2.0]]),
    times=np.array([21_600.0]),
    seq=np.array([500]),
    usual_gap=np.array([0.0]),
    gap=np.array([3.0]),
)


def test_inputs_have_the_declared_width_and_lie_within_their_limits() -> None:
    names = list(inputs.MAKERS)
    made = inputs.make(names, SEEN, "running")
    assert made.shape == (1, inputs.width(names, 2))
    assert made.dtype == np.float32
    assert made[0].tolist() == pytest.approx([10, -10, 1, 2, 1, 0, 0.2225209, 0.9749279, -1, 3, 1], abs=1e-6)
    assert inputs.make(["value"], SEEN, "fixed")[0].tolist() == [50.0, -50.0]


def test_inputs_come_in_the_order_of_their_names() -> None:
    assert inputs.make(["age", "difference"], SEEN, "running")[0].tolist() == [1.0, 1.0, 2.0]


@pytest.mark.parametrize("features", [["value"], ["a", "b"]])
def test_every_input_has_a_name(features: list[str]) -> None:
    for names in (list(inputs.MAKERS), ["day"], ["value", "age"]):
        assert len(inputs.columns(names, features)) == inputs.width(names, len(features))


def test_a_single_feature_needs_no_name() -> None:
    assert inputs.columns(["value", "age"], ["temperature"]) == ["value", "age of the stream"]
    assert inputs.columns(["value"], ["a", "b"]) == ["value of a", "value of b"]
