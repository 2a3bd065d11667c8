"""Prediction of the Python interface: what one event said, and the gates of the cell at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.codec.naming import Interval, Numbers


class Gates(NamedTuple):
    """The LSTM cell at one event; L layers of H units, I inputs.

    The four gates: forget keeps `forget` of the LTM; learn makes `learn * news` of STM and event; remember
    adds the two, which is the new `ltm`; use shows `use * tanh(ltm)` of it, the new `stm`.

    Attributes:
        entering: (I,) inputs of the first layer.
        forget: (L, H) forget gate: share of the LTM that is kept.
        learn: (L, H) input gate: share of the news that counts.
        news: (L, H) candidate: the news in STM and event, from -1 to 1.
        use: (L, H) output gate: share of the new LTM that is shown.
        ltm: (L, H) long-term memory after the event.
        stm: (L, H) short-term memory after the event.
    """

    entering: NDArray[np.float32]
    forget: NDArray[np.float32]
    learn: NDArray[np.float32]
    news: NDArray[np.float32]
    use: NDArray[np.float32]
    ltm: NDArray[np.float32]
    stm: NDArray[np.float32]


class Prediction(NamedTuple):
    """Outcome of one event; a model of several features or targets has objects by name instead of numbers.

    Attributes:
        stream: its name.
        seq: number of the event in its stream, from 1.
        time: of the event, epoch seconds.
        value: of the event.
        expected: what the event before had predicted for this one; None at the first.
        forecast: of the next event; None of a model with labels.
        interval: in which the next value lies with the probability of the forecaster's `interval`.
        anomaly: of this event, from 0 to 1; 0.5 is once in a thousand events, 1 once in a million.
        alert: True where an incident begins.
        kind: main cause of an anomaly; None of a normal event.
        trust: the model's weight in the forecast, beside the last value and the day before.
        ahead: forecasts further ahead, by number of events; empty if the model has none.
        probabilities: of each label, of a model with labels.
        gates: if they were asked for.
    """

    stream: str
    seq: int
    time: float
    value: Numbers
    expected: Numbers
    forecast: Numbers
    interval: Interval
    anomaly: float
    alert: bool
    kind: str | None
    trust: Numbers
    ahead: dict[int, Numbers]
    probabilities: dict[str, float]
    gates: Gates | None

    @property
    def label(self) -> str | None:
        """The most probable label; None of a model without labels."""
        return max(self.probabilities, key=self.probabilities.__getitem__) if self.probabilities else None

    def __repr__(self) -> str:
        said = f"label {self.label}" if self.label else f"expected {_short(self.expected)}"
        coming = "" if self.label else f", forecast {_short(self.forecast)} in {_short(self.interval)}"
        alert = f", ALERT {self.kind}" if self.alert else ""
        return (
            f"<{self.stream} #{self.seq}: {_short(self.value)}, {said}{coming}, "
            f"anomaly {self.anomaly:.2f}{alert}>"
        )


def _short(numbers: Any) -> str:
    """Numbers as a person reads them."""
    if isinstance(numbers, Mapping):
        return "{" + ", ".join(f"{name} {_short(number)}" for name, number in numbers.items()) + "}"
    if isinstance(numbers, (tuple, list)):
        return f"{_short(numbers[0])} to {_short(numbers[1])}"
    return "unknown" if numbers is None else f"{numbers:.6g}"
