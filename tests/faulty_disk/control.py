"""Control of a faulty disk: the faults that it is to have, and what it has done.

It is a small file that the test and the process with the disk have both mapped into memory.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

FOREVER = 2.0**60
FIELDS = (
    # Set by the test: how many calls fail, after how many that do not; the result code of a failed write; and
    # the seconds that each call takes.
    *("sync_errors", "sync_errors_after", "write_errors", "write_errors_after", "write_code"),
    *("sync_seconds", "write_seconds"),
    # Counted by the disk: calls that succeeded, of the log and of the database file; calls that failed.
    *("log_syncs", "file_syncs", "log_writes", "file_writes", "failed"),
)


class Control:
    """The fields by name, all of them numbers.

    Args:
        path: of the file; made, with zeros, if it is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * len(FIELDS)))
        self._numbers = np.memmap(path, np.float64, "r+", shape=(len(FIELDS),))
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> float:
        return float(self._numbers[FIELDS.index(name)])

    def __setitem__(self, name: str, number: float) -> None:
        self._numbers[FIELDS.index(name)] = number

    def add(self, name: str, number: float) -> float:
        """Add to a number; returns what it was."""
        with self._lock:  # the database is open in several threads
            before = self[name]
            self[name] = before + number
            return before

    def take(self, faults: str) -> bool:
        """True if this call is to fail."""
        with self._lock:
            if not (left := self[faults]):
                return False
            if spared := self[f"{faults}_after"]:
                self[f"{faults}_after"] = spared - 1
                return False
            self[faults] = left - 1
            return True
