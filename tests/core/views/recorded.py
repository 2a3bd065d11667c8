"""An engine with a history, for the tests of this package."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_lstm.core.predictions import Predictions
from stream_lstm.core.views.history import RARE_GAP_SECONDS, History
from stream_lstm.events import Batch
from tests.core.models import KINDS, engine, random_model

MODELS = {name: random_model(**changes) for name, changes in KINDS.items()}


class Recorded:
    """An engine whose batches are appended to a history.

    Args:
        kind: of the model.
        streams: in rows 1, 2, …
        rare: rows of streams with rare events.
    """

    def __init__(
        self, kind: str, streams: int, *, events_max: int = 1_000, rare: Sequence[int] = (), seed: int = 1
    ) -> None:
        self.engine = engine(MODELS[kind], streams)
        self.memories = self.engine.memories
        self.longest_gap = np.zeros(self.memories.rows_max + 1, np.float32)
        self.longest_gap[list(rare)] = RARE_GAP_SECONDS + 1
        self.history = History(self.engine.model, self.memories, self.longest_gap, events_max=events_max)
        self._rng = np.random.default_rng(seed)

    def number(self, row: int) -> int:
        """The number of the stream in a row."""
        return int(self.memories.ids[row])

    def seqs(self, row: int, count: int = 99) -> list[int]:
        """Which events of a row's stream the history has."""
        found: list[int] = self.history.events_of(self.number(row), count)["seq"].tolist()
        return found

    def append(self, rows: Sequence[int], mark: int = 0) -> tuple[Batch, Predictions]:
        """Apply and record drawn events of these rows."""
        wide, rng = len(self.engine.model.spec.features), self._rng
        batch = Batch(
            streams=np.array(rows, np.intp),
            times=1.7e9 + rng.uniform(0, 60, len(rows)).cumsum(),
            marks=np.full(len(rows), mark, np.uint8),
            values=rng.normal(20, 3, (len(rows), wide)),
        )
        predictions = self.engine.apply(batch)
        self.history.append(batch, predictions)
        return batch, predictions
