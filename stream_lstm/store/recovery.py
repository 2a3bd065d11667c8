"""What a service needs to come back: where the journal must be applied from, and what may come again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_lstm.store.database import WINDOW_MESSAGES, Database


@dataclass(frozen=True, slots=True)
class Recovery:
    """The state's own account of itself.

    Attributes:
        last_entry: number of the last committed entry, 0 if there is none.
        published_through: entries up to this one have had their predictions delivered.
        settled: the broker knows the messages of entries up to this one as acknowledged.
        horizon: the journal is applied to the records from this entry on.
        next_stream_id: for the next new stream.
        window: (M, 3) of messages that may come again: topic's digest, content's digest, entry; oldest first.
    """

    last_entry: int
    published_through: int
    acked_through: int
    horizon: int
    next_stream_id: int
    window: NDArray[np.uint64]


def load(database: Database) -> Recovery:
    """Read it, records apart.

    Raises:
        StateCorrupt: an entry is not as it was written.
    """
    digests = [np.empty((0, 3), np.uint64)]
    for entry in database.entries(0):
        number = np.full((len(entry.digests), 1), entry.number, np.uint64)
        digests.append(np.hstack([entry.digests, number]))
    return Recovery(
        last_entry=database.last_entry,
        published_through=database.published_through,
        acked_through=database.acked_through,
        horizon=database.horizon,
        next_stream_id=database.next_stream_id,
        window=np.concatenate(digests)[-WINDOW_MESSAGES:],
    )
