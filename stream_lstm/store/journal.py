"""The write-ahead journal of events, table `journal`: one row per committed entry, numbered without a gap.

The oldest rows are trimmed. (`wal` is about SQLite's own write-ahead log.)

Nothing here begins or ends a transaction; `Database` does. So a write has two steps: the statement, and after
the commit the numbers in memory.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stream_lstm.store.entry import Entry, decode, encode
from stream_lstm.store.faults import corrupt
from stream_lstm.store.meta import NUMBER_MAX
from stream_lstm.store.progress import Progress

# Messages that the dedup window needs. A broker holds at most 65,535 unacknowledged messages of a connection:
# packet ids have 16 bits, and 0 is not one (MQTT 5.0, 2.2.1).
WINDOW_MESSAGES = 65_536
TRIM_ENTRIES_MAX = 512  # of one transaction: the next commit waits for no more than this
_SELECT = "SELECT number, time, messages, blob FROM journal"


class JournalRow(NamedTuple):
    """A row of the table.

    Attributes:
        time: of the newest event, epoch seconds; 0 without events.
        messages: how many the broker may send again.
    """

    number: int
    time: float
    messages: int
    blob: bytes


def _row(entry: Entry, encoded: bytes) -> JournalRow:
    newest = float(entry.batch.times.max(initial=0.0))
    return JournalRow(entry.number, newest, len(entry.digests), encoded)


class WindowEntries:
    """Newest entries that together hold the messages of the dedup window.

    Args:
        messages_min: keep as few entries as hold this many messages.
        newest: number and messages of entries, newest first; read only as far as needed.
    """

    def __init__(self, messages_min: int, newest: Iterable[tuple[int, int]] = ()) -> None:
        self._messages_min = messages_min
        self._messages = 0
        self._entries: deque[tuple[int, int]] = deque()
        for number, messages in newest:
            if self._messages >= messages_min:
                break
            self._entries.appendleft((number, messages))
            self._messages += messages

    @property
    def first(self) -> int | None:
        """Number of the oldest entry, None without entries."""
        return self._entries[0][0] if self._entries else None

    def append(self, number: int, messages: int) -> None:
        """Add the next entry, and drop the oldest that are no longer needed."""
        if messages:
            self._entries.append((number, messages))
            self._messages += messages
        while self._entries and self._messages - self._entries[0][1] >= self._messages_min:
            self._messages -= self._entries.popleft()[1]

    def validate(self, kept: list[tuple[int, int]]) -> None:
        """Check the invariants.

        Args:
            kept: number and messages of the journal's entries with messages, oldest first.

        Raises:
            AssertionError: one does not hold.
        """
        counted = sum(messages for _, messages in self._entries)
        assert self._messages == counted, f"dedup window counts {self._messages} messages of {counted}"
        needed = len(WindowEntries(self._messages_min, reversed(kept))._entries)
        assert list(self._entries) == kept[len(kept) - needed :], (
            f"dedup window does not hold the newest {needed} entries with messages"
        )


class Journal:
    """Committed entries, oldest first.

    Args:
        path: of the file, for errors.
        horizon: from table `meta`.
        closed_after: from table `meta`: the last entry when the last owner closed cleanly; None if never.

    Attributes:
        last_entry: number of the last committed entry, 0 if there is none.
        horizon: the first entry that recovery must apply to the records.
        closed_cleanly: True if the last owner closed with nothing in flight, and no commit came since.
        published_through: the last entry whose predictions are known to have reached the broker.
        acked_through: at opening, the last entry up to which the broker was known to have every
            acknowledgement.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: str, *, horizon: int, closed_after: object
    ) -> None:
        self._connection = connection
        self._path = path
        self._window = WindowEntries(0)  # a reader trims nothing; an owner calls `read_window`
        self.horizon = horizon
        row = connection.execute(f"{_SELECT} ORDER BY number DESC LIMIT 1").fetchone()
        last = self._verified(JournalRow(*row)) if row else None
        self.last_entry = last.number if last else 0
        (first,) = connection.execute("SELECT min(number) FROM journal").fetchone()
        if not 1 <= (first or 1) <= horizon <= self.last_entry + 1 <= NUMBER_MAX:
            held = f"entries {first} to {self.last_entry}" if last else "no entry"
            raise corrupt(path, f"its journal has {held}, and recovery needs those from {horizon} on")
        self.closed_cleanly = closed_after == self.last_entry
        self.published_through = self.acked_through = self.last_entry
        if last and not self.closed_cleanly:
            self.published_through, self.acked_through = last.published_through, last.acked_through
        # Entries are trimmed only after their predictions have reached the broker.
        self.published_through = max(self.published_through, horizon - 1)

    def resume(self, progress: Progress) -> None:
        """Take what was known at the end of the last run, after its last commit."""
        self.published_through = max(self.published_through, min(progress.published_through, self.last_entry))
        self.acked_through = max(self.acked_through, min(progress.acked_through, self.last_entry))

    def read_window(self, messages_min: int) -> None:
        """Read which entries the dedup window needs; `removable` keeps these from then on."""
        newest = self._connection.execute(
            "SELECT number, messages FROM journal WHERE messages > 0 ORDER BY number DESC"
        )
        self._window = WindowEntries(messages_min, newest)

    def next_row(self, entry: Entry, encoded: bytes | None = None) -> JournalRow:
        """The row of the next entry.

        Args:
            encoded: the entry, if it is encoded already.

        Raises:
            ValueError: its number does not follow the last one's.
        """
        if entry.number != self.last_entry + 1:
            raise ValueError(f"entry {entry.number} does not follow entry {self.last_entry}")
        return _row(entry, encode(entry) if encoded is None else encoded)

    def insert(self, row: JournalRow) -> None:
        """Write a row, in one statement."""
        self._connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?)", row)

    def advance(self, entry: Entry) -> None:
        """Note that an entry is durable."""
        self.last_entry, self.closed_cleanly = entry.number, False
        self.published_through = max(self.published_through, entry.published_through)
        self._window.append(entry.number, len(entry.digests))

    def removable(self, through: int, *, before: float, bytes_max: int) -> list[int]:
        """Oldest entries that neither recovery, the dedup window nor the history needs.

        Args:
            through: recovery needs no entry up to this one.
            before: entries with an event from this time on are history, epoch seconds …
            bytes_max: … as long as the journal is not larger than this.

        Returns:
            At most `TRIM_ENTRIES_MAX` numbers in order.
        """
        first = self._window.first
        floor = self.last_entry if first is None else first
        most = min(through, floor - 1, self.last_entry - 1)
        (size,) = self._connection.execute("SELECT total(length(blob)) FROM journal").fetchone()
        oldest = self._connection.execute(
            "SELECT number, time, length(blob) FROM journal WHERE number <= ? ORDER BY number LIMIT ?",
            (most, TRIM_ENTRIES_MAX),
        ).fetchall()
        numbers = []
        for number, time, length in oldest:
            if time >= before and size <= bytes_max:
                break
            size -= length
            numbers.append(number)
        return numbers

    def remove(self, numbers: list[int]) -> None:
        """Delete the oldest entries, as `removable` found them; no statement without any."""
        if numbers:
            self._connection.execute("DELETE FROM journal WHERE number <= ?", (numbers[-1],))

    def entries(self, after: int) -> Iterator[Entry]:
        """Read the entries with higher numbers, in order.

        Raises:
            StateCorrupt: one is missing or damaged.
        """
        found = self._connection.execute(f"{_SELECT} WHERE number > ? ORDER BY number", (after,))
        expected = None
        for row in map(JournalRow._make, found):
            if expected is not None and row.number != expected:
                raise corrupt(self._path, f"journal entry {expected} is missing")
            expected = row.number + 1
            yield self._verified(row)

    def _verified(self, row: JournalRow) -> Entry:
        """The entry of a row, whose other columns repeat what its blob holds."""
        entry = decode(row.number, row.blob, path=self._path)
        if row != _row(entry, row.blob):
            raise corrupt(self._path, f"journal entry {row.number} does not match its columns")
        return entry

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: one does not hold.
        """
        rows = self._connection.execute("SELECT number, messages FROM journal ORDER BY number").fetchall()
        numbers = [number for number, _ in rows]
        last = self.last_entry
        first = last - len(numbers) + 1
        assert numbers == list(range(first, last + 1)), f"journal entries {numbers} are not {first} to {last}"
        assert 1 <= first <= self.horizon <= last + 1, (
            f"horizon {self.horizon} is not from {first} to {last + 1}"
        )
        assert 0 <= self.published_through <= last, f"published through {self.published_through} of {last}"
        assert 0 <= self.acked_through <= last, f"acknowledged through {self.acked_through} of {last}"
        if self.closed_cleanly:
            assert self.published_through == self.acked_through == last, "closed before the last entry"
        self._window.validate([(number, messages) for number, messages in rows if messages])
