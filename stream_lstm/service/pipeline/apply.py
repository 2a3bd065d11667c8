"""Applying a journal entry: the engine's predictions, and everything that observes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.engine import Engine
from stream_lstm.core.predictions import Predictions
from stream_lstm.events import CLOCK_BITS, Clock
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.pipeline.recorder import Recorder
from stream_lstm.service.pipeline.staleness import StalenessMonitor
from stream_lstm.store.entry import Entry

EVENT = int(Clock.EVENT)  # plain: comparing an enum is slow


class Applier:
    """Applies entries to memory; counters, staleness, registry and recorder see each of them once."""

    def __init__(
        self,
        engine: Engine,
        staleness: StalenessMonitor,
        recorder: Recorder,
        counters: Counters,
    ) -> None:
        self._staleness = staleness
        self._recorder = recorder
        self._counters = counters
        self.engine = engine

    def apply(self, entry: Entry, rows: NDArray[np.intp], now: float) -> Predictions:
        """Apply an entry's events to these rows."""
        batch = entry.batch.with_streams(rows)
        predictions = self.engine.apply(batch)
        totals = predictions.totals()
        self._staleness.observe(rows, predictions.anomaly, entry.number, now)
        self._recorder.record_batch(batch, predictions, totals, now)
        self._counters.observe_predictions(totals)
        self._counters.observe_ages(batch.times[batch.marks & CLOCK_BITS == EVENT], now)
        return predictions
