"""Number of streams that are predicted well: accuracy and coverage over all streams in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_lstm.core.engine import Engine
from stream_lstm.core.trackers.accuracy import WARM_EVENTS
from stream_lstm.core.views.summary import relative_errors

COVERAGE_TOLERANCE = 0.05  # beside the target; a stream's coverage is that of its last few hundred values


class StreamQuality(NamedTuple):
    """Numbers of streams in memory."""

    judged: int  # warm and not flat
    worse: int  # of these: less accurate than the last-value forecast
    covered: int  # of these: coverage near the target


def stream_quality(engine: Engine, interval: float) -> StreamQuality:
    """Count the streams in memory by relative error and coverage; a stream's worst target counts.

    Args:
        engine: over all streams in memory.
        interval: target coverage, `model.interval`.
    """
    memories = engine.memories
    rows = memories.taken()
    rows = rows[memories.column("seq", rows) >= WARM_EVENTS]
    relative = relative_errors(memories.states, rows, len(engine.model.spec.targets))
    coverage = memories.target_column("accuracy.coverage", rows)
    judged = ~np.isnan(relative).all(axis=1)
    relative, coverage = np.nan_to_num(relative[judged]), coverage[judged]
    return StreamQuality(
        judged=int(judged.sum()),
        worse=int((relative > 1.0).any(axis=1).sum()),
        covered=int((np.abs(coverage - interval) <= COVERAGE_TOLERANCE).all(axis=1).sum()),
    )
