"""Layout of a stream's record: its columns, collected from the trackers, and its long- and short-term memory.

State files hold records as bytes and the layout beside them (`repr` of `row_type(...).descr`); a file of
another layout is not opened. So names, order and types of the fields change only together with a migration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stream_lstm.core.columns import GROUPS, RecordColumn
from stream_lstm.core.model import readout
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.trackers import (
    accuracy,
    anomaly,
    event_time,
    experts,
    hourly_errors,
    interval,
    scale,
    seasonal,
)
from stream_lstm.events import EVENT_MAX

LAST_VALUE = RecordColumn("value", "of_feature", "of the feature", limits=(-EVENT_MAX, EVENT_MAX))
DECLARED = (
    LAST_VALUE,
    *readout.COLUMNS,
    *event_time.COLUMNS,
    *scale.COLUMNS,
    *interval.COLUMNS,
    *accuracy.COLUMNS,
    *experts.COLUMNS,
    *seasonal.COLUMNS,
    *anomaly.COLUMNS,
)
# As they lie in a record, by their names there.
ORDER: dict[str, tuple[str, ...]] = {
    "clock": ("time",),
    "of_feature": ("value", "mean", "variance"),
    "exact": ("expected", "lowest", "highest", "near", "near_lowest", "near_highest", "base"),
    "of_stream": ("usual", "behind", "level", "quiet"),
    "rough": (
        *("spread", "width", "model_step", "repeated_step", "lead", "lead_repeated"),
        *("erred", "moved", "covered", "tail", "records", "near_records", "run", "run_longest", "unit"),
    ),
    "coarse": ("shape", "excesses", "jump", "hour_worst"),
}
_BY_FIELD = {column.field: column for column in DECLARED}
COLUMNS = {group: tuple(_BY_FIELD[name] for name in names) for group, names in ORDER.items()}
NAMES = {group: tuple(column.name for column in columns) for group, columns in COLUMNS.items()}
PROFILES = (hourly_errors.ROUTINE, seasonal.DAY)
FROZEN_COLUMNS = tuple(column.name for column in DECLARED if column.frozen)  # what a freeze keeps


def row_type(model: ModelSpec) -> np.dtype[np.void]:
    """The numpy dtype of a record: F features, T targets, L layers of H units.

    Behind its head, the small columns, a record has hundreds of bytes: LTM and STM, which the gates change
    whole, and the profiles, which are read and written in few places only, where they lie.
    """
    head = head_type(model)
    memory = (model.layers, model.units)
    return np.dtype(
        [
            *((name, head[name]) for name in head.names or ()),
            ("ltm", "<f4", memory),
            ("stm", "<f4", memory),
            *((profile.field, profile.dtype, (len(model.targets), profile.parts)) for profile in PROFILES),
        ]
    )


def head_type(model: ModelSpec) -> np.dtype[np.void]:
    """The dtype of the part of a record before the LTM: the number of events, and all columns."""
    columns = [
        (column.field, GROUPS[group].dtype, _shape(group, model))
        for group, columns in COLUMNS.items()
        for column in columns
    ]
    return np.dtype([("seq", "<i8"), *columns])


def group_type(model: ModelSpec) -> np.dtype[np.void]:
    """The dtype of the same bytes with each group's columns as one field, (columns, …)."""
    head = head_type(model)
    fields: Mapping[str, tuple[np.dtype[Any], int]] = head.fields or {}  # type: ignore[assignment]
    return np.dtype(
        {
            "names": list(COLUMNS),
            "formats": [(GROUPS[s].dtype, (len(c), *_shape(s, model))) for s, c in COLUMNS.items()],
            "offsets": [fields[columns[0].field][1] for columns in COLUMNS.values()],
            "itemsize": head.itemsize,
        }
    )


def _shape(group: str, model: ModelSpec) -> tuple[int, ...]:
    """Of one column of a group, for one stream."""
    shapes = {"stream": (), "feature": (len(model.features),), "target": (len(model.targets),)}
    return shapes[GROUPS[group].per]
