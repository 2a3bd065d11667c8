"""Accuracy: relative error and coverage of one stream."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream_lstm.core.trackers import accuracy
from stream_lstm.core.trackers.accuracy import COLUMNS, Accuracy


def updated(errors: list[float], steps: list[float], missed: list[bool]) -> Accuracy:
    before = Accuracy(*np.full((3, 1, 1), 7.0))  # of another stream: ignored at the first event
    for seq, (error, step, out) in enumerate(zip(errors, steps, missed, strict=True), 1):
        before = accuracy.update(
            before, np.array([[error]]), np.array([[step]]), np.array([[out]]), np.array([seq])
        )
    return before


def test_the_first_500_events_have_plain_means() -> None:
    errors, steps, missed = [math.nan, 1.0, 3.0, 2.0], [0.0, 2.0, 2.0, 8.0], [False, True, False, False]
    found = updated(errors, steps, missed)
    assert [float(column[0, 0]) for column in found] == pytest.approx([2.0, 4.0, 2 / 3])
    assert found.relative_mae()[0, 0] == pytest.approx(0.5)


def test_old_errors_are_forgotten() -> None:
    found = updated([5.0] * 2_000 + [1.0] * 3_000, [2.0] * 5_000, [True] * 2_000 + [False] * 3_000)
    assert found.relative_mae()[0, 0] == pytest.approx(0.5, rel=0.02)
    assert found.coverage[0, 0] == pytest.approx(1.0, abs=0.01)


def test_without_movement_or_predictions_the_relative_error_is_unknown() -> None:
    assert np.isnan(updated([math.nan], [0.0], [False]).relative_mae()).all()
    assert np.isnan(updated([0.0] * 9, [0.0] * 9, [False] * 9).relative_mae()).all()
    unseen = updated([math.nan] * 9, [math.nan] * 9, [False] * 9)
    assert np.isnan(unseen.relative_mae()).all()
    assert unseen.coverage[0, 0] == 0.0


def test_accuracy_is_read_from_records_by_the_names_that_they_have() -> None:
    records = {"erred": np.array([1.0]), "moved": np.array([4.0]), "covered": np.array([0.9])}
    assert [column.field for column in COLUMNS] == list(records)
    assert Accuracy.read(records.__getitem__) == Accuracy(*records.values())
    assert Accuracy.read(records.__getitem__).relative_mae() == 0.25
