"""Prediction intervals have the coverage that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from stream_lstm.core.trackers import interval

ERRORS = {
    "laplace": lambda rng, n: rng.laplace(0, 1, n),
    "gauss": lambda rng, n: rng.normal(0, 3, n),
    "heavy": lambda rng, n: rng.standard_t(2.5, n) * 0.2,
    "changing": lambda rng, n: rng.laplace(0, 1, n) * np.where(np.arange(n) % 4_000 < 2_000, 0.3, 5.0),
}


def missed(errors: list[float], share: float = interval.INTERVAL) -> list[bool]:
    """True for each error outside its interval; the model's spread is always 1."""
    one, out = np.ones((1, 1)), []
    width = half_width = one * 0
    for seq, error in enumerate(errors, 1):
        checked = interval.update(
            interval.LastForecast(one * 0, one, half_width),
            width,
            np.array([[error]]),
            one,
            np.array([seq]),
            share,
        )
        width = half_width = checked.width
        out.append(bool(checked.missed[0, 0]))
    return out


@pytest.mark.parametrize("kind", ERRORS)
def test_nine_in_ten_values_lie_inside_for_any_distribution_of_errors(kind: str) -> None:
    found = missed(ERRORS[kind](np.random.default_rng(3), 12_000).tolist())
    assert 0.885 <= 1 - np.mean(found[1_000:]) <= 0.915


@pytest.mark.parametrize("share", [0.5, 0.8, 0.99])
def test_other_coverages_are_reached_as_well(share: float) -> None:
    found = missed(np.random.default_rng(4).laplace(0, 1, 12_000).tolist(), share)
    assert 1 - np.mean(found[1_000:]) == pytest.approx(share, abs=0.015)
