"""Conversion of records of the numpy engine, as state files up to version 0.1 hold them, to today's.

Every number goes over as it is: float16 and float32 fit into float64. So a stream goes on where it was.
"""

from __future__ import annotations

import ast

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.state import RecordShape

# Fields of each target, in the order in which they lie in the numpy engine's records.
EXACT = ("expected", "lowest", "highest", "near", "near_lowest", "near_highest", "base")
ROUGH = (
    *("spread", "width", "model_step", "repeated_step", "lead", "lead_repeated", "erred", "moved", "covered"),
    *("tail", "records", "near_records", "run", "run_longest", "unit"),
)
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


def former_type(shape: RecordShape) -> np.dtype[np.void]:
    """The dtype of the numpy engine's records."""
    of_feature, of_target, memory = (shape.features,), (shape.targets,), (shape.layers, shape.units)
    return np.dtype(
        [
            ("seq", "<i8"),
            ("time", "<f8"),
            *((name, "<f8", of_feature) for name in ("value", "mean", "variance")),
            *((name, "<f8", of_target) for name in EXACT),
            *((name, "<f4") for name in ("usual", "behind", "level", "quiet")),
            *((name, "<f4", of_target) for name in ROUGH),
            *((name, "<f2", of_target) for name in ("shape", "excesses", "jump", "hour_worst")),
            ("ltm", "<f4", memory),
            ("stm", "<f4", memory),
            ("routine", "|u1", (*of_target, 24)),
            ("day", "|i1", (*of_target, 288)),
        ]
    )


def former_layout(shape: RecordShape) -> str:
    """Their layout as state files have it."""
    return repr(former_type(shape).descr)


def shape_of(layout: str) -> RecordShape | None:
    """The shape of such records; None if it is another layout."""
    try:
        dtype = np.dtype(ast.literal_eval(layout))
        (features,), (targets,) = dtype["value"].shape, dtype["expected"].shape
        shape = RecordShape(features, targets, *dtype["ltm"].shape)
    except (SyntaxError, ValueError, TypeError, KeyError):
        return None
    return shape if former_layout(shape) == layout else None


def converted(records: bytes, shape: RecordShape) -> NDArray[np.void]:
    """Records of the compiled engine.

    Args:
        records: N records of the numpy engine, one after the other.

    Returns:
        (N,) of `StreamState`.

    Raises:
        ValueError: the bytes are not a whole number of records.
    """
    before = np.frombuffer(records, former_type(shape))
    out = np.zeros(len(before), shape.dtype)
    for name, path in OF_STREAM.items():
        _field(out, path)[...] = before[name]
    if shape.targets:
        for name, path in OF_TARGET.items():
            _field(out["targets"], path)[...] = before[name]
    return out


def _field(records: NDArray[np.void], path: str) -> NDArray[np.void]:
    """A view of a field, nested in others."""
    for name in path.split("."):
        records = records[name]
    return records
