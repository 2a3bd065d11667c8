"""Number of streams that are predicted well: accuracy and coverage over all streams in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_lstm.core.memory import Memories
from stream_lstm.core.trackers.accuracy import WARM_EVENTS, Accuracy

COVERAGE_TOLERANCE = 0.05  # beside the target; a stream's coverage is that of its last few hundred values


class StreamQuality(NamedTuple):
    """Numbers of streams in memory."""

    judged: int  # warm and not flat
    worse: int  # of these: less accurate than the last-value forecast
    covered: int  # of these: coverage near the target


def stream_quality(memories: Memories, interval: float) -> StreamQuality:
    """Count the streams in memory by relative error and coverage; a stream's worst target counts.

    Args:
        memories: all streams in memory.
        interval: target coverage, `model.interval`.
    """
    rows = memories.taken()
    rows = rows[memories.column("seq", rows) >= WARM_EVENTS]
    accuracy = Accuracy.read(lambda name: memories.column(name, rows))
    relative = accuracy.relative_mae()
    judged = ~np.isnan(relative).all(axis=1)
    relative, coverage = np.nan_to_num(relative[judged]), accuracy.coverage[judged]
    return StreamQuality(
        judged=int(judged.sum()),
        worse=int((relative > 1.0).any(axis=1).sum()),
        covered=int((np.abs(coverage - interval) <= COVERAGE_TOLERANCE).all(axis=1).sum()),
    )
