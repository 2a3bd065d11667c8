"""Records: fields declared as annotations of a class, laid out by numpy, read alike compiled and uncompiled.

Every number is a float64 but LTM and STM: in compiled code float32 times float32 stays float32, where the
same line uncompiled has float64.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from math import inf
from typing import Annotated, Any, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

from stream_lstm.compiler import COMPILING

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

Float = Annotated[float, "<f8"]
Int = Annotated[int, "<i8"]
Flag = Annotated[bool, "?"]
Small = Annotated[int, "i1"]


class Field(NamedTuple):
    """Description of a number of a stream's record.

    Attributes:
        unit: of the number.
        frozen: True if a freeze keeps it, because it is a part of what is normal for the stream.
        low, high: its smallest and largest value once the stream has had an event.
    """

    unit: str
    frozen: bool = False
    low: float = -inf
    high: float = inf


class Record:
    """Base of all records: its fields are numbers, arrays, other records, or arrays of them."""


@functools.cache
def layout(record: type[Record], **sizes: int) -> np.dtype[np.void]:
    """The numpy dtype of a record, aligned, its fields in the order of their declaration.

    It is the same object for the same sizes. Measured: a call of a compiled function takes twice the time if
    numba has to compare the dtypes of its records field by field.

    Args:
        record: its class.
        sizes: of axes that are named in annotations.
    """
    fields: list[tuple[Any, ...]] = []
    for name, hint in get_type_hints(record, include_extras=True).items():
        if isinstance(hint, type):
            fields.append((name, layout(hint, **sizes)))
            continue
        kind, *axes = (part for part in hint.__metadata__ if not isinstance(part, Field))
        of = layout(kind, **sizes) if isinstance(kind, type) else kind
        fields.append((name, of, tuple(sizes[axis] if isinstance(axis, str) else axis for axis in axes)))
    return np.dtype(fields, align=True)


def fields(record: type[Record], records: NDArray[np.void]) -> Iterator[tuple[str, NDArray[Any], Field]]:
    """The described numbers of records and of those within them: path, column and description of each.

    Args:
        record: class of the records.
        records: of any shape.
    """
    for name, hint in get_type_hints(record, include_extras=True).items():
        inner = hint if isinstance(hint, type) else next(iter(hint.__metadata__))
        if isinstance(inner, type):
            for path, column, field in fields(inner, records[name]):
                yield f"{name}.{path}", column, field
            continue
        for part in hint.__metadata__:
            if isinstance(part, Field):
                yield name, records[name], part


class ReadableRecord(np.record):  # type: ignore[misc]
    """A record whose fields are read by name, whatever the name: `numpy.record` has `mean` as a method."""

    def __getattribute__(self, name: str) -> Any:
        fields = np.void.__getattribute__(self, "dtype").fields
        if not fields or name not in fields:
            return np.void.__getattribute__(self, name)
        value = np.void.__getitem__(self, name)
        if isinstance(value, (np.void, np.ndarray)) and value.dtype.fields:
            return value.view(np.dtype((ReadableRecord, value.dtype)))
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        np.void.__setitem__(self, name, value)


def argument(records: NDArray[np.void]) -> NDArray[np.void]:
    """Records as an argument of compiled functions: as they are, or `readable` while the compiler is off."""
    return records if COMPILING else readable(records)


def readable(records: NDArray[np.void]) -> NDArray[np.void]:
    """The same records for functions that run uncompiled; a view."""
    return records.view(np.dtype((ReadableRecord, records.dtype)))
