"""Batch size: how many events a batch may have, so that none blocks the event loop or fills the memory.

The settings limit a batch of a usual model. One of a large model has fewer events: its engine takes longer
for each, and its predictions are larger.
"""

from __future__ import annotations

from stream_lstm.core.model.spec import ModelSpec

# Measured: the engine makes 15 to 25 multiplications a nanosecond, so a batch takes some 100 ms at most.
MULTIPLICATIONS_MAX = 2_000_000_000
OUTPUT_BYTES_MAX = 16_777_216  # of a batch's predictions: an estimate, without the streams' names
PREDICTION_BYTES, NUMBER_BYTES = 400, 24  # of JSON, at most, without its lists of numbers; of each number


def events_max(spec: ModelSpec, limit: int) -> int:
    """Most events in a batch, at least 1.

    Args:
        limit: `limits.batch_events_max`.
    """
    units, layers = spec.units, spec.layers
    cell = 4 * units * (spec.inputs_width + units) + (layers - 1) * 8 * units * units
    multiplications = cell + units * spec.outputs
    numbers = len(spec.features) + (2 + 3 * len(spec.horizon)) * len(spec.targets) + len(spec.labels)
    output = PREDICTION_BYTES + NUMBER_BYTES * numbers
    return max(min(limit, MULTIPLICATIONS_MAX // multiplications, OUTPUT_BYTES_MAX // output), 1)
