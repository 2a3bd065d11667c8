"""Summary: what the engine knows of a stream after its last event."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.views.summary import relative_errors, summarize
from tests.core.models import KINDS
from tests.core.views.recorded import Recorded


@pytest.mark.parametrize("kind", KINDS)
def test_a_summary_has_the_last_event_and_its_prediction(kind: str) -> None:
    recorded = Recorded(kind, 3)
    for _ in range(4):
        batch, predictions = recorded.append([3, 1])
    found = summarize(recorded.engine, np.array([3, 1]))
    assert found.seq.tolist() == [4, 4]
    assert found.time.tolist() == recorded.memories.column("event_time.time", np.array([3, 1])).tolist()
    assert found.value.tolist() == batch.values.tolist()
    assert found.prediction.tobytes() == predictions.prediction.tobytes()
    np.testing.assert_allclose(found.half_width, predictions.half_width[:, 0], 1e-6)
    np.testing.assert_allclose(found.relative_mae, predictions.relative_mae, 1e-5)
    np.testing.assert_allclose(found.covered, predictions.covered, 1e-5)


def test_after_one_event_there_is_no_interval_and_no_coverage() -> None:
    recorded = Recorded("step", 1)
    recorded.append([1])
    found = summarize(recorded.engine, np.array([1]))
    assert np.isnan(found.half_width).all()
    assert np.isnan(found.covered).all()
    assert found.usual_seconds.tolist() == pytest.approx([100.0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_relative_errors_of_many_streams_are_those_of_their_summaries(kind: str) -> None:
    recorded, rows = Recorded(kind, 3), np.array([2, 3])
    for _ in range(5):
        recorded.append([3, 1])
    targets = len(recorded.engine.model.spec.targets)
    found = relative_errors(recorded.memories.states, rows, targets)
    assert found.shape == (2, targets)
    assert found.tobytes() == summarize(recorded.engine, rows).relative_mae.tobytes()


def test_a_summary_changes_nothing() -> None:
    recorded = Recorded("pair", 2)
    recorded.append([1, 2])
    before = recorded.memories.records(np.array([1, 2]))
    summarize(recorded.engine, np.array([1, 2]))
    assert recorded.memories.records(np.array([1, 2])) == before
