"""Whether SQLite reads all of its write-ahead log.

SQLite takes what does not verify for the end that a crash has torn, and reads up to there: so one flipped
bit in the middle of a log would cost, without a word, all that was committed after it. But a crash tears only
the last transaction, because a commit waits for the disk (`synchronous=FULL`). A commit that SQLite does not
read, with more of the same log behind it, is damage.

Format: https://sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from stream_lstm.errors import StateCorrupt
from stream_lstm.store.files import quoted

_READ = struct.Struct("=16xL")  # in the index beside the log: how many frames are valid
_HEADER = struct.Struct(">4L8s8s")  # magic, version, bytes of a page, number; salts; checksum
_FRAME = struct.Struct(">2L8sQ")  # page, pages after a commit (0: no commit); salts; checksum


def verify_wal(path: Path) -> None:
    """Refuse a state file whose log is damaged in its middle; nothing is changed.

    Raises:
        StateCorrupt: it is.
    """
    log, index = Path(f"{path}-wal"), Path(f"{path}-shm")
    if not log.exists() or log.stat().st_size <= _HEADER.size:
        return
    # To read only: the last one to leave who may write empties the log and removes it.
    with closing(sqlite3.connect(f"file:{quoted(path)}?mode=ro", uri=True)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master")
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        (frames,) = _READ.unpack(index.read_bytes()[: _READ.size])
        unread = _unread(log, frames, page_bytes)
    if unread:
        raise StateCorrupt(
            "read",
            str(log),
            f"is damaged, and at least {unread} commits behind the damage cannot be read",
            f"restore a snapshot, or move {log} away to go on from the last commit before the damage: "
            "events since then are lost",
        )


def _unread(log: Path, frames: int, page_bytes: int) -> int:
    """How many commits of a log lie behind the frames that SQLite reads, but for one at its very end."""
    size = _FRAME.size + page_bytes
    with log.open("rb") as file:
        header = file.read(_HEADER.size)
        count = (os.fstat(file.fileno()).st_size - _HEADER.size) // size
        at = (_HEADER.size + n * size for n in range(frames, count))
        found = [_FRAME.unpack(os.pread(file.fileno(), _FRAME.size, place)) for place in at]
    if not found:
        return 0
    salts = _salts(header, found[0][2])
    mine = [pages for _, pages, theirs, _ in found if theirs == salts]
    return sum(pages > 0 for pages in mine[:-1])


def _salts(header: bytes, first: bytes) -> bytes:
    """What marks the frames of this log; one that begins anew has others than the frames left over in it."""
    salts = header[16:24]
    if _checksum(header[:24]) == header[24:]:
        return salts
    # SQLite reads nothing because of the header. Were the first frame's salts once in it?
    return first if _checksum(header[:16] + first) == header[24:] else salts


def _checksum(content: bytes) -> bytes:
    """SQLite's, over the header as little- or big-endian words, as its magic says."""
    order = ">" if content[3] & 1 else "<"
    words = struct.unpack(f"{order}{len(content) // 4}L", content)
    a = b = 0
    for n in range(0, len(words), 2):
        a = (a + words[n] + b) & 0xFFFF_FFFF
        b = (b + words[n + 1] + a) & 0xFFFF_FFFF
    return struct.pack(">2L", a, b)
