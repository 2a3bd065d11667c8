"""How far a stream may trust the model: where "same as last time" errs less, the prediction falls back to it.

Two experts, weighted by their errors of late (Hedge: Freund and Schapire, "A Decision-Theoretic
Generalization of On-Line Learning", 1997): the model, and a step of zero. A stream that the model understands
trusts it whole within some tens of events; one that it does not loses next to nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.scaling import Doubles

MEMORY_EVENTS = 500.0
EAGERNESS = 0.5  # of the weights to follow the errors
MOVED_MIN = 1e-9


def weight(lead: Doubles) -> Doubles:
    """The model's share in the prediction, 0 to 1."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(-EAGERNESS * lead, -50.0, 50.0))))


def follow(
    lead: Doubles, model_error: Doubles, step: Doubles, moved: Doubles, seq: NDArray[np.int64]
) -> Doubles:
    """The model's lead after one more event of each stream, all (B, T) and in deviations.

    Args:
        lead: by how much its errors were smaller, in usual steps, summed up and forgotten; ignored where
            `seq` is 1.
        model_error: |value - what the model alone expected|.
        step: |value - the one before|.
        moved: the usual step, this one included.
        seq: (B,) how many events the stream has had, this one included.
    """
    first = (seq == 1)[:, None]
    news = np.where(first, 0.0, step - model_error) / np.maximum(moved, MOVED_MIN)
    lead = np.where(first, 0.0, lead) * (1.0 - 1.0 / MEMORY_EVENTS) + news
    return np.asarray(lead.clip(-MEMORY_EVENTS, MEMORY_EVENTS))
