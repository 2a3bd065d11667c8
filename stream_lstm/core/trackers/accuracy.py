"""How well a stream has been predicted of late: its own figures, to be held against "same as last time"."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.trackers.scale import Doubles

MEMORY_EVENTS = 500.0
MOVED_MIN, ERROR_MAX = 1e-9, 1e6  # deviations: less is rounding, and more says no more
WARM_EVENTS = 100  # a stream of fewer is cold: little is known of it


class Accuracy(NamedTuple):
    """Running means over the last hundreds of events, (B, T) each."""

    erred: Doubles  # |value - expected|, in deviations
    moved: Doubles  # |value - last value|, in deviations
    covered: Doubles  # share of values inside their interval

    def ratio(self) -> Doubles:
        """Error by that of "same as last time"; NaN where nothing ever moved or was judged."""
        judged = self.moved > MOVED_MIN
        return np.where(judged, self.erred / np.where(judged, self.moved, 1.0), np.nan)


def update(
    before: Accuracy, error: Doubles, step: Doubles, missed: NDArray[np.bool_], seq: NDArray[np.int64]
) -> Accuracy:
    """The skill after one more event of each stream.

    Args:
        before: ignored where `seq` is 1.
        error: |value - expected|, in deviations, NaN where nothing was expected.
        step: |value - the one before|, likewise.
        missed: the value lay outside its interval.
        seq: (B,) how many events the stream has had, this one included.
    """
    known = ~np.isnan(error + step)
    gain = np.maximum(1.0 / np.maximum(seq - 1, 1), 1.0 / MEMORY_EVENTS)[:, None]
    old, news = np.array(before), np.minimum(np.array([error, step, ~missed]), ERROR_MAX)
    if np.count_nonzero(known) < known.size:  # what is not known changes nothing
        old = np.where((seq == 1)[:, None], 0.0, old)
        gain, news = np.where(known, gain, 0.0), np.where(known, news, 0.0)
    return Accuracy(*(old + gain * (news - old)))
