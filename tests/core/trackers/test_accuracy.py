"""A stream's own figures, beside "same as last time"."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream_lstm.core.trackers import accuracy
from stream_lstm.core.trackers.accuracy import Accuracy


def followed(errors: list[float], steps: list[float], missed: list[bool]) -> Accuracy:
    before = Accuracy(*np.full((3, 1, 1), 7.0))  # of somebody else: the first event does not look at it
    for seq, (error, step, out) in enumerate(zip(errors, steps, missed, strict=True), 1):
        before = accuracy.update(
            before, np.array([[error]]), np.array([[step]]), np.array([[out]]), np.array([seq])
        )
    return before


def test_figures_are_plain_means_at_first() -> None:
    errors, steps, missed = [math.nan, 1.0, 3.0, 2.0], [0.0, 2.0, 2.0, 8.0], [False, True, False, False]
    found = followed(errors, steps, missed)
    assert [float(column[0, 0]) for column in found] == pytest.approx([2.0, 4.0, 2 / 3])
    assert found.ratio()[0, 0] == pytest.approx(0.5)


def test_what_lies_long_ago_is_forgotten() -> None:
    found = followed([5.0] * 2_000 + [1.0] * 3_000, [2.0] * 5_000, [True] * 2_000 + [False] * 3_000)
    assert found.ratio()[0, 0] == pytest.approx(0.5, rel=0.02)
    assert found.covered[0, 0] == pytest.approx(1.0, abs=0.01)


def test_of_a_stream_that_never_moved_or_was_never_judged_nothing_is_said() -> None:
    assert np.isnan(followed([math.nan], [0.0], [False]).ratio()).all()
    assert np.isnan(followed([0.0] * 9, [0.0] * 9, [False] * 9).ratio()).all()
    unseen = followed([math.nan] * 9, [math.nan] * 9, [False] * 9)
    assert np.isnan(unseen.ratio()).all()
    assert unseen.covered[0, 0] == 0.0
