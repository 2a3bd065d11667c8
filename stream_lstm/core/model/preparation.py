"""Preparation of recorded streams for training: what would enter the cell, without a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_lstm.compiler import compiled
from stream_lstm.core.model import inputs
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.record import Doubles, Floats, argument
from stream_lstm.core.state import ModelRecord, Room, StreamState, room, spec_record, state_type
from stream_lstm.core.trackers import event_time, scale


def prepare(times: Doubles, values: Doubles, spec: ModelSpec) -> tuple[Floats, Doubles]:
    """The inputs of the cell at each event of some streams of one feature, from their first event on.

    Args:
        times: (L, N) epoch seconds.
        values: (L, N).

    Returns:
        Inputs, (L, N, I), and the standard deviation of each stream's values so far, (L, N).
    """
    out, deviations = np.empty((*times.shape, spec.inputs_width), np.float32), np.empty(times.shape)
    states, model, space = np.zeros(times.shape[1], state_type(spec)), spec_record(spec), room(spec)
    records = argument(states), argument(model), argument(space)
    columns = np.ascontiguousarray(times), np.ascontiguousarray(values)
    _prepare(*columns, *records, out, deviations)
    return out, deviations


@compiled
def _prepare(
    times: Doubles,
    values: Doubles,
    states: NDArray[Any],
    model: NDArray[Any],
    space: NDArray[Any],
    out: Floats,
    deviations: Doubles,
) -> None:
    for stream in range(len(states)):
        for n in range(len(times)):
            _push(states[stream], times[n, stream], values[n, stream : stream + 1], model[0], space[0])
            deviations[n, stream] = scale.deviation(states[stream].scale[0])
            for k in range(out.shape[2]):
                out[n, stream, k] = space[0].entering[k]


@compiled
def _push(state: StreamState, time: float, value: Doubles, model: ModelRecord, space: Room) -> None:
    """Update the trackers before the cell, as `stream_lstm.core.engine.push` does if the stream learns."""
    state.seq += 1
    timed = event_time.update(state.event_time, time, state.seq, False, True)
    scale.update(state.scale[0], value[0], state.seq, True)
    inputs.make(space, model, state, value, time, timed)
    state.value[0] = value[0]
