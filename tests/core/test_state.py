"""Layouts of records as text, by which state files say what they hold."""

from __future__ import annotations

import pytest

from stream_lstm.core.state import RecordShape
from tests.core.models import KINDS, description

SHAPE = RecordShape(features=2, targets=0, layers=3, units=8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_is_read_as_it_was_written(kind: str) -> None:
    shape = RecordShape.of(description(**KINDS[kind]))
    assert RecordShape.parse(shape.describe()) == shape


def test_the_layout_of_this_release() -> None:
    """It is in every state file: with another digest, records of this one must be converted."""
    assert (
        RecordShape(1, 1, 1, 64).describe()
        == "features=1 targets=1 layers=1 units=64 fields=02480cede053795d"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[('seq', '<i8')]",
        "features=2 targets=0 layers=3 fields=0000000000000000",
        "features=2 targets=0 layers=3 units=8 more=1 fields=0000000000000000",
        SHAPE.describe()[:-1] + "x",
        SHAPE.describe().replace("units=8", "units=9"),
    ],
)
def test_another_layout_has_no_shape(text: str) -> None:
    assert RecordShape.parse(text) is None
