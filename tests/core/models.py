"""Models with random weights, for tests that do not depend on the values of predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import file as model_file
from stream_lstm.core.model.spec import FORMAT_VERSION, ModelSpec
from stream_lstm.core.predictions import Predictions, prediction_type

Tensors = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


def description(**changes: Any) -> ModelSpec:
    base: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "name": "random",
        "features": ["value"],
        "inputs": ["value", "difference", "day", "age"],
        "scaling": "running",
        "layers": 1,
        "units": 8,
        "readout": "step",
        "targets": ["value"],
    }
    return ModelSpec(**(base | changes))


def tensors(of: ModelSpec, seed: int = 0) -> Tensors:
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    made = {"readout.weight": drawn(of.units, of.outputs), "readout.bias": drawn(of.outputs)}
    for n in range(of.layers):
        made[f"layer.{n}.event"] = drawn(4, of.units if n else of.inputs_width, of.units)
        made[f"layer.{n}.stm"] = drawn(4, of.units, of.units)
        made[f"layer.{n}.bias"] = drawn(4, of.units)
    return made


def random_model(seed: int = 0, **changes: Any) -> model_file.LstmModel:
    of = description(**changes)
    return model_file.from_bytes(model_file.to_bytes(of, tensors(of, seed)))


FIXED = {
    "features": ["a", "b"],
    "inputs": ["value"],
    "scaling": "fixed",
    "readout": "value",
    "targets": ["b", "soft"],
    "mean": [0.0, 1.0],
    "deviation": [1.0, 2.0],
    "target_mean": [0.0, 5.0],
    "target_deviation": [1.0, 3.0],
}
KINDS: dict[str, dict[str, Any]] = {
    "step": {},
    "pair": {"features": ["a", "b"], "targets": ["a", "b"]},
    "far": {"horizon": [1, 2, 6]},
    "stacked": {"layers": 3, "units": 16},
    "odd size": {"units": 100},
    "value": {"features": ["a", "b"], "inputs": ["value"], "readout": "value", "targets": ["b"]},
    "fixed": FIXED,
    "classes": {
        **FIXED,
        "readout": "classes",
        "targets": [],
        "labels": ["wolf", "dog"],
        "target_mean": [],
        "target_deviation": [],
    },
}


def engine(made: model_file.LstmModel, streams: int, *, streams_max: int = 400) -> Engine:
    """An engine with streams in rows 1, 2, …"""
    running = Engine(made, Memories(made.spec, rows_max=streams_max))
    for n in range(streams):
        running.memories.add(str(n), n + 1)
    return running


def predictions(spec: ModelSpec, count: int, **columns: Any) -> Predictions:
    """Predictions of some events with these columns, zeros in all others."""
    records = np.zeros(count, prediction_type(spec))
    for name, column in columns.items():
        records[name] = np.reshape(column, records[name].shape)
    return Predictions(records, spec)
