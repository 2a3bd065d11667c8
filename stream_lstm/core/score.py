"""How far off the last prediction was: calibrates the interval, and says how surprising the event is.

Both follow one quantile of a stream's own errors, measured in the spread that the model announced. The step
up is larger than the step down by the odds of the quantile, so in the long run just that share lies beyond
(quantile tracking; the online conformal rule of Gibbs and Candès, "Adaptive Conformal Inference Under
Distribution Shift", 2021, in the logarithm of the width).

The anomaly is a tail probability on a logarithmic scale: 0 is nothing special, 0.5 happens once in a
thousand events, 1 once in a million or less. While few events are known, the tail is heavier: that of a
Laplace distribution whose scale was learnt from n events, (1 + e/n)^-n, which tends to exp(-e).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.scaling import Doubles

INTERVAL = 0.9
WIDTH_FIRST = -np.log(1.0 - INTERVAL)  # the 90 % quantile of |error| / spread, were the model's spread exact
WIDTH_RATE = 0.05
WIDTH_MIN, WIDTH_MAX = 0.05, 200.0

TAIL = 0.99
TAIL_FIRST = -np.log(1.0 - TAIL)
TAIL_RATE = 0.05
TAIL_MIN, TAIL_MAX = 1.0, 200.0

SURPRISE_MAX = 1e6  # in spreads; keeps every later number finite
RAREST_LOG = np.log(1e6)  # an anomaly of 1: once in a million


class Calibration(NamedTuple):
    """Quantiles of |error| / spread of each stream and target, (B, T)."""

    width: Doubles
    tail: Doubles


class Forecast(NamedTuple):
    """What was said of the event that has come now, (B, T)."""

    expected: Doubles
    spread: Doubles
    reach: Doubles


class Judgement(NamedTuple):
    """How that turned out."""

    error: Doubles  # (B, T) |value - expected|, NaN where nothing was expected or nothing can be seen
    missed: NDArray[np.bool_]  # (B, T) the event lay outside its interval
    anomaly: Doubles  # (B,)
    calibration: Calibration


def judge(
    forecast: Forecast, before: Calibration, seen: Doubles, deviation: Doubles, seq: NDArray[np.int64]
) -> Judgement:
    """Compare events with what was expected of them.

    Args:
        forecast: what was said of them; ignored where `seq` is 1.
        before: ignored where `seq` is 1.
        seen: (B, T) what came, NaN of a target that events do not carry.
        deviation: (B, T) of the targets, these events included.
        seq: (B,) how many events the stream has had, these included.
    """
    first = (seq == 1)[:, None]
    known = ~(first | np.isnan(seen))
    error = np.where(known, np.abs(seen - forecast.expected), 0.0)
    missed = error > forecast.reach
    spread = np.where(known, forecast.spread, 1.0)
    surprise = np.minimum(error / (spread * deviation), SURPRISE_MAX)
    width = np.where(first, WIDTH_FIRST, before.width)
    tail = np.where(first, TAIL_FIRST, before.tail)
    after = follow(Calibration(width, tail), missed, surprise)
    return Judgement(
        error=np.where(known, error, np.nan),
        missed=missed & known,
        anomaly=anomaly(surprise, tail, seq - 1),
        calibration=Calibration(np.where(known, after.width, width), np.where(known, after.tail, tail)),
    )


def follow(before: Calibration, missed: NDArray[np.bool_], surprise: Doubles) -> Calibration:
    """The calibration after one more event of each stream."""
    width = before.width * _push(missed, WIDTH_RATE, INTERVAL)
    tail = before.tail * _push(surprise > before.tail, TAIL_RATE, TAIL)
    return Calibration(width.clip(WIDTH_MIN, WIDTH_MAX), tail.clip(TAIL_MIN, TAIL_MAX))


def _push(beyond: NDArray[np.bool_], rate: float, quantile: float) -> Doubles:
    return np.asarray(np.where(beyond, np.exp(rate * quantile), np.exp(rate * (quantile - 1.0))), np.float64)


def anomaly(surprise: Doubles, tail: Doubles, known: NDArray[np.int64]) -> Doubles:
    """How surprising each event was, (B,) in [0, 1]: the most surprising of its targets.

    Args:
        surprise: (B, T) |error| / spread, 0 where nothing was expected.
        tail: (B, T) what a surprise of once in a hundred has been for this stream.
        known: (B,) events before this one.
    """
    calibrated = surprise * (TAIL_FIRST / tail)
    events = np.maximum(known, 1)[:, None]
    rarity = events * np.log1p(calibrated / events) / RAREST_LOG
    return np.asarray(np.minimum(rarity.max(axis=1, initial=0.0), 1.0))
