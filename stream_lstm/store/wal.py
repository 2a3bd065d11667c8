"""Write-ahead log: its size, its checkpoint, a check that SQLite reads all of it, and that the disk holds it.

SQLite reads a log up to the first frame that does not verify, because a crash may have torn the last
transaction there. So one flipped bit in the middle of a log would drop, without an error, all that was
committed after it. But a crash tears only the last transaction, since a commit waits for the disk
(`synchronous=FULL`). A commit that SQLite does not read, with more of the same log behind it, is damage.

What SQLite reads may be in the kernel's memory alone: after a sync that failed, pages count as written and no
later sync writes them (https://wiki.postgresql.org/wiki/Fsync_Errors). A commit after them would be lost with
them in a power cut. So an owner writes the log again before it commits.

Format: https://sqlite.org/fileformat2.html#the_write_ahead_log, https://sqlite.org/walformat.html
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from stream_lstm.errors import StateCorrupt
from stream_lstm.store.faults import translated
from stream_lstm.store.files import BUSY_SECONDS_MAX, connect_reader, uri_path

COPY_BYTES = 1_048_576  # at once: bounds memory
_FRAMES = struct.Struct("=16xL")  # mxFrame, in the index beside the log: how many frames are valid
_HEADER = struct.Struct(">4L8s8s")  # magic, version, page size, sequence number; salts; checksum
_FRAME = struct.Struct(">2L8sQ")  # page, pages after a commit (0: no commit); salts; checksum


def wal_bytes(path: Path) -> int:
    """Size of a state file's write-ahead log, 0 if there is none."""
    return bytes_of(_log(path))


def bytes_of(path: Path) -> int:
    """Size of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def checkpoint_wal(path: Path) -> None:
    """Copy the log into the state file, so that it is written from its beginning again.

    It opens a connection of its own: any thread may call it while another commits.

    Raises:
        DiskFull, DiskFailed: the log stays as it is; nothing is lost.
    """
    with translated("flush", path):
        # Mode rw: SQLite would create a file that is gone, readable by all users.
        uri = f"file:{uri_path(path)}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS_MAX)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            connection.close()


@contextmanager
def checkpoint_prevented(path: Path) -> Iterator[None]:
    """Keep SQLite from copying the log into the state file when the owner's connection closes in this block.

    Only the last connection does so; one that was opened to read cannot.
    """
    with closing(connect_reader(path)) as connection:
        with suppress(sqlite3.Error):  # the file is damaged; by then it is open
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield


def verify_wal(path: Path, *, synced: bool = True) -> None:
    """Check that a log has its state file and is not damaged before its end, and write it to the disk.

    Args:
        synced: commits waited for the disk; otherwise a power cut may have damaged any part.

    Raises:
        StateCorrupt: the file is missing or empty, or commits follow the damage; nothing has changed.
    """
    log, index = _log(path), Path(f"{path}-shm")
    if not log.exists() or log.stat().st_size <= _HEADER.size:
        return
    if not path.exists() or not path.stat().st_size:  # SQLite would remove the log
        problem = f"is missing or empty, but its write-ahead log {log} is there"
        hint = "move the file back or restore a snapshot; remove the log to start without memory"
        raise StateCorrupt("open", str(path), problem, hint)
    if not synced:
        return
    # Read-only: the last connection to close would otherwise empty the log and remove it.
    with closing(connect_reader(path)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master")
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        (frames,) = _FRAMES.unpack(index.read_bytes()[: _FRAMES.size])
        unread = _unread(log, frames, page_bytes)
    if unread:
        raise StateCorrupt(
            "read",
            str(log),
            f"is damaged, and at least {unread} commits after the damage cannot be read",
            f"restore a snapshot, or move {log} away: events that only it holds are lost",
        )
    _write_again(log, _HEADER.size + frames * (_FRAME.size + page_bytes))


def _write_again(log: Path, size: int) -> None:
    """Write the beginning of the log in its place, unchanged, and sync it; others may read it meanwhile."""
    file = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    try:
        at = 0
        while content := os.pread(file, min(COPY_BYTES, size - at), at):
            at += os.pwrite(file, content, at)
        os.fsync(file)
    finally:
        os.close(file)


def _unread(log: Path, frames: int, page_bytes: int) -> int:
    """Count the commits after the frames that SQLite reads, without one at the very end.

    Args:
        frames: how many SQLite reads.
    """
    frame_bytes = _FRAME.size + page_bytes
    with log.open("rb") as file:
        header = file.read(_HEADER.size)
        count = (os.fstat(file.fileno()).st_size - _HEADER.size) // frame_bytes
        offsets = (_HEADER.size + n * frame_bytes for n in range(frames, count))
        found = [_FRAME.unpack(os.pread(file.fileno(), _FRAME.size, offset)) for offset in offsets]
    if not found:
        return 0
    salts = _salts(header, found[0][2])
    of_this_log = [pages for _, pages, frame_salts, _ in found if frame_salts == salts]
    return sum(pages > 0 for pages in of_this_log[:-1])


def _salts(header: bytes, first: bytes) -> bytes:
    """Salts of this log's frames; frames left over from before the log restarted have others.

    Args:
        header: of the log.
        first: salts of its first unread frame.
    """
    salts = header[16:24]
    if _checksum(header[:24]) == header[24:]:
        return salts
    # The header is damaged, so SQLite reads no frame. It is this log's if it verifies with the frame's salts.
    return first if _checksum(header[:16] + first) == header[24:] else salts


def _checksum(content: bytes) -> bytes:
    """SQLite's checksum, over little- or big-endian words as the header's magic number says."""
    order = ">" if content[3] & 1 else "<"
    words = struct.unpack(f"{order}{len(content) // 4}L", content)
    a = b = 0
    for n in range(0, len(words), 2):
        a = (a + words[n] + b) & 0xFFFF_FFFF
        b = (b + words[n + 1] + a) & 0xFFFF_FFFF
    return struct.pack(">2L", a, b)


def _log(path: Path) -> Path:
    return Path(f"{path}-wal")
