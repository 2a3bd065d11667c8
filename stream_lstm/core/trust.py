"""How far a stream may trust the model: where "same as last time" errs less, the prediction falls back to it.

Two experts, weighted by their errors of late (Hedge: Freund and Schapire, "A Decision-Theoretic
Generalization of On-Line Learning", 1997): the model, and a step of zero. A stream that the model understands
trusts it whole within some tens of events; one that it does not loses next to nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.scaling import Doubles

MEMORY_EVENTS = 500.0
EAGERNESS = 0.5  # of the weights to follow the errors
MOVE_MIN = 1e-9


class Trust(NamedTuple):
    """What is remembered for it, (B, T) each, in deviations."""

    lead: Doubles  # by how much the model's errors were smaller, in usual steps, summed up and forgotten
    move: Doubles  # the usual step

    def weight(self) -> Doubles:
        """The model's share in the prediction, 0 to 1."""
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-EAGERNESS * self.lead, -50.0, 50.0))))


def follow(before: Trust, model_error: Doubles, step: Doubles, seq: NDArray[np.int64]) -> Trust:
    """The trust after one more event of each stream.

    Args:
        before: ignored where `seq` is 1.
        model_error: |value - what the model alone expected|, NaN where nothing was expected.
        step: |value - the one before|.
        seq: (B,) how many events the stream has had, this one included.
    """
    first = (seq == 1)[:, None]
    known = ~(first | np.isnan(model_error) | np.isnan(step))
    lead, move = (np.where(first, 0.0, old) for old in before)
    news, size = np.where(known, step - model_error, 0.0), np.where(known, step, 0.0)
    gain = np.maximum(1.0 / np.maximum(seq - 1, 1), 1.0 / MEMORY_EVENTS)[:, None]
    move = move + gain * (size - move)
    lead = lead * (1.0 - 1.0 / MEMORY_EVENTS) + news / np.maximum(move, MOVE_MIN)
    return Trust(np.clip(lead, -MEMORY_EVENTS, MEMORY_EVENTS), move)
