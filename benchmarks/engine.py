"""The engine alone: microseconds an event by batch size and units, beside PyTorch and ONNX Runtime.

The engine does all that an event needs (fetch its memory, scale, cell, readout, interval, anomaly, store the
memory); beside it stand the bare cells: ours, `torch.nn.LSTMCell`, and ONNX's LSTM operator for one step.
One thread each; medians.

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
from stream_lstm.core.model import cell
from stream_lstm.core.model import file as model_file
from stream_lstm.core.model.spec import ModelSpec

UNITS = (16, 32, 64, 128)
BATCHES = (1, 16, 64, 256, 1_024)
SECONDS_EACH = 0.1
COLUMNS = ("engine", "cell", "torch", "onnx")
Step = Callable[[], object]


def described() -> ModelSpec:
    """The default model."""
    shipped = resources.files("stream_lstm.models").joinpath("default.safetensors").read_bytes()
    return model_file.from_bytes(shipped).spec


INPUTS = described().inputs_width


def sized(units: int) -> model_file.Model:
    """The default model's description, with other units and random weights."""
    wanted = structs.replace(described(), units=units, name=f"random{units}")
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return rng.normal(0, 0.2, shape).astype(np.float32)

    tensors = {
        "layer.0.event": drawn(4, INPUTS, units),
        "layer.0.stm": drawn(4, units, units),
        "layer.0.bias": drawn(4, units),
        "readout.weight": drawn(units, wanted.outputs),
        "readout.bias": drawn(wanted.outputs),
    }
    return model_file.from_bytes(model_file.to_bytes(wanted, tensors))


def our_cell(units: int, batch: int) -> Step:
    """One step of our cell, rows in tiles as the engine has them."""
    rng = np.random.default_rng(0)
    tiles = -(-batch // cell.TILE_ROWS)
    zeros = np.zeros((tiles, cell.TILE_ROWS, units), np.float32)
    memory, weights = cell.Memory(zeros, zeros), sized(units).layers[0]
    event = rng.normal(0, 1, (tiles, cell.TILE_ROWS, INPUTS)).astype(np.float32)
    return lambda: cell.step(memory, event, weights)


def torch_cell(units: int, batch: int) -> Step:
    """One step of PyTorch's."""
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
    given = {"X": [1, batch, INPUTS], "h": state, "c": state}
    graph = helper.make_graph(
        [node],
        "cell",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, state) for name in ("Yh", "Yc")],
        weights,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in given.items()}
    return lambda: session.run(None, feed)


def seconds(step: Step) -> float:
    """Of one call, over `SECONDS_EACH`."""
    step()
    rounds, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < SECONDS_EACH:
        step()
        rounds += 1
    return spent / rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="medians of so many (5)")
    rounds = parser.parse_args().rounds
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = []
    print("microseconds an event")
    print(f"{'units':>5} {'batch':>6} {'engine':>9} {'our cell':>9} {'torch':>9} {'onnx':>9}")
    for units in UNITS:
        for batch in BATCHES:
            engine = model_engine(sized(units), batch)
            steps = [maker(units, batch) for maker in (our_cell, torch_cell, onnx_cell)]
            taken = [
                [seconds_an_event(engine, batch), *(seconds(step) / batch for step in steps)]
                for _ in range(rounds)
            ]
            row = [statistics.median(column) * 1e6 for column in zip(*taken, strict=True)]
            print(f"{units:5} {batch:6}" + "".join(f" {number:9.2f}" for number in row), flush=True)
            rows.append({"units": units, "batch": batch} | dict(zip(COLUMNS, row, strict=True)))
    print(f"kept in {machine.keep('engine', {'microseconds_an_event': rows})}")


if __name__ == "__main__":
    main()
