"""Admission: finds or loads the rows of the events' streams; rejects late events.

`state.residency` loads streams and limits the rate of new ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories
from stream_lstm.service.pipeline.ingest import Ingested
from stream_lstm.service.pipeline.lateness import LatenessFilter
from stream_lstm.service.state.residency import Residency


class Admitted(NamedTuple):
    """Where the events' streams are.

    Attributes:
        rows: (N,) of each event, in memory.
        new_streams: number and key of each stream that had no event before.
    """

    rows: NDArray[np.intp]
    new_streams: list[tuple[int, str]]


class Admission:
    """Finds rows for events, and rejects those that get none.

    Args:
        features: numbers in an event.
    """

    def __init__(
        self, memories: Memories, residency: Residency, lateness: LatenessFilter, *, features: int
    ) -> None:
        self._memories = memories
        self._residency = residency
        self._lateness = lateness
        self._features = features

    async def admit(self, ingested: Ingested) -> Admitted:
        """Find the rows; rejected events are removed from `ingested`."""
        events, memories = ingested.events, self._memories
        rows = memories.rows(events.keys)
        new_streams: list[tuple[int, str]] = []
        if None in rows:
            new_streams, rejected = await self._residency.admit(events.keys)
            if rejected:
                errors = {n: rejected[key] for n, key in enumerate(events.keys) if key in rejected}
                ingested.reject_events(errors, features=self._features)
            rows = memories.rows(events.keys)
        if self._lateness.enabled and (late := self._lateness.rejected(events, np.array(rows, np.intp))):
            ingested.reject_events(late, features=self._features)
            rows = memories.rows(events.keys)
        return Admitted(np.array(rows, np.intp), new_streams)  # each has one now
