"""A stream's record and the model's weights, each one numpy record.

Letters: F features, T targets, L layers of H units, I inputs, O outputs of the readout, K steps ahead, C
labels. An axis that would be empty has length 1, as compiled code has no empty arrays in records.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.model.input_names import INPUTS
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.record import Doubles, Field, Flag, Floats, Int, Record, layout
from stream_lstm.core.trackers.accuracy import AccuracyState
from stream_lstm.core.trackers.anomaly import AnomalyState
from stream_lstm.core.trackers.event_time import EventTimeState
from stream_lstm.core.trackers.experts import ExpertsState
from stream_lstm.core.trackers.incident import IncidentState
from stream_lstm.core.trackers.interval import IntervalState
from stream_lstm.core.trackers.scale import ScaleState
from stream_lstm.core.trackers.seasonal import SeasonalState
from stream_lstm.events import EVENT_MAX

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
    value: Annotated[
        Doubles, "<f8", "features", Field("of the feature", False, -EVENT_MAX, EVENT_MAX)
    ]  # last
    scale: Annotated[NDArray[np.void], ScaleState, "features"]
    ltm: Annotated[Floats, "<f4", "layers", "units"]
    stm: Annotated[Floats, "<f4", "layers", "units"]
    targets: Annotated[NDArray[np.void], TargetState, "targets"]


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
    sums: Annotated[Floats, "<f4", "layers", "gates"]  # (L, 4H) inputs of the gates
    outputs: Annotated[Floats, "<f4", "outputs"]  # (O,)
    deviation_before: Annotated[Doubles, "<f8", "features"]  # without this event
    width: Annotated[Doubles, "<f8", "targets"]  # of the next interval, in spreads
    seasonal_weight: Annotated[Doubles, "<f8", "targets"]  # of the seasonal expert in the forecast


class RecordShape(NamedTuple):
    """Sizes that decide how a stream's record is laid out."""

    features: int
    targets: int
    layers: int
    units: int

    @classmethod
    def of(cls, spec: ModelSpec) -> RecordShape:
        """Of a model's records."""
        return cls(len(spec.features), len(spec.targets), spec.layers, spec.units)

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The dtype of `StreamState`."""
        return layout(StreamState, **self._replace(targets=max(self.targets, 1))._asdict())

    def describe(self) -> str:
        """The layout as text, as a state file has it: the shape, and a digest of the fields."""
        digest = hashlib.sha256(repr(self.dtype.descr).encode()).hexdigest()[:16]
        return " ".join([*(f"{name}={size}" for name, size in self._asdict().items()), f"fields={digest}"])

    @classmethod
    def parse(cls, text: str) -> RecordShape | None:
        """The shape of a layout that `describe` returned; None if its fields are not this release's."""
        try:
            shape = cls(**{name: int(size) for name, size in re.findall(r"(\w+)=(\d+)(?= )", text)})
        except TypeError:
            return None
        return shape if shape.describe() == text else None


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
    return RecordShape.of(spec).dtype


def room(spec: ModelSpec) -> NDArray[np.void]:
    """Room for one event, (1,)."""
    return np.zeros(1, layout(Room, **sizes(spec)))


def model_record(model: LstmModel) -> NDArray[np.void]:
    """A model's weights, (1,) of `ModelRecord`."""
    out = spec_record(model.spec)
    record = out[0]
    for n, weights in enumerate(model.layers):
        rows = np.concatenate([_side_by_side(weights.event), _side_by_side(weights.stm)])
        place = record["further"][n - 1] if n else record["first"]
        place[:] = rows
        record["bias"][n] = weights.bias.reshape(-1)
    record["readout"], record["readout_bias"] = model.readout.weight, model.readout.bias
    return out


def spec_record(spec: ModelSpec) -> NDArray[np.void]:
    """The same with weights of zero."""
    out = np.zeros(1, layout(ModelRecord, **sizes(spec)))
    record = out[0]
    record["fixed"] = spec.scaling == "fixed"
    if record["fixed"]:
        record["mean"], record["deviation"] = spec.mean, spec.deviation
    record["targets"], record["feature_of"] = len(spec.targets), feature_of(spec)
    if spec.targets and record["fixed"]:
        record["target_mean"], record["target_deviation"] = spec.target_mean, spec.target_deviation
    record["inputs"] = [INPUTS.index(name) for name in spec.inputs]
    record["readout_kind"] = READOUTS.index(spec.readout)
    return out


def feature_of(spec: ModelSpec) -> NDArray[np.int64]:
    """The feature that each target is, -1 of a target that events do not carry; not empty."""
    index = {name: n for n, name in enumerate(spec.features)}
    return np.array([index.get(name, -1) for name in spec.targets] or [-1], np.int64)


def _side_by_side(gates: Floats) -> Floats:
    """(4, M, H) as (M, 4H)."""
    return np.ascontiguousarray(gates.transpose(1, 0, 2).reshape(gates.shape[1], -1))
