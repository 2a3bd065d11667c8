"""Gate trace: the cell's gates at each event, recomputed from a keyframe and the events after it.

A prediction is a function of the record before the event and the event. So applying events to a keyframe once
more gives the same bits, and this time the gates are recorded. The service's own records are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.compiler import compiled, compiled_unlocked
from stream_lstm.core.elementary import sigmoid, tanh
from stream_lstm.core.engine import Engine, are_rows, push
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.predictions import Predictions, prediction_type
from stream_lstm.core.record import Doubles, Floats, Record, layout
from stream_lstm.core.state import Room, StreamState, sizes
from stream_lstm.events import Batch

UNITS_AT_ONCE = 16_384  # of all events and layers: some milliseconds, in which the service does nothing else


class Segment(NamedTuple):
    """A stream's record, and the N events that follow it without a gap."""

    record: bytes
    batch: Batch


class GateRecord(Record):
    """The cell at one event; L layers of H units, I inputs."""

    entering: Annotated[Floats, "<f4", "entering"]  # (I,) inputs of the first layer
    forget: Annotated[Floats, "<f4", "layers", "units"]  # forget gate: share of the LTM that is kept
    learn: Annotated[Floats, "<f4", "layers", "units"]  # input gate: share of the news that counts
    news: Annotated[Floats, "<f4", "layers", "units"]  # candidate: the news in STM and event, from -1 to 1
    use: Annotated[Floats, "<f4", "layers", "units"]  # output gate: share of the new LTM that is shown
    ltm: Annotated[Floats, "<f4", "layers", "units"]  # after the event
    stm: Annotated[Floats, "<f4", "layers", "units"]  # after the event


class Trace(NamedTuple):
    """N events applied once more, in the order of their segments.

    Attributes:
        gates: (N,) of `GateRecord`.
        record: of the last segment, after its last event.
    """

    gates: NDArray[np.void]
    predictions: Predictions
    record: bytes


@compiled_unlocked
def apply_traced(
    states: NDArray[Any],
    rows: NDArray[np.int64],
    times: Doubles,
    values: Doubles,
    marks: NDArray[np.uint8],
    model: NDArray[Any],
    space: NDArray[Any],
    share: float,
    predictions: NDArray[Any],
    gates: NDArray[Any],
) -> bool:
    """`stream_lstm.core.engine.apply`, which also fills `gates`."""
    if not are_rows(rows, states):
        return False
    for n in range(len(rows)):
        state = states[rows[n]]
        push(state, times[n], values[n], int(marks[n]), model[0], space[0], share, predictions[n])
        _record(state, space[0], gates[n])
    return True


@compiled
def _record(state: StreamState, space: Room, out: GateRecord) -> None:
    """Fill `out` with the gates, which follow from their inputs, and with the memory."""
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


def trace(model: LstmModel, segments: Sequence[Segment], *, interval: float) -> Iterator[Trace | None]:
    """Apply the events of all segments once more.

    Args:
        segments: at least one, each with at least one event.
        interval: target share of values inside their interval.

    Yields:
        None after each step, so that the caller can let others run; at the end, the trace.
    """
    spec = model.spec
    memories = Memories(spec, rows_max=len(segments))
    names, ids = [str(n) for n in range(len(segments))], np.arange(1, len(segments) + 1)
    firsts = memories.restore_all(names, ids, b"".join(segment.record for segment in segments))
    engine = Engine(model, memories, interval=interval)
    rows = np.repeat(firsts, [len(segment.batch.times) for segment in segments])
    _, *columns = (np.concatenate(column) for column in zip(*(s.batch for s in segments), strict=True))
    batch, size = Batch(rows, *columns), max(UNITS_AT_ONCE // (spec.layers * spec.units), 1)
    predictions = np.zeros(len(rows), prediction_type(spec))
    gates = np.zeros(len(rows), layout(GateRecord, **sizes(spec)))
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        engine.call(apply_traced, batch.select(some), predictions[some], gates[some])
        yield None
    yield Trace(gates, Predictions(predictions, spec), memories.records(firsts[-1:])[0])
