"""Journal entry and its encoding: what one commit holds, as bytes with a checksum.

The encoding is a checksum over the rest, a header, the columns one after another, then the parts without a
fixed size as MessagePack (https://msgpack.org); little endian throughout. `decode` compares the checksum
before it reads anything else.
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

from stream_lstm.events import Batch
from stream_lstm.store.faults import corrupt

VERSION = 1
STREAM_NUMBER_MAX = 2**32 - 1  # an entry names a stream in four bytes
_CHECKSUM = struct.Struct("<Q")  # XXH3, 64 bits, of the rest; its seed is the entry's number
_HEADER = struct.Struct("<BIIIQQ")  # version, events, features, digests, published_through, acked_through


class Rejection(NamedTuple):
    """A message that was rejected, as a whole or in some of its fields.

    Attributes:
        reason: a key of `events.REASONS`.
        time: of arrival, epoch seconds.
    """

    topic: str
    payload: bytes
    reason: str
    detail: str
    time: float


@dataclass(frozen=True, slots=True)
class Entry:
    """Content of one commit: N events of F features in order of arrival.

    Attributes:
        number: 1, 2, 3 and so on without a gap.
        model: id of the model in use.
        batch: the events; streams by their numbers.
        new_streams: number and key of each stream that this entry adds.
        digests: (M, 2) digests of topic and content of each message that the broker may send again.
        rejected: messages without an event, or with a rejected field.
        published_through: the last entry whose predictions were known to have reached the broker.
        acked_through: the last entry up to which the broker was known to have every acknowledgement.
    """

    number: int
    model: str
    batch: Batch
    new_streams: Sequence[tuple[int, str]]
    digests: NDArray[np.uint64]
    rejected: Sequence[Rejection]
    published_through: int
    acked_through: int


class _Variable(NamedTuple):
    """The parts without a fixed size."""

    model: str
    new_streams: Sequence[tuple[int, str]]
    rejected: Sequence[Rejection]


def encode(entry: Entry) -> bytes:
    """Encode an entry."""
    batch = entry.batch
    count, features = batch.values.shape
    body = b"".join(
        (
            _HEADER.pack(
                VERSION, count, features, len(entry.digests), entry.published_through, entry.acked_through
            ),
            batch.streams.astype("<u4").tobytes(),
            batch.times.astype("<f8").tobytes(),
            batch.marks.astype("<u1").tobytes(),
            batch.values.astype("<f8").tobytes(),
            entry.digests.astype("<u8").tobytes(),
            msgspec.msgpack.encode(_Variable(entry.model, entry.new_streams, entry.rejected)),
        )
    )
    return _CHECKSUM.pack(xxhash.xxh3_64_intdigest(body, entry.number)) + body


def decode(number: int, blob: bytes, *, path: str) -> Entry:
    """Decode an entry.

    Args:
        number: of the row that holds the blob.
        path: of the file, for the error.

    Raises:
        StateCorrupt: the blob does not match its checksum, is another entry's, or cannot be decoded.
    """
    body = blob[_CHECKSUM.size :]
    short = len(blob) < _CHECKSUM.size + _HEADER.size
    if short or _CHECKSUM.unpack_from(blob)[0] != xxhash.xxh3_64_intdigest(body, number):
        raise corrupt(path, f"journal entry {number} does not match its checksum")
    try:
        entry = _decoded(number, body)
    except (ValueError, msgspec.MsgspecError) as error:  # a file can be made by anyone
        raise corrupt(path, f"journal entry {number} cannot be decoded: {error}") from None
    if max(entry.published_through, entry.acked_through) > number:
        raise corrupt(path, f"journal entry {number} names entries after it")
    return entry


def _decoded(number: int, body: bytes) -> Entry:
    version, count, features, digests, published_through, acked_through = _HEADER.unpack_from(body)
    if version != VERSION:
        raise ValueError(f"it has version {version}")
    columns = _Columns(body, _HEADER.size)
    batch = Batch(
        streams=columns.take("<u4", count).astype(np.intp),
        times=columns.take("<f8", count),
        marks=columns.take("<u1", count),
        values=columns.take("<f8", count * features).reshape(count, features),
    )
    messages = columns.take("<u8", digests * 2).reshape(digests, 2)
    variable = msgspec.msgpack.decode(columns.rest(), type=_Variable)
    return Entry(
        number=number,
        model=variable.model,
        batch=batch,
        new_streams=variable.new_streams,
        digests=messages,
        rejected=variable.rejected,
        published_through=published_through,
        acked_through=acked_through,
    )


class _Columns:
    """Reads columns of a body one after another, without copying them."""

    def __init__(self, body: bytes, start: int) -> None:
        self._body, self._at = body, start

    def take(self, kind: str, count: int) -> NDArray[Any]:
        column: NDArray[Any] = np.frombuffer(self._body, kind, count, self._at)
        self._at += column.nbytes
        return column

    def rest(self) -> bytes:
        return self._body[self._at :]
