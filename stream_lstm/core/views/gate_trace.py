"""The cell at work: what each gate did with an event, told again from a record and the events behind it.

A prediction is a function of the record before it and its event, so applying both once more gives the same
bits, and this time the gates are looked at. Nothing of the service's own memory is touched.
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
    """A stream's record, and N events that follow it without a gap."""

    record: bytes
    batch: Batch


class GateTrace(NamedTuple):
    """What happened inside at N events; L layers of H units, I inputs."""

    event: cell.Floats  # (N, I) what entered the first layer
    forget: cell.Floats  # (N, L, H) share of the LTM that was kept
    learn: cell.Floats  # (N, L, H) share of the news that counted
    news: cell.Floats  # (N, L, H) what was new in STM and event, -1 to 1
    use: cell.Floats  # (N, L, H) share of the new LTM that was shown
    ltm: cell.Floats  # (N, L, H) after the event
    stm: cell.Floats  # (N, L, H) after the event


class Trace(NamedTuple):
    """Events told again, in the order of the segments.

    Attributes:
        record: the last segment's, after its last event.
    """

    insides: GateTrace
    predictions: Predictions
    record: bytes


class TracingEngine(Engine):
    """An engine over memories of its own, whose gates are looked at."""

    insides: GateTrace

    def _step(self, rows: NDArray[np.intp], seen: inputs.Seen) -> NDArray[np.float64]:
        described, memories = self.model.spec, self.memories
        before = cell.Memory(memories.ltm[rows], memories.stm[rows])  # (B, L, H)
        outputs = super()._step(rows, seen)
        after = cell.Memory(memories.ltm[rows], memories.stm[rows])
        event = entering = inputs.make(described.inputs, seen, described.scaling)
        gates = []
        for layer, weights in enumerate(self.model.layers):
            was = cell.Memory(before.ltm[None, :, layer], before.stm[None, :, layer])
            ignore, keep, news, show = cell.preactivations(was, entering[None], weights)[:, 0]
            gates.append((cell.sigmoid(keep), cell.sigmoid(ignore), np.tanh(news), cell.sigmoid(show)))
            entering = after.stm[:, layer]
        forget, learn, new, use = np.stack([np.stack(gate) for gate in gates], axis=2)  # (B, L, H) each
        self.insides = GateTrace(event, forget, learn, new, use, *after)
        return outputs


def trace(model: Model, segments: Sequence[Segment], *, interval: float) -> Iterator[Trace | None]:
    """Apply the events of all segments once more, the n-th of each together.

    Args:
        segments: at least one, each with an event or more.
        interval: share of values that are to lie inside their interval.

    Yields:
        None after each of the steps, so that others have their turn between them; at the end, what was seen.
    """
    memories = Memories(model.spec, rows_max=len(segments))
    names, ids = [str(n) for n in range(len(segments))], np.arange(1, len(segments) + 1)
    firsts = memories.restore_all(names, ids, b"".join(segment.record for segment in segments))
    lens = TracingEngine(model, memories, interval=interval)
    rows = np.repeat(firsts, [len(segment.batch.times) for segment in segments])
    _, *columns = (np.concatenate(column) for column in zip(*(s.batch for s in segments), strict=True))
    batch = Batch(rows, *columns)
    pieces, insides, said = list(parts(rows)), [], []
    for piece in pieces:
        said.append(lens.apply_once(batch.select(piece)))
        insides.append(GateTrace._make(column[: len(piece)] for column in lens.insides))
        yield None
    order = np.argsort(np.concatenate(pieces))
    yield Trace(
        GateTrace._make(np.concatenate(column)[order] for column in zip(*insides, strict=True)),
        Predictions._make(np.concatenate(column)[order] for column in zip(*said, strict=True)),
        memories.records(firsts[-1:])[0],
    )
