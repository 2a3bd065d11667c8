"""Static files of the live page, from the package `stream_lstm.web`; read once, at the first request."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

CONTENT_TYPES = {  # by file name extension
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
COMPRESSED_BYTES_MIN = 1_024  # smaller files fit in one packet as they are


class File(NamedTuple):
    """A static file.

    Attributes:
        compressed: the content, gzipped; None for a small file.
        etag: changes with the content.
    """

    content_type: str
    content: bytes
    compressed: bytes | None
    etag: str


@cache
def files() -> dict[str, File]:
    """All files by name; `index.html` is the page."""
    web = resources.files("stream_lstm.web")
    found = {}
    for folder in (web, web.joinpath("live")):
        for path in folder.iterdir():
            content_type = CONTENT_TYPES.get(path.name.rpartition(".")[2])
            if content_type and path.is_file():
                found[path.name] = _file(content_type, path.read_bytes())
    return found


def _file(content_type: str, content: bytes) -> File:
    compressed = gzip.compress(content, mtime=0) if len(content) >= COMPRESSED_BYTES_MIN else None
    return File(content_type, content, compressed, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
