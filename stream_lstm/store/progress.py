"""Progress between two commits: how far the broker is known to have predictions and acknowledgements.

Each journal entry notes both as of its commit. What is known later is written here, into the lock file, which
its owner has open: after a kill, fewer predictions are published again, and fewer payloads without a time can
be taken for duplicates. It is written without fsync, so it outlives the process and not always the machine;
the entry's own numbers then apply. The note names the start of its run, so one of another state file, or of
another run, does not count; and it never says more than the journal holds.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import NamedTuple

import xxhash

_NOTE = struct.Struct("<QQQ")  # start of the run, published_through, acked_through
_CHECKSUM = struct.Struct("<Q")
_BYTES = _NOTE.size + _CHECKSUM.size


class Progress(NamedTuple):
    """Last entries of which the broker is known to have everything.

    Attributes:
        published_through: the predictions of entries up to this one.
        acked_through: the acknowledgements of the messages of entries up to this one.
    """

    published_through: int
    acked_through: int


def read(lock: int, started_ms: int) -> Progress:
    """Read the note of a run; zeros if there is none.

    Args:
        lock: descriptor of the lock file.
        started_ms: start of the run, from table `meta`.
    """
    found = os.pread(lock, _BYTES, 0)
    if len(found) == _BYTES and found[_NOTE.size :] == _checksum(found[: _NOTE.size]):
        started, *numbers = _NOTE.unpack_from(found)
        if started == started_ms:
            return Progress(*numbers)
    return Progress(0, 0)


def write(lock: int, started_ms: int, progress: Progress) -> None:
    """Replace the note; without space for it, nothing is noted, and the next entry has the same numbers."""
    note = _NOTE.pack(started_ms, *progress)
    with suppress(OSError):
        os.pwrite(lock, note + _checksum(note), 0)


def _checksum(note: bytes) -> bytes:
    return _CHECKSUM.pack(xxhash.xxh3_64_intdigest(note))
