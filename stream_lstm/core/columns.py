"""Columns of a stream's record: how each number is stored, its unit, and if a freeze keeps it.

Each tracker declares the columns that it owns, as `COLUMNS` beside its code; `record` collects them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]  # of B streams, by name: (B,), (B, F) or (B, T) each


class ColumnGroup(NamedTuple):
    """Columns of one type and shape, stored side by side so that they are read and written in one piece."""

    dtype: str
    per: Literal["stream", "feature", "target"]


GROUPS = {
    "clock": ColumnGroup("<f8", "stream"),
    "of_feature": ColumnGroup("<f8", "feature"),
    "exact": ColumnGroup("<f8", "target"),  # in the target's unit: as precise as events are
    "of_stream": ColumnGroup("<f4", "stream"),
    "rough": ColumnGroup("<f4", "target"),  # ratios, shares and counts: float32 is precise enough
    "coarse": ColumnGroup("<f2", "target"),  # three digits are precise enough
}


@dataclass(frozen=True, slots=True)
class RecordColumn:
    """One column of a stream's record.

    Attributes:
        name: in code, the field of its tracker's state.
        group: key of `GROUPS`: its type, and one number per stream, feature or target.
        unit: of its numbers.
        frozen: True if a freeze keeps it, because it is a part of what is normal for the stream.
        limits: its smallest and largest value once the stream has had an event.
        stored: its name in the record, where that is not `name`; state files have it.
    """

    name: str
    group: str
    unit: str
    frozen: bool = False
    limits: tuple[float, float] = (-inf, inf)
    stored: str = ""

    @property
    def field(self) -> str:
        """Its name in the record."""
        return self.stored or self.name

    @property
    def bounds(self) -> NDArray[Any]:
        """`limits`, rounded as the column's own numbers are."""
        return np.array(self.limits, GROUPS[self.group].dtype)


class Profile(NamedTuple):
    """A byte for each part of a day and each target, (T, parts); it is changed in place."""

    field: str  # its name in the record
    dtype: str
    parts: int  # of a day


def pick(columns: Columns, state: type[NamedTuple]) -> list[NDArray[Any]]:
    """The columns of a tracker's state, in the order of its fields."""
    return [columns[name] for name in state._fields]
