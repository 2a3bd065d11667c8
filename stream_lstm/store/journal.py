"""What came in, one entry a commit, as compact bytes that show any damage.

An entry is a header, the columns one after another, then what has no fixed size as MessagePack; little endian
throughout. A checksum over all of it comes first, so that a flipped bit is found before anything is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from stream_lstm.errors import StateCorrupt
from stream_lstm.events import Batch

VERSION = 1
_CHECK = struct.Struct("<Q")  # xxh3_64 of the rest, seeded with the entry's number
_HEAD = struct.Struct("<BIIIQQ")  # version, events, features, digests, sent, settled


class Rejection(NamedTuple):
    """A message that became no event, or not in all its fields."""

    topic: str
    payload: bytes
    reason: str
    detail: str
    time: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit: what came in, in order of arrival, N events of F features.

    Attributes:
        number: 1, 2, 3 and so on without a gap.
        model: id of the model that was in use.
        batch: what came in; streams by their numbers.
        new_streams: streams met for the first time: number and key.
        digests: (M, 2) of each message that the broker may send again: topic's and content's.
        rejected: what became no event.
        published_through: the last entry whose predictions were known to have reached the broker.
        settled: the last one whose messages, and all before, the broker was known to know as acknowledged.
    """

    number: int
    model: str
    batch: Batch
    new_streams: Sequence[tuple[int, str]]
    digests: NDArray[np.uint64]
    rejected: Sequence[Rejection]
    published_through: int
    acked_through: int


class _Rest(NamedTuple):
    model: str
    new_streams: Sequence[tuple[int, str]]
    rejected: Sequence[Rejection]


def encode(entry: Entry) -> bytes:
    """An entry as bytes."""
    batch = entry.batch
    count, wide = batch.values.shape
    body = b"".join(
        (
            _HEAD.pack(
                VERSION, count, wide, len(entry.digests), entry.published_through, entry.acked_through
            ),
            batch.streams.astype("<u4").tobytes(),
            batch.times.astype("<f8").tobytes(),
            batch.marks.astype("<u1").tobytes(),
            batch.values.astype("<f8").tobytes(),
            entry.digests.astype("<u8").tobytes(),
            msgspec.msgpack.encode(_Rest(entry.model, entry.new_streams, entry.rejected)),
        )
    )
    return _CHECK.pack(xxhash.xxh3_64_intdigest(body, entry.number)) + body


def decode(number: int, blob: bytes, *, path: str) -> Entry:
    """An entry out of bytes.

    Args:
        number: which it is said to be.
        path: of the file, for the error.

    Raises:
        StateCorrupt: these are not the bytes that were written.
    """
    body = blob[_CHECK.size :]
    if len(blob) < _CHECK.size + _HEAD.size or _CHECK.unpack_from(blob)[0] != xxhash.xxh3_64_intdigest(
        body, number
    ):
        raise corrupt(path, f"journal entry {number} is not as it was written")
    _, count, wide, digests, sent, acked_through = _HEAD.unpack_from(body)
    columns = _Columns(body, _HEAD.size)
    batch = Batch(
        streams=columns.take("<u4", count).astype(np.intp),
        times=columns.take("<f8", count),
        marks=columns.take("<u1", count),
        values=columns.take("<f8", count * wide).reshape(count, wide),
    )
    found = columns.take("<u8", digests * 2).reshape(digests, 2)
    rest = msgspec.msgpack.decode(columns.rest(), type=_Rest)
    return Entry(
        number=number,
        model=rest.model,
        batch=batch,
        new_streams=rest.new_streams,
        digests=found,
        rejected=rest.rejected,
        published_through=sent,
        acked_through=acked_through,
    )


class _Columns:
    """Reads one column after another."""

    def __init__(self, body: bytes, start: int) -> None:
        self._body, self._at = body, start

    def take(self, kind: str, count: int) -> NDArray[Any]:
        column: NDArray[Any] = np.frombuffer(self._body, kind, count, self._at)
        self._at += column.nbytes
        return column

    def rest(self) -> bytes:
        return self._body[self._at :]


def corrupt(path: str, problem: str) -> StateCorrupt:
    """The error for a file that is not as it was written."""
    return StateCorrupt(
        "read", path, problem, "restore a snapshot, or move the file away to start without memory"
    )
