"""Cache of machine code on disk: never stale, and of use where nothing can be written.

numba's own cache knows one source file a function: a change in a module that the function calls, or takes a
constant from, goes unnoticed. It fails in a folder that cannot be written, and two processes that compile the
same function for different types can leave it with the code of one under the types of the other. So this one
has a folder for each digest of all sources, and a file for each function, its types and the CPU level.

The files are pickles of numba's. A folder that another user could write to is not read.

An installation may bring machine code along, in `share/stream-lstm` beside its Python (the container image
does); it is read where the user's own folder has none, and never written.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import compiler, serialize

from stream_lstm.compiler import variables

PACKAGE = Path(__file__).resolve().parents[1]
SOURCES = (
    "compiler/**/*.py",
    "core/**/*.py",
    "errors.py",
    "events.py",
    "service/state/registry.py",
)  # all that a compiled function can depend on
OTHERS_WRITE = 0o022
compiled_names: list[str] = []  # of the functions that this process has compiled
RELEASES_KEPT = 3  # beside the present one: a machine may run several, and each has a few megabytes
PYTHON = sys.implementation.cache_tag  # each has a folder of its own


@functools.cache
def digest() -> str:
    """Digest of all that decides what a function compiles to, but for its types and the CPU level."""
    config = numba.config
    switches = (config.BOUNDSCHECK, config.OPT)  # type: ignore[attr-defined]
    found = hashlib.sha256(repr((numba.__version__, switches)).encode())
    for file in sorted(file for pattern in SOURCES for file in PACKAGE.glob(pattern)):
        found.update(f"\0{file.relative_to(PACKAGE).as_posix()}\0".encode() + file.read_bytes())
    return found.hexdigest()[:16]


def folder() -> Path | None:
    """The folder of this release's machine code; None where the user has no home to keep it in."""
    try:
        root = os.environ.get(variables.FOLDER) or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(root) / "stream-lstm" / f"{PYTHON}-{digest()}"


def shipped_folder() -> Path:
    """The folder of machine code that came with the installation."""
    return Path(sys.prefix) / "share" / "stream-lstm" / f"{PYTHON}-{digest()}"


def make_readable(path: Path) -> None:
    """Let all users read a folder of machine code, which is private when it is made."""
    path.chmod(0o755)
    for file in path.glob("*.pickle"):
        file.chmod(0o644)


class MachineCodeCache:
    """Machine code of one function; what numba's dispatcher expects of a cache.

    Only functions of this package are cached, as only their sources are in the digest.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._is_ours = function.__module__.partition(".")[0] == PACKAGE.name
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """The folder, as text."""
        return str(folder() or "")

    def enable(self) -> None:
        """Read and write from now on."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor write from now on."""
        self._enabled = False

    def flush(self) -> None:
        """Nothing is held back."""

    def load_overload(self, signature: object, target: Any) -> Any:
        """The compiled function for these types; None where there is none, or none that can be trusted."""
        if not self._is_kept:
            return None
        target.refresh()
        name, key = self._name_and_key(signature, target.codegen())
        for place in (folder(), shipped_folder()):
            if place is None or not _is_private(place):
                continue
            try:
                found, payload = pickle.loads((place / name).read_bytes())
                if found == key:
                    return compiler.CompileResult._rebuild(target, *payload)  # type: ignore[no-untyped-call]
            except Exception:  # missing, cut off or damaged: pickle may raise anything, and compiling helps
                continue
        return None

    def save_overload(self, signature: object, result: Any) -> None:
        """Keep a compiled function, if there is a folder to write to."""
        compiled_names.append(self._name)
        place = folder()
        if place is None or not self._is_kept or result.library.has_dynamic_globals:
            return
        name, key = self._name_and_key(signature, result.codegen)
        content = serialize.dumps((key, result._reduce()))  # type: ignore[no-untyped-call]
        with contextlib.suppress(OSError):
            _make_folder(place)
            if _is_private(place):
                _write(place / name, content)

    @property
    def _is_kept(self) -> bool:
        return self._enabled and self._is_ours

    def _name_and_key(self, signature: object, codegen: Any) -> tuple[str, str]:
        """The name of the file for these types and the CPU level, and the key within it."""
        key = repr((self._name, str(signature), codegen.magic_tuple()))
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.pickle", key


def _is_private(path: Path) -> bool:
    """True if only this user or root can write to an existing folder."""
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_uid in (0, os.getuid()) and not found.st_mode & OTHERS_WRITE


def _make_folder(path: Path) -> None:
    """Make the folder, and remove the oldest of other releases under the same Python."""
    if path.is_dir():
        return
    path.mkdir(mode=0o700, parents=True)
    others = [other for other in path.parent.glob(f"{PYTHON}-*") if other != path]
    others.sort(key=lambda other: other.stat().st_mtime, reverse=True)
    for other in others[RELEASES_KEPT:]:
        shutil.rmtree(other, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)
