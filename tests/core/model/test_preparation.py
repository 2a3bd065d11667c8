"""Preparation for training: the same inputs as those that enter the cell of the engine."""

from __future__ import annotations

import numpy as np

from stream_lstm.core.model.input_names import INPUTS
from stream_lstm.core.model.preparation import prepare
from stream_lstm.core.state import state_type
from stream_lstm.core.trackers.interval import INTERVAL
from stream_lstm.core.views.gate_trace import Segment, trace
from stream_lstm.events import Batch
from tests.core.models import random_model


def test_what_is_prepared_is_what_enters_the_engines_cell() -> None:
    made, rng = random_model(inputs=list(INPUTS)), np.random.default_rng(3)
    times = 1.7e9 + np.cumsum(rng.exponential(900.0, (50, 2)), axis=0)
    values = rng.normal(20.0, 3.0, (50, 2))
    events, deviations = prepare(times, values, made.spec)
    assert events.shape == (50, 2, made.spec.inputs_width)
    blank = bytes(state_type(made.spec).itemsize)
    segments = [
        Segment(blank, Batch.timed(np.zeros(50, np.intp), times[:, n], values[:, n : n + 1])) for n in (0, 1)
    ]
    *_, found = trace(made, segments, interval=INTERVAL)
    assert found is not None
    assert np.array_equal(found.gates["entering"], events.transpose(1, 0, 2).reshape(100, -1))
    spread = [[values[: n + 1, k].std() for k in (0, 1)] for n in range(1, 50)]
    np.testing.assert_allclose(deviations[1:], spread, rtol=1e-9)
