"""A faulty disk below SQLite: an operating system interface (VFS) that delays and fails writes and syncs.

It wraps SQLite's own one (https://sqlite.org/vfs.html): each file that is opened gets a copy of its table of
methods, in which xWrite, xTruncate and xSync are ours. So it needs no compiler and no privileges, and SQLite
does all that it does on a real disk.

It also keeps what a power cut leaves: beside each file, what was synced of it. A sync that fails drops what
was to be synced, and a later one does not write it again, as on Linux (https://wiki.postgresql.org/wiki/Fsync_Errors).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from functools import partial
from pathlib import Path
from typing import Any

from tests.faulty_disk.control import Control

NAME = "faulty"
OPEN_MAIN_DB, OPEN_WAL = 0x100, 0x80000  # https://sqlite.org/c3ref/c_open_autoproxy.html
LOOK_SECONDS = 0.02

_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)


class _Methods(Structure):
    """`sqlite3_io_methods`, version 3."""

    _fields_ = (
        *(("iVersion", c_int), ("xClose", c_void_p), ("xRead", c_void_p)),
        *(("xWrite", _Write), ("xTruncate", _Truncate), ("xSync", _Sync)),
        *((name, c_void_p) for name in ("xFileSize", "xLock", "xUnlock", "xCheckReservedLock")),
        *((name, c_void_p) for name in ("xFileControl", "xSectorSize", "xDeviceCharacteristics")),
        *((name, c_void_p) for name in ("xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap")),
        *((name, c_void_p) for name in ("xFetch", "xUnfetch")),
    )


class _Vfs(Structure):
    """`sqlite3_vfs`, version 3."""

    _fields_ = (
        *(("iVersion", c_int), ("szOsFile", c_int), ("mxPathname", c_int), ("pNext", c_void_p)),
        *(("zName", c_char_p), ("pAppData", c_void_p), ("xOpen", _Open)),
        *((name, c_void_p) for name in ("xDelete", "xAccess", "xFullPathname")),
        *((name, c_void_p) for name in ("xDlOpen", "xDlError", "xDlSym", "xDlClose")),
        *((name, c_void_p) for name in ("xRandomness", "xSleep", "xCurrentTime", "xGetLastError")),
        *((name, c_void_p) for name in ("xCurrentTimeInt64",)),
        *((name, c_void_p) for name in ("xSetSystemCall", "xGetSystemCall", "xNextSystemCall")),
    )


class _File(Structure):
    """`sqlite3_file`, as far as every VFS has it."""

    _fields_ = (("pMethods", POINTER(_Methods)),)


class NoLibrary(Exception):
    """The SQLite that Python uses cannot be found."""


def library() -> ctypes.CDLL:
    """The SQLite library that module `sqlite3` has loaded.

    Raises:
        NoLibrary: it cannot be found, or hides its functions.
    """
    import _sqlite3

    mapped = re.findall(r"(/\S*libsqlite3\S*)$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    for name in dict.fromkeys([*mapped, getattr(_sqlite3, "__file__", None), None]):
        found = ctypes.CDLL(name)  # linked into the module or into Python, if there is no library
        with suppress(AttributeError):
            found.sqlite3_libversion.restype = c_char_p
            if found.sqlite3_libversion().decode() == sqlite3.sqlite_version:
                found.sqlite3_vfs_find.restype = POINTER(_Vfs)
                return found
    raise NoLibrary(f"no library with the functions of SQLite {sqlite3.sqlite_version} is loaded")


class SyncedFile:
    """Synced content of one file: a second file with what would be there after a power cut.

    Args:
        path: of the file.
        place: of what was synced of it.
    """

    def __init__(self, path: Path, place: Path) -> None:
        self._path = path
        self._place = place
        self._parts: list[tuple[int, int]] = []  # written and not synced: from, to
        self._least = path.stat().st_size  # since the last sync
        self._is_new = not self._least
        if not self._is_new and not place.exists():  # it was there before
            place.write_bytes(path.read_bytes())

    def write(self, start: int, length: int) -> None:
        self._parts.append((start, start + length))

    def truncate(self, size: int) -> None:
        self._least = min(self._least, size)

    def sync(self) -> None:
        """Copy to the second file what was written since the last sync."""
        parts, self._parts = self._parts, []  # others write meanwhile
        size = self._path.stat().st_size
        with self._path.open("rb") as file, self._place.open("w+b" if self._is_new else "r+b") as synced:
            synced.truncate(min(self._least, size))
            synced.truncate(size)
            for start, end in parts:
                synced.seek(start)
                synced.write(os.pread(file.fileno(), max(min(end, size) - start, 0), start))
        self._least, self._is_new = size, False

    def lose(self) -> None:
        """Forget what was written since the last sync, as Linux does after a sync that failed."""
        self._parts = []


Number = tuple[int, int]


def _number(about: os.stat_result) -> Number:
    """Device and inode."""
    return about.st_dev, about.st_ino


class _OpenFile:
    """A file that SQLite has open: its real methods, and ours around them.

    Args:
        kind: "log" or "file".
        synced: what is certain of it.
    """

    def __init__(self, real: Any, kind: str, control: Control, synced: Callable[[], SyncedFile]) -> None:
        self._real = real.contents
        self._kind = kind
        self._control = control
        self._synced = synced
        self.methods = _Methods.from_buffer_copy(self._real)
        self.methods.xWrite = _Write(self._write)
        self.methods.xTruncate = _Truncate(self._truncate)
        self.methods.xSync = _Sync(self._sync)

    def _write(self, file: int, content: int, length: int, offset: int) -> int:
        control = self._control
        _wait(control, "write_seconds")
        if failed := control.take("write_errors"):
            control.add("failed", 1)
            length //= 2  # a part of it is written
        code: int = self._real.xWrite(file, content, length, offset)
        self._synced().write(offset, length)
        control.add(f"{self._kind}_writes", 1)
        return int(control["write_code"]) if failed else code

    def _truncate(self, file: int, size: int) -> int:
        self._synced().truncate(size)
        return int(self._real.xTruncate(file, size))

    def _sync(self, file: int, flags: int) -> int:
        control, synced = self._control, self._synced()
        _wait(control, "sync_seconds")
        if control.take("sync_errors"):
            control.add("failed", 1)
            synced.lose()
            return sqlite3.SQLITE_IOERR_FSYNC
        synced.sync()  # before it is counted: a test may cut the power then
        code: int = self._real.xSync(file, flags)
        control.add(f"{self._kind}_syncs", 1)
        return code


def _wait(control: Control, name: str) -> None:
    """Take as long as the disk does; a delay ends early when the test takes it back."""
    start = time.monotonic()
    while time.monotonic() - start < control[name]:
        time.sleep(LOOK_SECONDS)


_alive: list[FaultyVfs] = []  # for good: SQLite calls its functions as long as a file is open


class FaultyVfs:
    """The interface, from now on SQLite's default, until `remove`.

    Args:
        control: the faults.
        place: folder on the disk; files elsewhere have no faults.
        synced: folder for what a power cut leaves.

    Raises:
        NoLibrary: Python's SQLite cannot be found.
    """

    def __init__(self, control: Control, place: Path, synced: Path) -> None:
        self._control = control
        self._place = place
        self._synced = synced
        self._open_files: dict[int, _OpenFile] = {}  # by address; a closed one is replaced by the next there
        self._files: dict[Number, SyncedFile] = {}  # a file is synced as a whole, whoever wrote to it
        self._library = library()
        self._real: Any = self._library.sqlite3_vfs_find(None)
        self._vfs = _Vfs.from_buffer_copy(self._real.contents)
        self._vfs.zName, self._vfs.pNext = NAME.encode(), None
        self._vfs.xOpen = self._open_callback = _Open(self._open)
        _alive.append(self)
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)
        self._os_pwrite, self._os_fsync = os.pwrite, os.fsync
        os.pwrite, os.fsync = self._pwrite, self._fsync  # type: ignore[assignment]

    def remove(self) -> None:
        """Make SQLite's own one the default again; no file may be open on this one."""
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))
        self._library.sqlite3_vfs_register(self._real, 1)
        os.pwrite, os.fsync = self._os_pwrite, self._os_fsync

    def _open(self, _: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        # The name is passed on as an address: SQLite's own VFS keeps it as long as the file is open.
        code: int = self._real.contents.xOpen(ctypes.addressof(self._real.contents), name, file, flags, out)
        if code == sqlite3.SQLITE_OK and name and flags & (OPEN_MAIN_DB | OPEN_WAL):
            path, opened = Path(os.fsdecode(ctypes.string_at(name))), _File.from_address(file)
            if path.parent.samefile(self._place):
                about, kind = path.stat(), "log" if flags & OPEN_WAL else "file"
                number = _number(about)
                if number not in self._files or not about.st_size:  # numbers are used again
                    self._files[number] = SyncedFile(path, self._synced / path.name)
                synced = partial(self._files.__getitem__, number)
                made = self._open_files[file] = _OpenFile(opened.pMethods, kind, self._control, synced)
                opened.pMethods = ctypes.pointer(made.methods)
        return code

    def _pwrite(self, file: int, content: bytes, offset: int) -> int:
        """`os.pwrite`, by which the store writes its log again."""
        if not (synced := self._files.get(_number(os.fstat(file)))):
            return int(self._os_pwrite(file, content, offset))
        _wait(self._control, "write_seconds")
        if self._control.take("write_errors"):
            full = self._control["write_code"] == sqlite3.SQLITE_FULL
            raise OSError(errno.ENOSPC if full else errno.EIO, "injected")
        length = int(self._os_pwrite(file, content, offset))
        synced.write(offset, length)
        return length

    def _fsync(self, file: int) -> None:
        """`os.fsync`."""
        if synced := self._files.get(_number(os.fstat(file))):
            _wait(self._control, "sync_seconds")
            if self._control.take("sync_errors"):
                synced.lose()
                raise OSError(errno.EIO, "injected")
            synced.sync()
        self._os_fsync(file)
