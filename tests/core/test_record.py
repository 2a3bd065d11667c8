"""Layout of records, and records that are read uncompiled."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories
from stream_lstm.core.record import Field, Float, Floats, Int, Record, fields, layout, readable
from stream_lstm.core.state import StreamState, state_type
from tests.core.models import description


class Inner(Record):
    mean: Annotated[Float, Field("of the feature")]


class Outer(Record):
    count: Int
    inner: Inner
    memory: Annotated[Floats, "<f4", "layers", 2]
    parts: Annotated[NDArray[np.void], Inner, "features"]


def outer() -> Any:
    return readable(np.zeros(2, layout(Outer, layers=3, features=2)))


def test_fields_lie_in_the_order_of_their_declaration() -> None:
    dtype = layout(Outer, layers=3, features=2)
    assert dtype.names == ("count", "inner", "memory", "parts")
    assert dtype["memory"].shape == (3, 2)
    assert dtype["parts"].shape == (2,)
    assert dtype.itemsize == 8 + 8 + 24 + 16


def test_records_of_the_same_sizes_have_the_same_dtype_and_not_an_equal_one() -> None:
    assert layout(Outer, layers=3, features=2) is layout(Outer, layers=3, features=2)
    assert layout(Outer, layers=3, features=2) != layout(Outer, layers=2, features=2)
    spec = description()
    assert Memories(spec, rows_max=1).states.dtype is Memories(spec, rows_max=9).states.dtype


def test_nested_fields_are_written_through_whatever_their_names() -> None:
    records = outer()
    record = records[1]
    record.count += 2
    record.inner.mean = 3.0  # an array of numpy has a method of this name
    record.parts[1].mean = 4.0
    record.memory[2, 1] = 5.0
    assert records[1]["count"] == 2
    assert records[1]["inner"]["mean"] == 3.0
    assert records[1]["parts"]["mean"].tolist() == [0.0, 4.0]
    assert records[1]["memory"][2, 1] == 5.0
    assert not any(records[0].tobytes())


def test_what_is_no_field_is_numpys() -> None:
    assert outer()[0].dtype.names == ("count", "inner", "memory", "parts")


def test_described_numbers_are_found_by_their_paths() -> None:
    records = np.zeros(2, layout(Outer, layers=3, features=2))
    found = {path: (column.shape, field.unit) for path, column, field in fields(Outer, records)}
    assert found == {"inner.mean": ((2,), "of the feature"), "parts.mean": ((2, 2), "of the feature")}


def test_every_number_of_a_streams_record_is_described() -> None:
    states = np.zeros(1, state_type(description()))
    found = {path for path, _, _ in fields(StreamState, states)}
    plain = {"seq", "ltm", "stm", "targets.seasonal.slots", "targets.anomaly.hourly.hours"}
    assert _paths(states.dtype) == found | plain


def _paths(dtype: np.dtype[Any], before: str = "") -> set[str]:
    """Of all numbers in a record and in those within it."""
    if dtype.names is None:
        return {before[:-1]}
    return {path for name in dtype.names for path in _paths(dtype[name].base, f"{before}{name}.")}


def test_a_freeze_keeps_what_is_normal() -> None:
    states = np.zeros(1, state_type(description()))
    assert {path.split(".")[-1] for path, _, field in fields(StreamState, states) if field.frozen} == {
        *("mean", "variance", "usual_gap", "width", "mae", "naive_mae", "coverage"),
        *("model_advantage", "seasonal_advantage", "base", "unit", "tail", "shape", "excesses"),
        *("lowest", "highest", "record_rate", "recent_lowest", "recent_highest", "recent_record_rate"),
        *("run_longest", "hour_error"),
    }
