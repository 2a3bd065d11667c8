"""Records of the numpy engine, converted, go on where they were."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.compiled.conversion import OF_STREAM, OF_TARGET, converted
from stream_lstm.core.compiled.engine import Engine
from stream_lstm.core.compiled.state import state_type
from stream_lstm.core.record import row_type
from tests.core import models
from tests.core.compiled.test_engine import KINDS, STREAMS, columns, events
from tests.core.models import random_model

ROWS = np.arange(STREAMS + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_converted_stream_goes_on_as_it_would_have(kind: str) -> None:
    made = random_model(**KINDS[kind])
    old, new = models.engine(made, STREAMS), Engine(made, rows_max=STREAMS + 1)
    batch = events(len(made.spec.features), count=600)
    old.apply(batch.select(slice(0, 450)))
    new.states[:] = converted(b"".join(old.memories.records(ROWS)), made.spec)
    rest = batch.select(slice(450, 600))
    expected = old.apply(rest)
    found = columns(new.apply(rest), expected)
    for name in ("seq", "alert", "kind", "late", "missed"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    np.testing.assert_allclose(found.forecast, expected.forecast, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(found.relative_mae, expected.relative_mae, rtol=1e-4)


def test_every_field_goes_over_and_every_field_is_filled() -> None:
    spec = random_model(features=["a", "b"], targets=["a", "b"]).spec
    assert {*OF_STREAM, *OF_TARGET} == set(row_type(spec).names or ())
    ones = bytes([1]) * (2 * row_type(spec).itemsize)
    out = converted(ones, spec)
    assert len(out) == 2
    paths = [*OF_STREAM.values(), *(f"targets.{path}" for path in OF_TARGET.values())]
    for path in paths:
        field = out
        for name in path.split("."):
            field = field[name]
        assert np.all(field != 0), path
    assert len(set(paths)) == len(paths)
    assert len(paths) == _leaves(state_type(spec))


def _leaves(dtype: np.dtype[np.void]) -> int:
    """Number of fields that are numbers, in a record and in those within it."""
    return sum(_leaves(dtype[name].base) for name in dtype.names) if dtype.names else 1


def test_a_blank_record_stays_blank() -> None:
    spec = random_model().spec
    assert not any(converted(bytes(row_type(spec).itemsize), spec).tobytes())


@pytest.mark.parametrize("size", [1, 100])
def test_a_part_of_a_record_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="buffer size"):
        converted(bytes(size), random_model().spec)
