"""Records of the numpy engine, converted, go on where they were.

`data/numpy_records.npz` has, for each kind of model, the records of the numpy engine of version 0.1 after 450
events, and its predictions for the 150 events after them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core.conversion import (
    OF_STREAM,
    OF_TARGET,
    converted,
    former_layout,
    former_type,
    shape_of,
)
from stream_lstm.core.state import RecordShape
from tests.core.engine_bits import KINDS, STREAMS, events
from tests.core.models import engine, random_model

PAIR = RecordShape(features=2, targets=2, layers=3, units=8)


def numpy_engine(kind: str) -> dict[str, NDArray[Any]]:
    with np.load(Path(__file__).parent / "data" / "numpy_records.npz") as file:
        return {name.removeprefix(f"{kind}/"): file[name] for name in file if name.startswith(f"{kind}/")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_converted_stream_goes_on_as_it_would_have(kind: str) -> None:
    made, expected = random_model(**KINDS[kind]), numpy_engine(kind)
    running = engine(made, STREAMS, streams_max=STREAMS)
    running.memories.states[:] = converted(expected["records"].tobytes(), RecordShape.of(made.spec))
    batch = events(len(made.spec.features), count=600)
    found = running.apply(batch.select(slice(450, 600)))
    for name in ("seq", "alert", "kind", "late", "missed"):
        assert np.array_equal(getattr(found, name), expected[name]), name
    for name in ("forecast", "half_width", "trust"):
        np.testing.assert_allclose(getattr(found, name), expected[name], rtol=1e-3, atol=1e-3)
    for name in ("probabilities", "relative_mae", "covered", "anomaly"):
        np.testing.assert_allclose(getattr(found, name), expected[name], rtol=1e-4, atol=1e-3)


def test_the_former_layout_is_that_of_the_state_files_of_version_0_1() -> None:
    assert former_type(PAIR).descr == [
        ("seq", "<i8"),
        ("time", "<f8"),
        *((name, "<f8", (2,)) for name in ("value", "mean", "variance", "expected", "lowest", "highest")),
        *((name, "<f8", (2,)) for name in ("near", "near_lowest", "near_highest", "base")),
        *((name, "<f4") for name in ("usual", "behind", "level", "quiet")),
        *((name, "<f4", (2,)) for name in ("spread", "width", "model_step", "repeated_step", "lead")),
        *((name, "<f4", (2,)) for name in ("lead_repeated", "erred", "moved", "covered", "tail", "records")),
        *((name, "<f4", (2,)) for name in ("near_records", "run", "run_longest", "unit")),
        *((name, "<f2", (2,)) for name in ("shape", "excesses", "jump", "hour_worst")),
        ("ltm", "<f4", (3, 8)),
        ("stm", "<f4", (3, 8)),
        ("routine", "|u1", (2, 24)),
        ("day", "|i1", (2, 288)),
    ]


@pytest.mark.parametrize("shape", [PAIR, RecordShape(1, 0, 1, 64), RecordShape(3, 1, 2, 5)])
def test_the_shape_is_read_from_the_layout(shape: RecordShape) -> None:
    assert shape_of(former_layout(shape)) == shape
    assert shape_of(shape.describe()) is None


@pytest.mark.parametrize(
    "layout", ["", "urk(", "[('seq', '<i8')]", former_layout(PAIR).replace("<f2", "<f4"), "[('a', 'zzz')]"]
)
def test_another_layout_has_no_shape(layout: str) -> None:
    assert shape_of(layout) is None


def test_every_field_goes_over_and_every_field_is_filled() -> None:
    assert {*OF_STREAM, *OF_TARGET} == set(former_type(PAIR).names or ())
    out = converted(bytes([1]) * (2 * former_type(PAIR).itemsize), PAIR)
    assert len(out) == 2
    paths = [*OF_STREAM.values(), *(f"targets.{path}" for path in OF_TARGET.values())]
    for path in paths:
        field = out
        for name in path.split("."):
            field = field[name]
        assert np.all(field != 0), path
    assert len(set(paths)) == len(paths) == _leaves(PAIR.dtype)


def _leaves(dtype: np.dtype[np.void]) -> int:
    """Number of fields that are numbers, in a record and in those within it."""
    return sum(_leaves(dtype[name].base) for name in dtype.names) if dtype.names else 1


def test_a_blank_record_stays_blank() -> None:
    assert not any(converted(bytes(former_type(PAIR).itemsize), PAIR).tobytes())


@pytest.mark.parametrize("size", [1, 100])
def test_a_part_of_a_record_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="buffer size"):
        converted(bytes(size), PAIR)
