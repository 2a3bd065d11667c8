"""How all streams stand at once: how many are predicted better than by "same as last time", and covered."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream_lstm.core.memory import Memories
from stream_lstm.core.trackers.accuracy import WARM_EVENTS, Accuracy

COVERED_WITHIN = 0.05  # of the last few hundred values, beside the share that is meant


class StreamQuality(NamedTuple):
    """How many streams in memory."""

    judged: int  # warm, and not flat
    worse: int
    covered: int


def stream_quality(memories: Memories, interval: float) -> StreamQuality:
    """Look at every stream in memory; its worst target counts.

    Args:
        interval: share of values that are to lie inside their interval.
    """
    rows = memories.taken()
    rows = rows[memories.column("seq", rows) >= WARM_EVENTS]
    skill = Accuracy.read(lambda name: memories.column(name, rows))
    ratio = skill.relative_mae()
    judged = ~np.isnan(ratio).all(axis=1)
    ratio, share = np.nan_to_num(ratio[judged]), skill.coverage[judged]
    return StreamQuality(
        judged=int(judged.sum()),
        worse=int((ratio > 1.0).any(axis=1).sum()),
        covered=int((np.abs(share - interval) <= COVERED_WITHIN).all(axis=1).sum()),
    )
