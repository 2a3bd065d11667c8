"""Conversion of records of the numpy engine, as state files hold them, to records of the compiled engine.

Every number goes over as it is: float16 and float32 fit into float64. So a stream goes on where it was.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.compiled.state import state_type
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.record import row_type

# Fields of the numpy engine's records, and their path in the compiled engine's.
OF_STREAM = {
    "seq": "seq",
    "value": "value",
    "ltm": "ltm",
    "stm": "stm",
    "time": "event_time.time",
    "usual": "event_time.usual_gap",
    "behind": "event_time.late_in_a_row",
    "level": "incident.incident",
    "quiet": "incident.cooldown",
    "mean": "scale.mean",
    "variance": "scale.variance",
}
OF_TARGET = {
    "expected": "interval.expected",
    "spread": "interval.spread",
    "width": "interval.width",
    "erred": "accuracy.mae",
    "moved": "accuracy.naive_mae",
    "covered": "accuracy.coverage",
    "model_step": "experts.model_step",
    "repeated_step": "experts.seasonal_step",
    "lead": "experts.model_advantage",
    "lead_repeated": "experts.seasonal_advantage",
    "base": "seasonal.base",
    "unit": "seasonal.unit",
    "day": "seasonal.slots",
    "tail": "anomaly.tail",
    "shape": "anomaly.shape",
    "excesses": "anomaly.excesses",
    "lowest": "anomaly.lowest",
    "highest": "anomaly.highest",
    "records": "anomaly.record_rate",
    "near": "anomaly.recent",
    "near_lowest": "anomaly.recent_lowest",
    "near_highest": "anomaly.recent_highest",
    "near_records": "anomaly.recent_record_rate",
    "run": "anomaly.run",
    "run_longest": "anomaly.run_longest",
    "jump": "anomaly.peak_surprise",
    "hour_worst": "anomaly.hourly.hour_error",
    "routine": "anomaly.hourly.hours",
}


def converted(records: bytes, spec: ModelSpec) -> NDArray[np.void]:
    """Records of the compiled engine.

    Args:
        records: N records of the numpy engine, one after the other.
        spec: of the model that both belong to.

    Returns:
        (N,) of `StreamState`.

    Raises:
        ValueError: the bytes are not a whole number of records of this model.
    """
    before = np.frombuffer(records, row_type(spec))
    out = np.zeros(len(before), state_type(spec))
    for name, path in OF_STREAM.items():
        _field(out, path)[...] = before[name]
    if spec.targets:
        for name, path in OF_TARGET.items():
            _field(out["targets"], path)[...] = before[name]
    return out


def _field(records: NDArray[np.void], path: str) -> NDArray[np.void]:
    """A view of a field, nested in others."""
    for name in path.split("."):
        records = records[name]
    return records
