"""Columns of predictions: of no events, of first events, of a part."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.predictions import Predictions
from stream_lstm.events import Batch
from tests.core.models import KINDS, engine, random_model


def predictions(kind: str, events: int) -> Predictions:
    model = random_model(**KINDS[kind])
    values = np.ones((events, len(model.spec.features)))
    return engine(model, 1).apply(Batch.timed(np.ones(events, np.intp), np.arange(events) + 1e9, values))


@pytest.mark.parametrize("kind", KINDS)
def test_no_events_give_columns_of_the_same_types_and_widths(kind: str) -> None:
    nothing, one = predictions(kind, 0), predictions(kind, 1)
    assert [column.shape[1:] for column in nothing] == [column.shape[1:] for column in one]
    assert [column.dtype for column in nothing] == [column.dtype for column in one]
    assert len(nothing.seq) == 0


def test_the_prediction_is_the_first_step_of_the_forecast() -> None:
    found = predictions("far", 3)
    assert found.forecast.shape == (3, 3, 1)
    assert found.prediction.tolist() == found.forecast[:, 0].tolist()


def test_a_first_event_has_no_expected_value_and_no_interval() -> None:
    found = predictions("pair", 3)
    masked = found.mask_first(np.array([False, True, False]))
    for column in ("expected", "half_width", "persistence", "covered"):
        assert np.isnan(getattr(masked, column)[1]).all()
        assert getattr(masked, column)[2].tolist() == getattr(found, column)[2].tolist()
    assert found.mask_first(np.zeros(3, np.bool_)) is found


def test_the_head_has_the_first_events() -> None:
    found = predictions("step", 3)
    assert found.head(3) is found
    for column, head in zip(found, found.head(2), strict=True):
        assert head.tobytes() == column[:2].tobytes()
