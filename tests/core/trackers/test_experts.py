"""Who predicts better is followed, and the other one costs little."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream_lstm.core.trackers import experts


def shares(model: list[float], step: list[float]) -> list[float]:
    """The model's share after each event, of its errors and those of "same as last time"."""
    lead, out = np.zeros((1, 1)), []
    for seq, (error, move) in enumerate(zip(model, step, strict=True), 1):
        moved = np.array([[sum(step[:seq]) / seq]])
        lead = experts.update(lead, np.array([[error]]), np.array([[move]]), moved, np.array([seq]))
        model, repeated = experts.weights(np.array([lead, np.zeros((1, 1))]))
        assert model + repeated < 1.0 or lead[0, 0] > 50.0
        out.append(float(model[0, 0]))
    return out


def test_a_stream_begins_between_the_two() -> None:
    assert shares([math.nan], [0.0]) == [0.5]


@pytest.mark.parametrize(("model", "expected"), [(0.5, 1.0), (1.5, 0.0), (1.0, 0.5)])
def test_who_errs_less_is_followed(model: float, expected: float) -> None:
    step = np.random.default_rng(0).exponential(1.0, 300)
    assert shares((model * step).tolist(), step.tolist())[-1] == pytest.approx(expected, abs=0.01)


def test_a_change_is_noticed_within_some_hundred_events() -> None:
    step = [1.0] * 3_000
    found = shares([0.5] * 1_500 + [1.5] * 1_500, step)
    assert found[1_499] > 0.99
    assert found[2_300] < 0.01


def test_a_stream_that_never_moves_and_numbers_at_the_edge_are_taken() -> None:
    assert shares([0.0] * 50, [0.0] * 50)[-1] == 0.5
    assert shares([1e130, 1e130, 0.0], [0.0, 0.0, 1e130])[-1] <= 1.0
    assert all(map(math.isfinite, shares([math.nan, 1.0, 2.0], [0.0, 1.0, 0.0])))
