"""Checksum of a stream's key or record: XXH3, 64 bits (https://xxhash.com)."""

from __future__ import annotations

import xxhash


def checksum(content: bytes, stream: int, entry: int = 0) -> int:
    """Checksum of bytes that belong to one stream as of one entry.

    Stream and entry are the seed: valid bytes in another stream's row do not match.

    Returns:
        63 bits, because SQLite's integers are signed (https://sqlite.org/datatype3.html).
    """
    return xxhash.xxh3_64_intdigest(content, (stream << 32 ^ entry) & 0xFFFF_FFFF_FFFF_FFFF) >> 1
