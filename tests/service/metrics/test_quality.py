"""Number of streams that are predicted well."""

from __future__ import annotations

import numpy as np

from stream_lstm.core.memory import Memories
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.service.metrics.quality import StreamQuality, stream_quality
from tests.core.models import description


def test_warm_streams_that_are_not_flat_are_judged_by_relative_error_and_coverage() -> None:
    memories = Memories(description(), rows_max=5)
    rows = np.array([memories.add(str(n), n + 1) for n in range(5)])
    records = memories.take(rows)
    records["seq"] = [WARM_EVENTS, WARM_EVENTS, WARM_EVENTS, WARM_EVENTS - 1, WARM_EVENTS]
    records["erred"][:, 0] = [0.5, 1.5, 0.9, 9.0, 0.0]  # the last one is flat, the one before cold
    records["moved"][:, 0] = [1.0, 1.0, 1.0, 1.0, 0.0]
    records["covered"][:, 0] = [0.9, 0.94, 0.8, 0.0, 1.0]
    memories.put(rows, records)
    assert stream_quality(memories, 0.9) == StreamQuality(judged=3, worse=1, covered=2)
    assert stream_quality(memories, 0.8) == StreamQuality(judged=3, worse=1, covered=1)


def test_without_streams_all_numbers_are_zero() -> None:
    assert stream_quality(Memories(description(), rows_max=5), 0.9) == StreamQuality(0, 0, 0)
