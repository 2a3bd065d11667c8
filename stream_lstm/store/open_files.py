"""Files of an open state: a check that each path still leads to the file that SQLite has open.

A file that is deleted, moved or replaced stays open: SQLite goes on writing to it without an error, and no
later start finds it. So a commit counts only if this check follows it. A log that was cut is extended again
by the next commit, with a hole, so its size is checked before.

SQLite's rules: https://sqlite.org/howtocorrupt.html (sections 1.4, 2.4 and 4), https://sqlite.org/walformat.html
"""

from __future__ import annotations

import os
import sqlite3
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from stream_lstm.errors import StateLost

_MAGIC = b"SQLite format 3\0"
_WAL_MODE = b"\2\2"  # write and read version of the header, at offset 18; a snapshot has others
_HEADER_BYTES = 20
# Of the index: page size, 1 for 65,536; mxFrame, frames that are valid; nPage, pages after the last commit.
_INDEX = struct.Struct("=14xHLL")
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_RESTART = "start again, and restore a snapshot if the start reports damage"
_PUT_BACK = "move it back or restore a snapshot, then start again"


class _Opened(NamedTuple):
    """A file, and a descriptor of our own.

    Attributes:
        identity: device and inode.
    """

    path: str
    descriptor: int
    identity: tuple[int, int]


class OpenFiles:
    """State file, write-ahead log and its index, as the owner's connection has them open.

    Our own descriptors must be closed after that connection: the first to be closed ends SQLite's locks
    (https://sqlite.org/howtocorrupt.html, section 2.2). Any thread may call the methods.

    Args:
        path: of the state file, which SQLite has opened in write-ahead mode.
        descriptors: that of the lock file; ours are added.

    Attributes:
        lock: descriptor of the lock file.
    """

    def __init__(self, path: Path, descriptors: list[int]) -> None:
        real = path.resolve()  # SQLite names the log after the file that a link leads to
        # Absolute: a relative path would still lead to the file in a folder that was moved.
        self.lock = descriptors[0]
        self._file = _open(f"{path.absolute()}", descriptors)
        self._log = _open(f"{real}-wal", descriptors)
        self._index = _open(f"{real}-shm", descriptors)
        self._reading = threading.Lock()
        self._bytes = self._log_bytes = 0  # at the last check
        self._written = 0  # epoch nanoseconds, likewise
        self._damaged = False
        self._share_mode()

    def damaged(self) -> bool:
        """Check for the last time; True if a file was cut or overwritten.

        A checkpoint would then mix two contents.
        """
        with suppress(StateLost, OSError):
            self.verify("close")
            self.verify_log("close")
        return self._damaged

    def verify(self, operation: str) -> None:
        """Check that the state file and its log are the ones that are open, and were not overwritten.

        Args:
            operation: for the error ("commit", …).

        Raises:
            StateLost: a file is gone, or another one.
            OSError: a path cannot be read.
        """
        with self._reading:
            found = self._same(self._file, operation, _PUT_BACK)
            if found.st_mtime_ns != self._written:
                self._verify_content(found.st_size, operation)
                self._written = found.st_mtime_ns
            self._log_bytes = self._same(self._log, operation, _RESTART).st_size

    def _verify_content(self, size: int, operation: str) -> None:
        """Check a file that was written to: by a checkpoint, or by another program."""
        header = os.pread(self._file.descriptor, _HEADER_BYTES, 0)
        if size and not (header.startswith(_MAGIC) and header.endswith(_WAL_MODE)):
            self._damaged = True
            raise self._replaced(operation, "was overwritten while the service had it open")
        if size < self._bytes and not self._holds_all_pages(size):
            self._damaged = size > 0  # an empty file has nothing to be mixed with the log
            problem = f"was cut from {self._bytes} to {size} bytes while the service had it open"
            raise StateLost(operation, self._file.path, problem, _RESTART)
        self._bytes = size

    def verify_log(self, operation: str) -> None:
        """Check that the log holds every frame that its index counts.

        Raises:
            StateLost: it was cut.
        """
        if os.fstat(self._log.descriptor).st_size >= self._log_bytes:
            return
        for _ in range(2):  # another program may have emptied the log between the two reads
            page_bytes, frames, _ = self._read_index()
            size = os.fstat(self._log.descriptor).st_size
            if not frames or size >= _LOG_HEADER_BYTES + frames * (_FRAME_HEADER_BYTES + page_bytes):
                return
        self._damaged = True
        problem = f"was cut to {size} bytes while the service had it open"
        raise StateLost(operation, self._log.path, problem, _RESTART)

    def verify_all(self, operation: str) -> None:
        """Check all of this, and give the log and its index the mode of the state file.

        SQLite does so only when it creates them; a `chmod` of the state file leaves them as they are.

        Raises:
            StateLost: a file is gone, was replaced, overwritten or cut.
            OSError: a path cannot be read, or a mode not be set.
        """
        self.verify(operation)
        self.verify_log(operation)
        self._same(self._index, operation, _RESTART)
        self._share_mode()

    def _share_mode(self) -> None:
        mode = os.fstat(self._file.descriptor).st_mode & 0o777
        for opened in (self._log, self._index):
            if os.fstat(opened.descriptor).st_mode & 0o777 != mode:
                with suppress(PermissionError):  # it is another user's, as the state file may be
                    os.fchmod(opened.descriptor, mode)

    def _holds_all_pages(self, size: int) -> bool:
        """True if a smaller file is whole: another program ran VACUUM and a checkpoint."""
        page_bytes, _, pages = self._read_index()
        return size >= pages * page_bytes > 0

    def _read_index(self) -> tuple[int, int, int]:
        """Page size, frames in the log, and pages of the database."""
        content = os.pread(self._index.descriptor, _INDEX.size, 0)
        if len(content) < _INDEX.size:
            raise StateLost("check", self._index.path, "was cut while the service had it open", _RESTART)
        page, frames, pages = _INDEX.unpack(content)
        return page if page > 1 else 65_536, frames, pages

    def _same(self, opened: _Opened, operation: str, hint: str) -> os.stat_result:
        """Status of the file that a path leads to, which must be the one that is open."""
        try:
            found = os.stat(opened.path)
        except (FileNotFoundError, NotADirectoryError):
            problem = "was deleted or moved while the service had it open"
            raise StateLost(operation, opened.path, problem, hint) from None
        if (found.st_dev, found.st_ino) == opened.identity:
            return found
        # Some network file systems give an open file another number.
        if os.path.samestat(found, os.fstat(opened.descriptor)):
            return found
        problem = "was replaced by another file while the service had it open"
        if opened is self._file:
            raise self._replaced(operation, problem)
        raise StateLost(operation, opened.path, problem, hint)

    def _replaced(self, operation: str, problem: str) -> StateLost:
        """The error for another file in our file's place.

        Our log must not stay beside it: SQLite would read it as that file's.
        """
        hint = "start again to use the new content, or restore a snapshot first"
        try:
            if os.path.samestat(os.stat(self._log.path), os.fstat(self._log.descriptor)):
                aside = f"{self._log.path}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
                os.rename(self._log.path, aside)
                hint += f"; the log of the former content is now {aside}"
        except FileNotFoundError:
            pass
        return StateLost(operation, self._file.path, problem, hint)


def close_all(descriptors: list[int]) -> None:
    """Close descriptors; a second call does nothing."""
    while descriptors:
        os.close(descriptors.pop())


def _open(path: str, descriptors: list[int]) -> _Opened:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    descriptors.append(descriptor)
    found = os.fstat(descriptor)
    return _Opened(path, descriptor, (found.st_dev, found.st_ino))


class written_to:
    """Context manager around a write: it went to the files at the paths, and to the end of the log.

    It is a class for speed, as `faults.translated`.

    Args:
        files: the owner's.
        operation: for the error ("commit", …).

    Raises:
        StateLost: it did not; also if the write failed.
    """

    def __init__(self, files: OpenFiles | None, operation: str) -> None:
        assert files, "opened to read only"
        self._files = files
        self._operation = operation

    def __enter__(self) -> None:
        self._files.verify_log(self._operation)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, sqlite3.Error):  # SQLite's, if a cut file is damaged to it
            self._files.verify(self._operation)
