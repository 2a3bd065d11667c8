"""How far a stream may trust the model: where "same as last time" errs less, the prediction falls back to it.

Three experts, weighted by their errors of late (Hedge: Freund and Schapire, "A Decision-Theoretic
Generalization of On-Line Learning", 1997): the model, a step of zero, and the step of a day ago
(`seasonal`). A stream that the model understands trusts it whole within some tens of events; one that it
does not loses next to nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.trackers.scale import Doubles

MEMORY_EVENTS = 500.0
EAGERNESS = 0.5  # of the weights to follow the errors
MOVED_MIN = 1e-9
LEAD_MAX = 50.0  # who leads by more is not trusted more, but stays trusted for longer than is good
MODEL_FIRST = 2.0  # its weight at first beside those of the other two: half in all


def weights(lead: Doubles) -> Doubles:
    """The shares of the model and of the repeated step in the prediction; the rest is a step of zero.

    Args:
        lead: (E, B, T) theirs, see `follow`.
    """
    most = np.maximum(np.maximum(lead[0], lead[1]), 0.0)
    odds = np.exp(EAGERNESS * (lead - most))
    odds[0] *= MODEL_FIRST
    return np.asarray(odds / (odds[0] + odds[1] + np.exp(-EAGERNESS * most)))


def update(lead: Doubles, error: Doubles, step: Doubles, moved: Doubles, seq: NDArray[np.int64]) -> Doubles:
    """The experts' leads after one more event of each stream, in deviations.

    Args:
        lead: (E, B, T) by how much their errors were smaller than a step of zero's, in usual steps, summed up
            and forgotten; ignored where `seq` is 1.
        error: (E, B, T) |value - what each alone expected|.
        step: (B, T) |value - the one before|.
        moved: (B, T) the usual step, this one included.
        seq: (B,) how many events the stream has had, this one included.
    """
    lead = lead * (1.0 - 1.0 / MEMORY_EVENTS) + (step - error) / np.maximum(moved, MOVED_MIN)
    if np.count_nonzero(seq == 1):
        lead = np.where((seq == 1)[:, None], 0.0, lead)
    return np.minimum(np.maximum(lead, -LEAD_MAX), LEAD_MAX)
