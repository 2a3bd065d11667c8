"""Declared columns: names in code and in the record, limits, and the state that they make up."""

from __future__ import annotations

import numpy as np

from stream_lstm.core.columns import RecordColumn, pick
from stream_lstm.core.trackers.scale import Scale


def test_a_column_is_stored_by_its_own_name_unless_it_has_another() -> None:
    plain, renamed = (
        RecordColumn("mean", "exact", "of the target"),
        RecordColumn("mae", "rough", "share", stored="erred"),
    )
    assert (plain.field, renamed.field) == ("mean", "erred")


def test_bounds_are_the_limits_rounded_as_the_columns_numbers_are() -> None:
    unlimited = RecordColumn("mean", "exact", "of the target")
    assert unlimited.bounds.tolist() == [-np.inf, np.inf]
    coarse = RecordColumn("shape", "coarse", "index", limits=(0.1, 2.0))
    assert coarse.bounds.tolist() == [float(np.float16(0.1)), 2.0]


def test_a_state_is_picked_by_the_names_of_its_fields() -> None:
    columns = {"variance": np.array([4.0]), "time": np.array([1e9]), "mean": np.array([1.0])}
    assert Scale(*pick(columns, Scale)) == Scale(mean=columns["mean"], variance=columns["variance"])
