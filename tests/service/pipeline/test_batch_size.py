"""Batch size: that of the settings for usual models, smaller for large ones."""

from __future__ import annotations

from stream_lstm.service.assembly import load_model
from stream_lstm.service.pipeline.batch_size import events_max
from tests.core.models import description


def test_the_default_model_takes_the_batch_of_the_settings() -> None:
    assert events_max(load_model(None).spec, 4_096) == 4_096


def test_a_model_that_is_slow_or_says_much_takes_fewer_events() -> None:
    slow = description(units=2_048, layers=4)
    assert 1 <= events_max(slow, 4_096) < 50
    wide = [f"f{n}" for n in range(1_000)]
    assert events_max(description(features=wide, targets=wide), 4_096) < 200
    assert events_max(description(units=4_096, layers=16), 4_096) == 1
