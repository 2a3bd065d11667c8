"""The memory of every stream: arrays, one row a stream, and which key has which row.

A row is one fixed-size record, so that a stream's whole memory is copied, stored and restored as bytes.
Space for all rows is reserved at once and filled with zeros by the operating system, which gives a page
real memory only when a stream first touches it: nothing is copied when the number of streams grows.

Row 0 belongs to nobody, so that 0 can stand for "not here".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.trackers import accuracy, anomaly, seasonal
from stream_lstm.errors import PayloadError

NOBODY = 0
# What the engine works on, by kind. All numbers of one kind lie together, so that they are read in one piece.
OF_STREAM = ("usual", "behind", "level", "quiet")  # a number a stream, see `pace.Pace` and `oddity.Past`
OF_FEATURE = ("value", "mean", "variance")  # the last event, and its scale
EXACT = (  # in the target's unit: as exact as events are
    "expected",  # for the next event
    *("lowest", "highest", "near", "near_lowest", "near_highest"),  # see `oddity.Past`
    "base",  # see `yesterday.Scaled`
)
ROUGH = (  # ratios, shares and counts: float32 says enough
    *("spread", "width"),  # the scale of what is expected, in deviations, and reach in units of it
    # What each of those trusted expected by itself, in deviations, and by how much it leads: see `trust`.
    *("model_step", "repeated_step", "lead", "lead_repeated"),
    *accuracy.Accuracy._fields,
    *("tail", "records", "near_records", "run", "run_longest"),
    "unit",
)
COARSE = ("shape", "excesses", "jump", "hour_worst")  # float16 is enough
SPANS = {
    "of_feature": (OF_FEATURE, "<f8"),
    "exact": (EXACT, "<f8"),
    "of_stream": (OF_STREAM, "<f4"),
    "rough": (ROUGH, "<f4"),
    "coarse": (COARSE, "<f2"),
}
Columns = dict[str, NDArray[Any]]


def row_type(model: ModelSpec) -> np.dtype[np.void]:
    """What is remembered of one stream: F features, T targets, L layers of H units.

    Behind its head, a row is hundreds of bytes: LTM and STM, which the gates change whole, and what is read
    and written in few places only, where it lies.
    """
    targets, head = len(model.targets), _head(model)
    return np.dtype(
        [
            *((name, head[name]) for name in head.names or ()),
            ("ltm", "<f4", (model.layers, model.units)),
            ("stm", "<f4", (model.layers, model.units)),
            ("routine", "<u1", (targets, anomaly.HOURS)),
            ("day", "<i1", (targets, seasonal.PIECES)),
        ]
    )


def _head(model: ModelSpec) -> np.dtype[np.void]:
    """The part of a row in front of LTM: all its small columns."""
    columns = [(name, kind, _shape(span, model)) for span, (names, kind) in SPANS.items() for name in names]
    return np.dtype([("seq", "<i8"), ("time", "<f8"), *columns])  # events so far; when the newest was


def _spans(head: np.dtype[np.void], model: ModelSpec) -> np.dtype[np.void]:
    """A head, with what lies together as one field."""
    fields: Mapping[str, tuple[np.dtype[Any], int]] = head.fields or {}  # type: ignore[assignment]
    return np.dtype(
        {
            "names": list(SPANS),
            "formats": [(kind, (len(names), *_shape(s, model))) for s, (names, kind) in SPANS.items()],
            "offsets": [fields[names[0]][1] for names, _ in SPANS.values()],
            "itemsize": head.itemsize,
        }
    )


def _shape(span: str, model: ModelSpec) -> tuple[int, ...]:
    """Of each column in a span, for one stream."""
    return {"of_stream": (), "of_feature": (len(model.features),)}.get(span, (len(model.targets),))


class Memories:
    """All streams' rows, changed by `Engine.apply` alone.

    Attributes:
        row_type: the numpy dtype of a row.
        ids: (rows,) the stream's number on disk, by row.
        ltm, stm: (rows, L, H), where they lie.
        routine: (rows, T, hours), likewise; see `stream_lstm.core.trackers.anomaly`.
        day: (rows, T, pieces), likewise; see `stream_lstm.core.trackers.seasonal`.
    """

    def __init__(self, model: ModelSpec, *, rows_max: int) -> None:
        self.row_type = row_type(model)
        self.head_type = _head(model)
        self._spans = _spans(self.head_type, model)
        self.rows_max = rows_max
        self._table = np.zeros(rows_max + 1, self.row_type)
        # Records are moved as plain bytes: measured 6 times faster than field by field.
        self._bytes = self._table.view(f"V{self.row_type.itemsize}")
        size = self.head_type.itemsize
        self._heads = np.ndarray(rows_max + 1, f"V{size}", self._table, strides=(self.row_type.itemsize,))
        self.ltm, self.stm = self._table["ltm"], self._table["stm"]
        self.routine, self.day = self._table["routine"], self._table["day"]
        self.ids = np.zeros(rows_max + 1, np.uint32)
        self._row_of: dict[str, int] = {}
        self._keys: list[str | None] = [None]
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, key: str) -> bool:
        return key in self._row_of

    def rows(self, keys: Iterable[str]) -> list[int | None]:
        """The row of each key, None where a key is not in memory."""
        return list(map(self._row_of.get, keys))

    def taken(self) -> NDArray[np.intp]:
        """All rows that hold a stream."""
        return np.flatnonzero(self.ids[: len(self._keys)])

    def key(self, row: int) -> str:
        """The key of the stream in a row."""
        key = self._keys[row]
        if key is None:
            raise KeyError(row)
        return key

    @property
    def names(self) -> Sequence[str | None]:
        """The key in each row, None where there is none; it grows while you look."""
        return self._keys

    def keys(self, rows: Sequence[int]) -> list[str]:
        """The keys of the streams in these rows."""
        return [self.key(row) for row in rows]

    def admit(self, key: str, stream: int) -> int:
        """Give a new stream a blank row.

        Args:
            key: not in memory yet.
            stream: its number on disk.

        Raises:
            PayloadError: all rows are taken.
        """
        if key in self._row_of:
            raise ValueError(f"already in memory: {key!r}")
        if self._free:
            row = self._free.pop()
        elif len(self._keys) <= self.rows_max:
            row = len(self._keys)
            self._keys.append(None)
        else:
            raise PayloadError("streams_max", f"{self.rows_max} streams are in memory already")
        self._keys[row] = key
        self._row_of[key] = row
        self.ids[row] = stream
        return row

    def restore(self, key: str, stream: int, record: bytes) -> int:
        """Give a known stream a row with what it remembered, as `evict` or `records` returned it."""
        row = self.admit(key, stream)
        self._bytes[row : row + 1] = np.frombuffer(record, self._bytes.dtype, 1)
        return row

    def restore_all(
        self, keys: Sequence[str], streams: NDArray[np.int64], records: bytes
    ) -> NDArray[np.intp]:
        """`restore` for many streams, into a memory that nothing was evicted from; returns their rows."""
        first = len(self._keys)
        if self._free or first + len(keys) > self.rows_max + 1:
            raise ValueError(f"no {len(keys)} rows in one piece, rows_max is {self.rows_max}")
        rows = np.arange(first, first + len(keys))
        self._keys.extend(keys)
        self._row_of.update(zip(keys, rows.tolist(), strict=True))
        self.ids[rows] = streams
        self._bytes[first : first + len(keys)] = np.frombuffer(records, self._bytes.dtype)
        return rows

    def evict(self, key: str) -> bytes:
        """Take a stream out of memory; returns its record."""
        row = self._row_of.pop(key)
        record = self._bytes[row : row + 1].tobytes()
        self._bytes[row] = self._bytes[NOBODY]
        self._keys[row] = None
        self.ids[row] = 0
        self._free.append(row)
        return record

    def records(self, rows: NDArray[np.intp]) -> list[bytes]:
        """The records of these rows, copied."""
        size = self.row_type.itemsize
        copied = self.copies(rows).tobytes()
        return [copied[i : i + size] for i in range(0, len(copied), size)]

    def copies(self, rows: NDArray[np.intp]) -> NDArray[np.void]:
        """The same as an array, (B,) of as many bytes each."""
        return np.asarray(self._bytes[rows])

    def column(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        """One field of these rows, copied."""
        return np.asarray(self._table[name][rows])

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.void]:
        """A copy of the heads of these rows, (B,) of `head_type`."""
        return self._heads[rows].view(self.head_type)

    def unpack(self, heads: NDArray[np.void]) -> Columns:
        """What heads hold beside `seq`, by name, each (B, …) and contiguous."""
        spans = heads.view(self._spans)
        out: Columns = {"time": np.ascontiguousarray(heads["time"])}
        for span, (names, _) in SPANS.items():
            part = spans[span].swapaxes(0, 1)
            out.update(zip(names, np.array(part, np.float64, order="C"), strict=True))
        return out

    def pack(self, heads: NDArray[np.void], columns: Columns) -> None:
        """Put columns into heads, as `unpack` gave them."""
        spans = heads.view(self._spans)
        heads["time"] = columns["time"]
        for span, (names, _) in SPANS.items():
            spans[span] = np.array([columns[name] for name in names]).swapaxes(0, 1)

    def put(self, rows: NDArray[np.intp], heads: NDArray[np.void]) -> None:
        """Write the heads of rows back. For `Engine.apply` only."""
        self._heads[rows] = heads.view(self._heads.dtype)
