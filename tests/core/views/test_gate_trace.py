"""Gate trace: the same bits as the engine's own, and gates that follow the cell's equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core.model.gates import gate_type
from stream_lstm.core.trackers.interval import INTERVAL
from stream_lstm.core.views import gate_trace
from stream_lstm.core.views.gate_trace import Segment, Trace, trace
from stream_lstm.core.views.history import KEYFRAME_EVENTS
from stream_lstm.events import FROZEN, Batch, Clock
from tests.core.engine_bits import bits
from tests.core.models import KINDS, engine, random_model
from tests.core.views.recorded import Recorded


def traced(recorded: Recorded, row: int) -> tuple[NDArray[Any], Trace]:
    """The events of a row's stream after its keyframes, and their trace with one segment per keyframe."""
    history, stream = recorded.history, recorded.number(row)
    events = history.events_of(stream, 10_000)
    keyframes = list(history.keyframes(stream, 1_000))
    ends = [frame.seq for frame in keyframes[1:]] + [int(events["seq"][-1])]
    segments, chosen = [], []
    for frame, end in zip(keyframes, ends, strict=True):
        part = events[(events["seq"] > frame.seq) & (events["seq"] <= end)]
        if len(part):
            chosen.append(part)
            batch = Batch(part["seq"], part["time"], part["mark"], part["value"])
            segments.append(Segment(frame.record, batch))
    *nothing, found = trace(recorded.engine.model, segments, interval=INTERVAL)
    assert nothing == [None]  # so few units are one step
    assert found is not None
    return np.concatenate(chosen), found


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_gives_the_same_predictions_and_record_bit_for_bit(kind: str) -> None:
    recorded = Recorded(kind, 5)
    for n in range(90):
        mark = (int(Clock.UNCERTAIN) if n % 7 == 0 else 0) | (FROZEN if 40 < n < 60 else 0)
        recorded.append([1, 3, 5] if n % 2 else [1, 2], mark)
    before = recorded.memories.records(np.arange(1, 6))
    events, found = traced(recorded, 1)
    assert events["seq"].tolist() == list(range(KEYFRAME_EVENTS + 1, 91))
    assert found.record == before[0]
    assert found.predictions.prediction.tobytes() == events["prediction"].tobytes()
    assert found.predictions.seq.tolist() == events["seq"].tolist()
    assert recorded.memories.records(np.arange(1, 6)) == before  # the engine's own records are not touched


@pytest.mark.parametrize("kind", KINDS)
def test_the_traced_gates_give_the_memory_by_the_cells_equations(kind: str) -> None:
    recorded = Recorded(kind, 2)
    for _ in range(KEYFRAME_EVENTS + 9):
        recorded.append([2, 1])
    _, found = traced(recorded, 2)
    gates, spec = found.gates, recorded.engine.model.spec
    ltm, forget, learn, news = (gates[name] for name in ("ltm", "forget", "learn", "news"))
    assert ltm.shape == (9, spec.layers, spec.units)
    assert gates["entering"].shape == (9, spec.inputs_width)
    np.testing.assert_allclose(ltm[1:], ltm[:-1] * forget[1:] + news[1:] * learn[1:], 1e-4, 1e-6)
    np.testing.assert_allclose(gates["stm"], np.tanh(ltm) * gates["use"], 1e-5, 1e-6)
    assert ((forget >= 0) & (forget <= 1)).all()
    for name in ("ltm", "stm"):
        np.testing.assert_array_equal(gates[name][-1], recorded.memories.states[name][2])


def test_a_large_trace_is_made_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded("stacked", 1)
    for _ in range(KEYFRAME_EVENTS + 10):
        recorded.append([1])
    whole = traced(recorded, 1)[1]
    spec = recorded.engine.model.spec
    monkeypatch.setattr(gate_trace, "UNITS_AT_ONCE", 4 * spec.layers * spec.units)
    stream = recorded.number(1)
    (frame,) = recorded.history.keyframes(stream, 1)
    part = recorded.history.events_of(stream, 10)
    batch = Batch(part["seq"], part["time"], part["mark"], part["value"])
    *nothing, found = trace(recorded.engine.model, [Segment(frame.record, batch)], interval=INTERVAL)
    assert nothing == [None] * 3
    assert found is not None
    assert bits(found.gates) == bits(whole.gates)


def test_room_for_the_gates_of_other_events_is_refused() -> None:
    running = engine(random_model(), 1)
    gates = np.zeros(2, gate_type(running.model.spec))
    with pytest.raises(ValueError, match="gates of 2 events, not of 1"):
        running.apply(Batch.timed(np.array([1]), np.array([1e9]), np.ones((1, 1))), gates)
    assert not any(running.memories.states.tobytes())
