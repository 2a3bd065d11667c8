"""Estimate of memory and disk for a number of streams."""

from __future__ import annotations

from typing import NamedTuple

from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.state import state_type
from stream_lstm.core.views.history import HistorySize

# Of memory for each stream beside its record: its key, an entry of the row table, the service's columns.
KEY_BYTES = 190
DISK_BYTES = 3_900  # measured: a record in SQLite's pages, its key twice, and both again in the WAL
DEFAULT_RECORD_BYTES = 1_004  # of the default model, which DISK_BYTES was measured with
JOURNAL_BYTES = 41  # of an event of one feature; measured by tests/store
PROCESS_BYTES = 190_000_000  # interpreter, numpy, the compiler, the libraries; measured at the start


class Estimate(NamedTuple):
    """Memory and disk for a number of streams.

    Attributes:
        memory_bytes: in total, including `recent_bytes`.
        disk_bytes: without the journal.
        journal_bytes_per_event: kept until the next checkpoint, or as history.
        recent_events: kept for the live page, over all streams.
        recent_bytes: memory of the recent events.
    """

    streams: int
    memory_bytes: int
    disk_bytes: int
    journal_bytes_per_event: int
    recent_events: int
    recent_bytes: int

    def lines(self) -> list[str]:
        """The estimate in sentences."""
        memory, disk = self.memory_bytes / 1e6, self.disk_bytes / 1e6
        out = [f"{self.streams:,} streams: about {memory:,.0f} MB of memory, {disk:,.0f} MB of disk"]
        if self.recent_events:
            out.append(
                f"of that memory, {self.recent_bytes / 1e6:,.1f} MB are for the last {self.recent_events:,} "
                "events on the live page (http.recent_events_max)"
            )
        journal = self.journal_bytes_per_event
        return [
            *out,
            f"about {journal} bytes of journal per event, kept until the next checkpoint or as history",
        ]


def estimate(model: LstmModel, streams: int, *, recent_events: int) -> Estimate:
    """Estimate memory and disk.

    Args:
        streams: number of streams.
        recent_events: events kept for the live page.
    """
    record, recent = state_type(model.spec).itemsize, HistorySize.of(model.spec, recent_events)
    recent_bytes = recent.full_bytes if recent_events else 0
    return Estimate(
        streams=streams,
        memory_bytes=PROCESS_BYTES + streams * (record + KEY_BYTES) + recent_bytes,
        disk_bytes=streams * (DISK_BYTES + 3 * (record - DEFAULT_RECORD_BYTES)),
        journal_bytes_per_event=JOURNAL_BYTES,
        recent_events=recent_events,
        recent_bytes=recent_bytes,
    )
