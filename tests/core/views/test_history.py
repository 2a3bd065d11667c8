"""History: the last events and keyframes of streams, with separate rings for frequent and rare events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stream_lstm.core.memory import Memories
from stream_lstm.core.views import history as history_module
from stream_lstm.core.views.history import (
    EVENTS_BYTES_MAX,
    KEYFRAME_EVENTS,
    KEYFRAMES_BYTES_MAX,
    RARE_GAP_SECONDS,
    WAITING_BATCHES_MAX,
    WAITING_EVENTS_MAX,
    History,
    HistorySize,
)
from tests.core.models import KINDS, description
from tests.core.views.recorded import Recorded


@pytest.mark.parametrize("kind", KINDS)
def test_appended_events_are_found_with_their_predictions(kind: str) -> None:
    recorded = Recorded(kind, 3)
    batch, predictions = recorded.append([1, 2, 1, 3, 1])
    history, stream = recorded.history, recorded.number(1)
    found = history.events_of(stream, 10)
    mine = batch.streams == 1
    assert found["seq"].tolist() == [1, 2, 3]
    assert found["time"].tolist() == batch.times[mine].tolist()
    assert found["value"].tolist() == batch.values[mine].tolist()
    assert found["prediction"].tobytes() == predictions.prediction[mine].tobytes()
    assert found["kind"].tolist() == predictions.kind[mine].tolist()
    assert found["alert"].tolist() == predictions.alert[mine].tolist()
    assert found["half_width"].tobytes() == predictions.half_width[mine, 0].tobytes()
    assert found["anomaly"].tobytes() == predictions.anomaly[mine].tobytes()
    assert found["probabilities"].tobytes() == predictions.probabilities[mine].tobytes()
    assert found.dtype == history.event_type
    assert history.events_of(stream, 2)["seq"].tolist() == [2, 3]
    assert len(history.events_of(stream, 0)) == len(history.events_of(99, 10)) == 0


@pytest.mark.parametrize("size", [1, 5, 40, 2_000])
def test_waiting_batches_are_few_and_reach_the_rings_in_order(size: int) -> None:
    recorded, rng = Recorded("step", 3, events_max=100_000, rare=[2]), np.random.default_rng(10)
    history, appended = recorded.history, []
    for _ in range(6_000 // size):
        batch, predictions = recorded.append(rng.integers(1, 4, size).tolist())
        appended += zip(batch.streams.tolist(), predictions.prediction[:, 0].tolist(), strict=True)
        assert len(history._waiting) < WAITING_BATCHES_MAX
        assert history._waiting_events < WAITING_EVENTS_MAX
    for row in (1, 2, 3):
        found = history.events_of(recorded.number(row), 10_000)
        assert found["prediction"][:, 0].tolist() == [value for other, value in appended if other == row]


@pytest.mark.parametrize(
    ("events_max", "events_bytes", "keyframes_bytes", "events", "keyframes"),
    [
        (1_000, 10**9, 10**9, 500, 15),
        (1_000, 0, 0, 500, 15),  # a small model has the whole number at any limit of bytes
        (1, 0, 0, 1, 1),
        (0, 10**9, 10**9, 0, 1),
    ],
)
def test_a_small_model_has_the_whole_number_of_events(
    monkeypatch: pytest.MonkeyPatch,
    events_max: int,
    events_bytes: int,
    keyframes_bytes: int,
    events: int,
    keyframes: int,
) -> None:
    monkeypatch.setattr(history_module, "EVENTS_BYTES_MAX", events_bytes)
    monkeypatch.setattr(history_module, "KEYFRAMES_BYTES_MAX", keyframes_bytes)
    history = Recorded("step", 1, events_max=events_max).history
    assert [ring.size for ring in history._events] == [events] * 2
    assert [ring.size for ring in history._keyframes] == [keyframes] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_rings_have_the_size_that_is_planned(kind: str) -> None:
    recorded = Recorded(kind, 1, events_max=1_001)
    rings = (*recorded.history._events, *recorded.history._keyframes)
    planned = HistorySize.of(recorded.engine.model.spec, 1_001).full_bytes
    assert sum(ring.nbytes for ring in rings) == planned


def test_a_wide_model_takes_bounded_memory() -> None:
    names = [f"f{n}" for n in range(300)]
    wide = description(features=names, targets=names, layers=16, units=4_096)
    memories = Memories(wide, rows_max=1)
    assert memories.record_bytes > 500_000
    model, gaps = SimpleNamespace(spec=wide), np.zeros(2, np.float32)
    history = History(model, memories, gaps, events_max=262_144)  # type: ignore[arg-type]
    events, keyframes = (sum(r.nbytes for r in rings) for rings in (history._events, history._keyframes))
    assert EVENTS_BYTES_MAX * 0.9 < events <= EVENTS_BYTES_MAX * 1.1
    assert KEYFRAMES_BYTES_MAX * 0.9 < keyframes <= KEYFRAMES_BYTES_MAX * 1.1


def test_the_newest_events_replace_the_oldest() -> None:
    recorded = Recorded("step", 2, events_max=20)  # 10 per ring
    for _ in range(3):
        recorded.append([1, 1, 1, 2])
    assert (recorded.seqs(1), recorded.seqs(2)) == ([3, 4, 5, 6, 7, 8, 9], [1, 2, 3])
    recorded.append([2] * 25)  # more at once than a ring has room for
    assert (recorded.seqs(1), recorded.seqs(2)) == ([], list(range(19, 29)))


def test_frequent_events_do_not_displace_rare_ones() -> None:
    recorded = Recorded("step", 2, events_max=20, rare=[2])
    for rows in ([2], [1, 2, 1], [1] * 30):
        recorded.append(rows)
    assert recorded.seqs(2) == [1, 2]
    recorded.longest_gap[1] = RARE_GAP_SECONDS + 1  # from now on in the other ring
    recorded.append([1])
    assert recorded.seqs(1) == list(range(23, 34))


def test_a_history_of_no_events_keeps_nothing() -> None:
    recorded = Recorded("step", 1, events_max=0)
    recorded.append([1] * KEYFRAME_EVENTS)
    assert recorded.seqs(1) == []
    assert list(recorded.history.keyframes(recorded.number(1), 1_000)) == []


def test_keyframes_of_frequent_streams_do_not_displace_those_of_rare_ones() -> None:
    recorded = Recorded("step", 2, events_max=4 * KEYFRAME_EVENTS, rare=[2])  # two keyframes per ring
    for rows in ([2] * KEYFRAME_EVENTS, *([1] * KEYFRAME_EVENTS,) * 3, [1, 2]):
        recorded.append(rows)
    history, frequent, rare = recorded.history, recorded.number(1), recorded.number(2)
    assert [frame.seq for frame in history.keyframes(rare, 9)] == [KEYFRAME_EVENTS]
    assert [frame.seq for frame in history.keyframes(frequent, 9)] == [
        2 * KEYFRAME_EVENTS,
        3 * KEYFRAME_EVENTS,
    ]
    assert [frame.seq for frame in history.keyframes(frequent, 1)] == [3 * KEYFRAME_EVENTS]


def wait(history: History, batches: int, events: int) -> None:
    """Let batches wait that are not there."""
    history._waiting = [(None, SimpleNamespace(streams=range(events)), None)] * batches  # type: ignore[list-item]
    history._waiting_events = batches * events


BREACHES: list[tuple[str, Callable[[History], object]]] = [
    ("the number of waiting events is wrong", lambda h: setattr(h, "_waiting_events", 7)),
    ("too many events wait", lambda h: wait(h, 1, WAITING_EVENTS_MAX)),
    ("too many batches wait", lambda h: wait(h, WAITING_BATCHES_MAX, 1)),
    ("the next place lies outside the ring", lambda h: setattr(h._events[0], "_next", -1)),
    ("a keyframe is not of the event", lambda h: h._keyframes[0]._columns[0].fill(7)),
]


@pytest.mark.parametrize(("message", "breach"), BREACHES)
def test_a_breach_of_an_invariant_is_noticed(
    message: str, breach: Callable[[History], object], made: dict[type, deque[Any]]
) -> None:
    recorded = Recorded("step", 1)
    recorded.append([1] * KEYFRAME_EVENTS)
    recorded.history.validate()
    breach(recorded.history)
    with pytest.raises(AssertionError, match=message):
        recorded.history.validate()
    made[History].clear()
