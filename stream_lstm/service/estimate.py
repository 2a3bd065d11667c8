"""What a number of streams needs, before they are there."""

from __future__ import annotations

from stream_lstm.core.memory import row_type
from stream_lstm.core.model import Model

# Beside its record a stream has a key, an entry in a table of rows and one in the service's columns.
KEY_BYTES = 190
DISK_BYTES = 3_900  # a record in SQLite's pages, its key twice, and both once more in the log; measured
DEFAULT_RECORD_BYTES = 1_004  # of the default model
JOURNAL_BYTES = 41  # an event of one feature; measured by tests/store
PROCESS_BYTES = 75_000_000  # interpreter, numpy, the libraries


def estimate(model: Model, streams: int) -> list[str]:
    """Memory and disk for so many streams, in plain lines."""
    record = row_type(model.description).itemsize
    memory = PROCESS_BYTES + streams * (record + KEY_BYTES)
    disk = streams * (DISK_BYTES + 3 * (record - DEFAULT_RECORD_BYTES))
    return [
        f"{streams:,} streams: about {memory / 1e6:,.0f} MB of memory, {disk / 1e6:,.0f} MB of disk",
        f"each event: about {JOURNAL_BYTES} bytes of journal, kept until the next checkpoint or as history",
    ]
