"""Number of streams that are predicted well."""

from __future__ import annotations

import pytest

from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.service.metrics.quality import StreamQuality, stream_quality
from tests.core.models import KINDS, engine, random_model


def test_warm_streams_that_are_not_flat_are_judged_by_relative_error_and_coverage() -> None:
    running = engine(random_model(), 5)
    states = running.memories.states[1:6]
    accuracy = states["targets"]["accuracy"][:, 0]
    states["seq"] = [WARM_EVENTS, WARM_EVENTS, WARM_EVENTS, WARM_EVENTS - 1, WARM_EVENTS]
    accuracy["mae"] = [0.5, 1.5, 0.9, 9.0, 0.0]  # the last one is flat, the one before cold
    accuracy["naive_mae"] = [1.0, 1.0, 1.0, 1.0, 0.0]
    accuracy["coverage"] = [0.9, 0.94, 0.8, 0.0, 1.0]
    assert stream_quality(running, 0.9) == StreamQuality(judged=3, worse=1, covered=2)
    assert stream_quality(running, 0.8) == StreamQuality(judged=3, worse=1, covered=1)


@pytest.mark.parametrize("kind", ["step", "classes"])
def test_without_streams_or_targets_all_numbers_are_zero(kind: str) -> None:
    running = engine(random_model(**KINDS[kind]), int(kind == "classes"))
    running.memories.states["seq"][1] = WARM_EVENTS if kind == "classes" else 0
    assert stream_quality(running, 0.9) == StreamQuality(0, 0, 0)
