"""The page's files, as they lie in the package; read once, when somebody first asks for one."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
SQUEEZED_BYTES_MIN = 1_024


class File(NamedTuple):
    """A file to be served."""

    kind: str
    content: bytes
    squeezed: bytes | None  # the same, gzipped
    tag: str  # changes with the content


@cache
def files() -> dict[str, File]:
    """All of them by name; `index.html` is the page."""
    web = resources.files("stream_lstm.web")
    found = {}
    for folder in (web, web.joinpath("live")):
        for path in folder.iterdir():
            kind = KINDS.get(path.name.rpartition(".")[2])
            if kind and path.is_file():
                found[path.name] = _file(kind, path.read_bytes())
    return found


def _file(kind: str, content: bytes) -> File:
    squeezed = gzip.compress(content, mtime=0) if len(content) >= SQUEEZED_BYTES_MIN else None
    return File(kind, content, squeezed, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
