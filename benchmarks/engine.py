"""Cost of the engine: microseconds an event by units and batch size, beside PyTorch and ONNX Runtime.

The engine column is a whole event (scale, event time, cell, readout, interval, anomaly). The others are bare
cells for one step: `torch.nn.LSTMCell`, and ONNX's LSTM operator. One thread each; medians.

    python -m benchmarks.engine
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from msgspec import structs
from onnx import TensorProto, helper

from benchmarks import machine
from stream_lstm.cli.bench import model_engine, seconds_an_event
from stream_lstm.core.model import file as model_file
from stream_lstm.core.model.spec import ModelSpec

UNITS = (16, 32, 64, 128, 256)
BATCHES = (1, 16, 256, 4_096)
SECONDS_EACH = 0.1  # of one measurement; `--rounds` of them are taken
COLUMNS = ("engine", "torch", "onnx")
Step = Callable[[], object]


def default_spec() -> ModelSpec:
    """Specification of the default model."""
    shipped = resources.files("stream_lstm.models").joinpath("default.safetensors").read_bytes()
    return model_file.from_bytes(shipped).spec


INPUTS = default_spec().inputs_width


def random_model(units: int) -> model_file.LstmModel:
    """Model like the default one, with another number of units and random weights."""
    spec = structs.replace(default_spec(), units=units, name=f"random{units}")
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return rng.normal(0, 0.2, shape).astype(np.float32)

    tensors = {
        "layer.0.event": drawn(4, INPUTS, units),
        "layer.0.stm": drawn(4, units, units),
        "layer.0.bias": drawn(4, units),
        "readout.weight": drawn(units, spec.outputs),
        "readout.bias": drawn(spec.outputs),
    }
    return model_file.from_bytes(model_file.to_bytes(spec, tensors))


def torch_cell(units: int, batch: int) -> Step:
    """One step of PyTorch's cell."""
    torch.set_num_threads(1)
    layer = torch.nn.LSTMCell(INPUTS, units)
    event, zeros = torch.randn(batch, INPUTS), torch.zeros(batch, units)

    def step() -> object:
        with torch.inference_mode():
            return layer(event, (zeros, zeros))

    return step


def onnx_cell(units: int, batch: int) -> Step:
    """One step of ONNX's LSTM operator."""
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 4 * units, INPUTS), "R": (1, 4 * units, units), "B": (1, 8 * units)}
    weights = [
        onnx.numpy_helper.from_array(rng.normal(0, 0.2, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node("LSTM", ["X", "W", "R", "B", "", "h", "c"], ["", "Yh", "Yc"], hidden_size=units)
    state = [1, batch, units]
    shapes_in = {"X": [1, batch, INPUTS], "h": state, "c": state}
    graph = helper.make_graph(
        [node],
        "cell",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes_in.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, state) for name in ("Yh", "Yc")],
        weights,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes_in.items()}
    return lambda: session.run(None, feed)


def seconds(step: Step) -> float:
    """Mean duration of one call, over `SECONDS_EACH`."""
    step()
    rounds, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < SECONDS_EACH:
        step()
        rounds += 1
    return spent / rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, of which medians count (5)")
    rounds = parser.parse_args().rounds
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = []
    print("microseconds an event")
    print(f"{'units':>5} {'batch':>6} {'engine':>9} {'torch':>9} {'onnx':>9}")
    for units in UNITS:
        for batch in BATCHES:
            engine = model_engine(random_model(units), batch)
            steps = [maker(units, batch) for maker in (torch_cell, onnx_cell)]
            taken = [
                [seconds_an_event(engine, batch), *(seconds(step) / batch for step in steps)]
                for _ in range(rounds)
            ]
            row = [statistics.median(column) * 1e6 for column in zip(*taken, strict=True)]
            print(f"{units:5} {batch:6}" + "".join(f" {number:9.2f}" for number in row), flush=True)
            rows.append({"units": units, "batch": batch} | dict(zip(COLUMNS, row, strict=True)))
    print(f"written: {machine.keep('engine', {'microseconds_an_event': rows})}")


if __name__ == "__main__":
    main()
