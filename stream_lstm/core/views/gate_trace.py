"""Gate trace: the cell's gates at each event, recomputed from a keyframe and the events after it.

A prediction is a function of the record before the event and the event. So applying events to a keyframe once
more gives the same bits, and this time the gates are recorded. The service's own records are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.batch import parts
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import cell, inputs
from stream_lstm.core.model.file import Model
from stream_lstm.core.predictions import Predictions
from stream_lstm.events import Batch


class Segment(NamedTuple):
    """A stream's record, and the N events that follow it without a gap."""

    record: bytes
    batch: Batch


class GateTrace(NamedTuple):
    """The cell at N events; L layers of H units, I inputs."""

    event: cell.Floats  # (N, I) inputs of the first layer
    forget: cell.Floats  # (N, L, H) forget gate: share of the LTM that is kept
    learn: cell.Floats  # (N, L, H) input gate: share of the news that counts
    news: cell.Floats  # (N, L, H) candidate: the news in STM and event, from -1 to 1
    use: cell.Floats  # (N, L, H) output gate: share of the new LTM that is shown
    ltm: cell.Floats  # (N, L, H) after the event
    stm: cell.Floats  # (N, L, H) after the event


class Trace(NamedTuple):
    """Events applied once more, in the order of their segments.

    Attributes:
        record: of the last segment, after its last event.
    """

    gates: GateTrace
    predictions: Predictions
    record: bytes


class TracingEngine(Engine):
    """An engine that records its gates.

    Attributes:
        gates: of the last batch.
    """

    gates: GateTrace

    def _run_cell(self, rows: NDArray[np.intp], seen: inputs.Seen) -> NDArray[np.float64]:
        spec, memories = self.model.spec, self.memories
        before = cell.Memory(memories.ltm[rows], memories.stm[rows])  # (B, L, H)
        outputs = super()._run_cell(rows, seen)
        after = cell.Memory(memories.ltm[rows], memories.stm[rows])
        event = entering = inputs.make(spec.inputs, seen, spec.scaling)
        gates = []
        for layer, weights in enumerate(self.model.layers):
            memory = cell.Memory(before.ltm[None, :, layer], before.stm[None, :, layer])
            ignore, keep, news, show = cell.preactivations(memory, entering[None], weights)[:, 0]
            gates.append((cell.sigmoid(keep), cell.sigmoid(ignore), np.tanh(news), cell.sigmoid(show)))
            entering = after.stm[:, layer]
        forget, learn, candidate, use = np.stack([np.stack(gate) for gate in gates], axis=2)  # (B, L, H) each
        self.gates = GateTrace(event, forget, learn, candidate, use, *after)
        return outputs


def trace(model: Model, segments: Sequence[Segment], *, interval: float) -> Iterator[Trace | None]:
    """Apply the events of all segments once more, the n-th of each together.

    Args:
        segments: at least one, each with at least one event.
        interval: target share of values inside their interval.

    Yields:
        None after each step, so that the caller can let others run; at the end, the trace.
    """
    memories = Memories(model.spec, rows_max=len(segments))
    names, ids = [str(n) for n in range(len(segments))], np.arange(1, len(segments) + 1)
    firsts = memories.restore_all(names, ids, b"".join(segment.record for segment in segments))
    engine = TracingEngine(model, memories, interval=interval)
    rows = np.repeat(firsts, [len(segment.batch.times) for segment in segments])
    _, *columns = (np.concatenate(column) for column in zip(*(s.batch for s in segments), strict=True))
    batch = Batch(rows, *columns)
    pieces, gates, predictions = list(parts(rows)), [], []
    for piece in pieces:
        predictions.append(engine.apply_once(batch.select(piece)))
        gates.append(GateTrace._make(column[: len(piece)] for column in engine.gates))
        yield None
    order = np.argsort(np.concatenate(pieces))
    yield Trace(
        GateTrace._make(np.concatenate(column)[order] for column in zip(*gates, strict=True)),
        Predictions._make(np.concatenate(column)[order] for column in zip(*predictions, strict=True)),
        memories.records(firsts[-1:])[0],
    )
