"""Gate trace: the cell's gates at each event, recomputed from a keyframe and the events after it.

A prediction is a function of the record before the event and the event. So applying events to a keyframe once
more gives the same bits, and this time the gates are recorded. The service's own records are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.model.gates import gate_type
from stream_lstm.core.predictions import Predictions
from stream_lstm.events import Batch

UNITS_AT_ONCE = 16_384  # of all events and layers: some milliseconds, in which the service does nothing else


class Segment(NamedTuple):
    """A stream's record, and the N events that follow it without a gap."""

    record: bytes
    batch: Batch


class Trace(NamedTuple):
    """N events applied once more, in the order of their segments.

    Attributes:
        gates: (N,) of `GateRecord`.
        record: of the last segment, after its last event.
    """

    gates: NDArray[np.void]
    predictions: Predictions
    record: bytes


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
    gates, predictions = np.zeros(len(rows), gate_type(spec)), []
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        predictions.append(engine.apply(batch.select(some), gates[some]).records)
        yield None
    yield Trace(gates, Predictions(np.concatenate(predictions), spec), memories.records(firsts[-1:])[0])
