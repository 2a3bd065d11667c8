"""Layout of records, and records that are read uncompiled."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.compiled.record import Field, Float, Floats, Int, Record, layout, readable


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
