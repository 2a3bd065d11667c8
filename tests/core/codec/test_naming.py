"""Naming: a single number is plain, several are objects by name, unknown ones are null."""

from __future__ import annotations

from typing import Any

import pytest

from stream_lstm.core.codec.naming import Naming, worst
from tests.core.models import KINDS, description

NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "value", "target", "interval"),
    [
        ("step", 1.0, 3.0, (2.5, 3.5)),
        ("pair", {"a": 1.0, "b": 2.0}, {"a": 3.0, "b": None}, {"a": (2.5, 3.5), "b": None}),
        ("value", {"a": 1.0, "b": 2.0}, {"b": 3.0}, {"b": (2.5, 3.5)}),
        ("fixed", {"a": 1.0, "b": 2.0}, {"b": 3.0, "soft": None}, {"b": (2.5, 3.5), "soft": None}),
        ("classes", {"a": 1.0, "b": 2.0}, None, None),
    ],
)
def test_numbers_are_plain_or_by_name_as_in_a_prediction(
    kind: str, value: Any, target: Any, interval: Any
) -> None:
    spec = description(**KINDS[kind])
    naming, targets = Naming(spec), len(spec.targets)
    assert naming.value([1.0, 2.0][: len(spec.features)]) == value
    assert naming.target([3.0, NAN][:targets]) == target
    assert naming.interval([3.0, 4.0][:targets], [0.5, NAN][:targets]) == interval


def test_an_unknown_single_target_is_null() -> None:
    naming = Naming(description())
    assert naming.target([NAN]) is None
    assert naming.interval([NAN], [NAN]) is None


@pytest.mark.parametrize(
    ("row", "key", "found"),
    [
        ([], None, None),
        ([NAN, NAN], None, None),
        ([0.5, NAN, 1.5], None, 1.5),
        ([0.95, 0.2, NAN], 0.9, 0.2),
        ([1.0, 0.85], 0.9, 1.0),
    ],
)
def test_the_worst_number_is_the_largest_or_the_farthest_from_the_key(
    row: list[float], key: float | None, found: float | None
) -> None:
    assert worst(row, key) == found
