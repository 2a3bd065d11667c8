"""Gates of the cell at an event, as numbers to look at."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from stream_lstm.compiler import compiled
from stream_lstm.core.elementary import sigmoid, tanh
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.record import Floats, Record, layout
from stream_lstm.core.state import Room, StreamState, sizes


class GateRecord(Record):
    """The cell at one event; L layers of H units, I inputs."""

    entering: Annotated[Floats, "<f4", "entering"]  # (I,) inputs of the first layer
    forget: Annotated[Floats, "<f4", "layers", "units"]  # forget gate: share of the LTM that is kept
    learn: Annotated[Floats, "<f4", "layers", "units"]  # input gate: share of the news that counts
    news: Annotated[Floats, "<f4", "layers", "units"]  # candidate: the news in STM and event, from -1 to 1
    use: Annotated[Floats, "<f4", "layers", "units"]  # output gate: share of the new LTM that is shown
    ltm: Annotated[Floats, "<f4", "layers", "units"]  # after the event
    stm: Annotated[Floats, "<f4", "layers", "units"]  # after the event


def gate_type(spec: ModelSpec) -> np.dtype[np.void]:
    """The dtype of `GateRecord`."""
    return layout(GateRecord, **sizes(spec))


@compiled
def record(state: StreamState, space: Room, out: GateRecord) -> None:
    """Fill `out` with the gates at the last event, which follow from their inputs, and with the memory."""
    for n in range(len(out.entering)):
        out.entering[n] = space.entering[n]
    units = len(state.ltm[0])
    for layer in range(len(state.ltm)):
        sums = space.sums[layer]
        for n in range(units):
            out.learn[layer, n] = sigmoid(sums[n])
            out.forget[layer, n] = sigmoid(sums[units + n])
            out.news[layer, n] = tanh(sums[2 * units + n])
            out.use[layer, n] = sigmoid(sums[3 * units + n])
            out.ltm[layer, n] = state.ltm[layer, n]
            out.stm[layer, n] = state.stm[layer, n]
