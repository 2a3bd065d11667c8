"""Synthetic streams: finite, in order of time, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.train.generate import COMPONENTS, SENSOR_EFFECTS, generate_stream


@pytest.mark.parametrize("seed", range(40))
def test_streams_are_finite_and_in_order_of_time(seed: int) -> None:
    series = generate_stream(np.random.default_rng(seed), 500)
    assert np.isfinite(series.values).all()
    assert (np.diff(series.times) > 0).all()
    assert len(series.values) == 500


def test_the_same_seed_gives_the_same_stream() -> None:
    first, second = (generate_stream(np.random.default_rng(7), 300) for _ in range(2))
    assert np.array_equal(first.values, second.values)


@pytest.mark.parametrize("component", [each for each, _ in COMPONENTS], ids=lambda each: each.__name__)
def test_every_component_gives_one_value_an_event(component: object) -> None:
    times = np.arange(400) * 60.0
    for seed in range(8):
        values = component(np.random.default_rng(seed), times)  # type: ignore[operator]
        assert values.shape == (400,)
        assert np.isfinite(values).all()


@pytest.mark.parametrize("effect", [each for each, _ in SENSOR_EFFECTS], ids=lambda each: each.__name__)
def test_every_sensor_effect_keeps_values_finite(effect: object) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        assert np.isfinite(effect(rng, rng.normal(0, 1, 400))).all()  # type: ignore[operator]
