"""What a number of streams needs, before they are there."""

from __future__ import annotations

from typing import NamedTuple

from stream_lstm.core.model.file import Model
from stream_lstm.core.record import row_type
from stream_lstm.core.views.history import HistorySize

# Beside its record a stream has a key, an entry in a table of rows and one in the service's columns.
KEY_BYTES = 190
DISK_BYTES = 3_900  # a record in SQLite's pages, its key twice, and both once more in the log; measured
DEFAULT_RECORD_BYTES = 1_004  # of the default model
JOURNAL_BYTES = 41  # an event of one feature; measured by tests/store
PROCESS_BYTES = 75_000_000  # interpreter, numpy, the libraries


class Estimate(NamedTuple):
    """What so many streams need.

    Attributes:
        memory_bytes: in all, `recent_bytes` included.
        disk_bytes: without the journal.
        journal_bytes_per_event: until the next checkpoint, or as history.
        recent_events: are kept for the live page, of all streams together.
        recent_bytes: of memory, once so many have come.
    """

    streams: int
    memory_bytes: int
    disk_bytes: int
    journal_bytes_per_event: int
    recent_events: int
    recent_bytes: int

    def lines(self) -> list[str]:
        """The same in words."""
        memory, disk = self.memory_bytes / 1e6, self.disk_bytes / 1e6
        out = [f"{self.streams:,} streams: about {memory:,.0f} MB of memory, {disk:,.0f} MB of disk"]
        if self.recent_events:
            out.append(
                f"of that memory, {self.recent_bytes / 1e6:,.1f} MB are for the last {self.recent_events:,} "
                "events, which the live page shows (http.recent_events_max)"
            )
        journal = self.journal_bytes_per_event
        return [
            *out,
            f"each event: about {journal} bytes of journal, kept until the next checkpoint or as history",
        ]


def estimate(model: Model, streams: int, *, recent_events: int) -> Estimate:
    """Memory and disk for so many streams, and so many events to look at."""
    record, recent = row_type(model.spec).itemsize, HistorySize.of(model.spec, recent_events)
    recent_bytes = recent.full_bytes if recent_events else 0
    return Estimate(
        streams=streams,
        memory_bytes=PROCESS_BYTES + streams * (record + KEY_BYTES) + recent_bytes,
        disk_bytes=streams * (DISK_BYTES + 3 * (record - DEFAULT_RECORD_BYTES)),
        journal_bytes_per_event=JOURNAL_BYTES,
        recent_events=recent_events,
        recent_bytes=recent_bytes,
    )
