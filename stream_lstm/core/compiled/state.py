"""A stream's record, the model's weights and an event's prediction, each one numpy record.

Letters: F features, T targets, L layers of H units, I inputs, O outputs of the readout, K steps ahead, C
labels. An axis that would be empty has length 1, as compiled code has no empty arrays in records.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.compiled.accuracy import AccuracyState
from stream_lstm.core.compiled.anomaly import AnomalyState
from stream_lstm.core.compiled.event_time import EventTimeState
from stream_lstm.core.compiled.experts import ExpertsState
from stream_lstm.core.compiled.incident import IncidentState
from stream_lstm.core.compiled.interval import IntervalState
from stream_lstm.core.compiled.record import Doubles, Flag, Float, Floats, Int, Record, Small, layout
from stream_lstm.core.compiled.scale import ScaleState
from stream_lstm.core.compiled.seasonal import SeasonalState
from stream_lstm.core.model.file import Model
from stream_lstm.core.model.spec import ModelSpec

INPUTS = ("value", "difference", "day", "week", "gap", "age")  # codes in `ModelRecord.inputs`
READOUTS = ("step", "value", "classes")  # codes in `ModelRecord.readout_kind`


class TargetState(Record):
    """Memory of one target."""

    interval: IntervalState
    accuracy: AccuracyState
    experts: ExpertsState
    seasonal: SeasonalState
    anomaly: AnomalyState


class StreamState(Record):
    """All that is remembered of a stream; only the engine changes it."""

    seq: Int  # number of events so far
    event_time: EventTimeState
    incident: IncidentState
    value: Annotated[Doubles, "<f8", "features"]  # of the last event
    scale: Annotated[NDArray[np.void], ScaleState, "features"]
    ltm: Annotated[Floats, "<f4", "layers", "units"]
    stm: Annotated[Floats, "<f4", "layers", "units"]
    targets: Annotated[NDArray[np.void], TargetState, "targets"]


class PredictionRecord(Record):
    """Output for an event, see `stream_lstm.core.predictions`; NaN where there is nothing to say."""

    seq: Int
    anomaly: Float
    incident_score: Float
    expected: Annotated[Doubles, "<f8", "targets"]
    trust: Annotated[Doubles, "<f8", "targets"]
    error: Annotated[Doubles, "<f8", "targets"]
    persistence: Annotated[Doubles, "<f8", "targets"]
    relative_mae: Annotated[Doubles, "<f8", "targets"]
    covered: Annotated[Doubles, "<f8", "targets"]
    forecast: Annotated[Doubles, "<f8", "horizon", "targets"]
    half_width: Annotated[Doubles, "<f8", "horizon", "targets"]
    probabilities: Annotated[Doubles, "<f8", "labels"]
    missed: Annotated[NDArray[np.uint8], "u1", "targets"]  # 1 or 0: numba has no arrays of flags in records
    kind: Small
    alert: Flag
    late: Flag


class ModelRecord(Record):
    """A model's weights and what of its specification the engine needs."""

    first: Annotated[Floats, "<f4", "first_rows", "gates"]  # (I + H, 4H)
    further: Annotated[Floats, "<f4", "further", "further_rows", "gates"]  # (L - 1, 2H, 4H)
    bias: Annotated[Floats, "<f4", "layers", "gates"]
    readout: Annotated[Floats, "<f4", "units", "outputs"]
    readout_bias: Annotated[Floats, "<f4", "outputs"]
    mean: Annotated[Doubles, "<f8", "features"]  # of a fixed scaling
    deviation: Annotated[Doubles, "<f8", "features"]
    target_mean: Annotated[Doubles, "<f8", "targets"]
    target_deviation: Annotated[Doubles, "<f8", "targets"]
    feature_of: Annotated[NDArray[np.int64], "<i8", "targets"]  # -1 of a target that events do not carry
    inputs: Annotated[NDArray[np.int64], "<i8", "inputs"]  # indices in `INPUTS`
    targets: Int  # T, which may be 0
    readout_kind: Int  # index in `READOUTS`
    fixed: Flag  # scaling


class Room(Record):
    """Room for the intermediate results of one event."""

    entering: Annotated[Floats, "<f4", "entering"]  # (I,)
    sums: Annotated[Floats, "<f4", "gates"]  # (4H,)
    outputs: Annotated[Floats, "<f4", "outputs"]  # (O,)
    deviation_before: Annotated[Doubles, "<f8", "features"]  # without this event
    width: Annotated[Doubles, "<f8", "targets"]  # of the next interval, in spreads
    seasonal_weight: Annotated[Doubles, "<f8", "targets"]  # of the seasonal expert in the forecast


def sizes(spec: ModelSpec) -> dict[str, int]:
    """Lengths of the axes of a model's records."""
    return {
        "features": len(spec.features),
        "targets": max(len(spec.targets), 1),
        "labels": max(len(spec.labels), 1),
        "horizon": len(spec.horizon),
        "layers": spec.layers,
        "further": max(spec.layers - 1, 1),
        "units": spec.units,
        "gates": 4 * spec.units,
        "first_rows": spec.inputs_width + spec.units,
        "further_rows": 2 * spec.units,
        "outputs": spec.outputs,
        "inputs": len(spec.inputs),
        "entering": spec.inputs_width,
    }


def state_type(spec: ModelSpec) -> np.dtype[np.void]:
    """The dtype of a stream's record."""
    return layout(StreamState, **sizes(spec))


def prediction_type(spec: ModelSpec) -> np.dtype[np.void]:
    """The dtype of a prediction."""
    return layout(PredictionRecord, **sizes(spec))


def room(spec: ModelSpec) -> NDArray[np.void]:
    """Room for one event, (1,)."""
    return np.zeros(1, layout(Room, **sizes(spec)))


def model_record(model: Model) -> NDArray[np.void]:
    """A model's weights, (1,) of `ModelRecord`."""
    spec = model.spec
    out = np.zeros(1, layout(ModelRecord, **sizes(spec)))
    record = out[0]
    for n, weights in enumerate(model.layers):
        rows = np.concatenate([_side_by_side(weights.event), _side_by_side(weights.stm)])
        target = record["further"][n - 1] if n else record["first"]
        target[:] = rows
        record["bias"][n] = weights.bias.reshape(-1)
    record["readout"], record["readout_bias"] = model.readout.weight, model.readout.bias
    record["fixed"] = spec.scaling == "fixed"
    if record["fixed"]:
        record["mean"], record["deviation"] = spec.mean, spec.deviation
    index = {name: n for n, name in enumerate(spec.features)}
    record["targets"] = len(spec.targets)
    if spec.targets:
        record["feature_of"] = [index.get(name, -1) for name in spec.targets]
        if record["fixed"]:
            record["target_mean"], record["target_deviation"] = spec.target_mean, spec.target_deviation
    record["inputs"] = [INPUTS.index(name) for name in spec.inputs]
    record["readout_kind"] = READOUTS.index(spec.readout)
    return out


def _side_by_side(gates: Floats) -> Floats:
    """(4, 1, M, H) as (M, 4H)."""
    return np.ascontiguousarray(gates[:, 0].transpose(1, 0, 2).reshape(gates.shape[2], -1))
