"""What was noted is found again, the newest in the place of the oldest; gates are told as they were."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model import cell
from stream_lstm.core.predictions import Predictions
from stream_lstm.core.trackers.interval import INTERVAL
from stream_lstm.core.views import history as recent_module
from stream_lstm.core.views.gate_trace import Segment, Trace, trace
from stream_lstm.core.views.history import (
    EVENTS_BYTES_MAX,
    KEYFRAME_EVENTS,
    KEYFRAMES_BYTES_MAX,
    SELDOM_SECONDS,
    WAITING_BATCHES_MAX,
    WAITING_EVENTS_MAX,
    History,
    HistorySize,
)
from stream_lstm.core.views.summary import summarize
from stream_lstm.events import FROZEN, Batch, Clock
from tests.core.models import KINDS, description, engine, random_model

MODELS = {name: random_model(**changes) for name, changes in KINDS.items()}


def note(
    recent: History, running: Engine, rows: list[int], rng: np.random.Generator, marks: int = 0
) -> tuple[Batch, Predictions]:
    """Apply and note drawn events of these rows."""
    wide = len(running.model.spec.features)
    came = Batch(
        streams=np.array(rows, np.intp),
        times=1.7e9 + rng.uniform(0, 60, len(rows)).cumsum(),
        marks=np.full(len(rows), marks, np.uint8),
        values=rng.normal(20, 3, (len(rows), wide)),
    )
    said = running.apply(came)
    recent.append(came, said)
    return came, said


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_noted_is_found_again(kind: str) -> None:
    running, rng = engine(MODELS[kind], 3), np.random.default_rng(1)
    recent = History(running.model, running.memories, events_max=1_000)
    came, said = note(recent, running, [1, 2, 1, 3, 1], rng)
    stream = int(running.memories.ids[1])
    found = recent.events_of(stream, 10)
    mine = came.streams == 1
    assert found["seq"].tolist() == [1, 2, 3]
    assert found["time"].tolist() == came.times[mine].tolist()
    assert found["value"].tolist() == came.values[mine].tolist()
    assert found["prediction"].tobytes() == said.prediction[mine].tobytes()
    assert found["kind"].tolist() == said.kind[mine].tolist()
    assert found["alert"].tolist() == said.alert[mine].tolist()
    assert found["reach"].tobytes() == said.half_width[mine, 0].tobytes()
    assert found["anomaly"].tobytes() == said.anomaly[mine].tobytes()
    assert found["probabilities"].tobytes() == said.probabilities[mine].tobytes()
    assert recent.events_of(stream, 2)["seq"].tolist() == [2, 3]
    assert len(recent.events_of(stream, 0)) == len(recent.events_of(99, 10)) == 0


@pytest.mark.parametrize("size", [1, 5, 40, 2_000])
def test_what_waits_is_put_into_the_rings_in_order(size: int) -> None:
    running, rng = engine(MODELS["step"], 3), np.random.default_rng(10)
    running.memories.rhythm[2] = SELDOM_SECONDS + 1
    recent = History(running.model, running.memories, events_max=100_000)
    said = []
    for _ in range(6_000 // size):
        came, predictions = note(recent, running, rng.integers(1, 4, size).tolist(), rng)
        said += zip(came.streams.tolist(), predictions.prediction[:, 0].tolist(), strict=True)
        assert len(recent._waiting) < WAITING_BATCHES_MAX
        assert recent._events_waiting < WAITING_EVENTS_MAX
    for row in (1, 2, 3):
        found = recent.events_of(int(running.memories.ids[row]), 10_000)
        assert found["prediction"][:, 0].tolist() == [value for whose, value in said if whose == row]


@pytest.mark.parametrize(
    ("events_max", "events_bytes", "anchors_bytes", "events", "anchors"),
    [
        (1_000, 10**9, 10**9, 500, 15),
        (1_000, 0, 0, 500, 15),  # a plain model has what is asked for, however little is allowed
        (1, 0, 0, 1, 1),
        (0, 10**9, 10**9, 0, 1),
    ],
)
def test_as_many_events_are_kept_as_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    events_max: int,
    events_bytes: int,
    anchors_bytes: int,
    events: int,
    anchors: int,
) -> None:
    monkeypatch.setattr(recent_module, "EVENTS_BYTES_MAX", events_bytes)
    monkeypatch.setattr(recent_module, "KEYFRAMES_BYTES_MAX", anchors_bytes)
    running = engine(MODELS["step"], 1)
    recent = History(running.model, running.memories, events_max=events_max)
    assert [ring._size for ring in recent._rings] == [events] * 2
    assert [ring._size for ring in recent._anchors] == [anchors] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_takes_what_was_planned(kind: str) -> None:
    running = engine(MODELS[kind], 1)
    recent = History(running.model, running.memories, events_max=1_001)
    rings = (*recent._rings, *recent._anchors)
    taken = sum(column.nbytes for ring in rings for column in (ring._streams, *ring._columns))
    assert HistorySize.of(running.model.spec, 1_001).full_bytes == taken


def test_a_wide_model_takes_bounded_memory() -> None:
    names = [f"f{n}" for n in range(300)]
    wide = description(features=names, targets=names, layers=16, units=4_096)
    memories = Memories(wide, rows_max=1)
    record = memories.row_type.itemsize
    assert record > 500_000
    recent = History(SimpleNamespace(spec=wide), memories, events_max=262_144)  # type: ignore[arg-type]
    events = sum(column.nbytes for ring in recent._rings for column in ring._columns)
    anchors = sum(column.nbytes for ring in recent._anchors for column in ring._columns)
    assert EVENTS_BYTES_MAX * 0.9 < events <= EVENTS_BYTES_MAX * 1.1
    assert KEYFRAMES_BYTES_MAX * 0.9 < anchors <= KEYFRAMES_BYTES_MAX * 1.1


def test_the_newest_take_the_place_of_the_oldest() -> None:
    running, rng = engine(MODELS["step"], 2), np.random.default_rng(2)
    recent = History(running.model, running.memories, events_max=20)  # 10 of each kind of stream
    streams = running.memories.ids[[1, 2]].tolist()
    for _ in range(3):
        note(recent, running, [1, 1, 1, 2], rng)
    assert [recent.events_of(stream, 99)["seq"].tolist() for stream in streams] == [
        [2 + 1, *range(4, 10)],
        [1, 2, 3],
    ]
    note(recent, running, [2] * 25, rng)  # more than there is room for, at once
    assert recent.events_of(streams[0], 99)["seq"].tolist() == []
    assert recent.events_of(streams[1], 99)["seq"].tolist() == list(range(19, 29))


def test_streams_that_speak_often_do_not_push_out_those_that_seldom_do() -> None:
    running, rng = engine(MODELS["step"], 2), np.random.default_rng(3)
    recent = History(running.model, running.memories, events_max=20)
    often, seldom = running.memories.ids[[1, 2]].tolist()
    running.memories.rhythm[2] = SELDOM_SECONDS + 1
    note(recent, running, [2], rng)
    note(recent, running, [1, 2, 1], rng)
    note(recent, running, [1] * 30, rng)
    assert recent.events_of(seldom, 99)["seq"].tolist() == [1, 2]
    running.memories.rhythm[1] = SELDOM_SECONDS + 1  # it has become one of them: both rings are looked at
    note(recent, running, [1], rng)
    assert recent.events_of(often, 99)["seq"].tolist() == list(range(23, 34))


def test_nothing_is_kept_where_there_is_no_room() -> None:
    running, rng = engine(MODELS["step"], 1), np.random.default_rng(4)
    recent = History(running.model, running.memories, events_max=0)
    note(recent, running, [1] * KEYFRAME_EVENTS, rng)
    stream = int(running.memories.ids[1])
    assert len(recent.events_of(stream, 9)) == 0
    assert list(recent.keyframes(stream, 1_000)) == []


def test_records_of_streams_that_seldom_speak_are_not_pushed_out_either() -> None:
    running, rng = engine(MODELS["step"], 2), np.random.default_rng(11)
    recent = History(running.model, running.memories, events_max=4 * KEYFRAME_EVENTS)  # room for two of each
    often, seldom = running.memories.ids[[1, 2]].tolist()
    running.memories.rhythm[2] = SELDOM_SECONDS + 1
    for rows in ([2] * KEYFRAME_EVENTS, *([1] * KEYFRAME_EVENTS,) * 3, [1, 2]):
        note(recent, running, rows, rng)
    assert [anchor.seq for anchor in recent.keyframes(seldom, 9)] == [KEYFRAME_EVENTS]
    assert [anchor.seq for anchor in recent.keyframes(often, 9)] == [2 * KEYFRAME_EVENTS, 3 * KEYFRAME_EVENTS]
    assert [anchor.seq for anchor in recent.keyframes(often, 1)] == [3 * KEYFRAME_EVENTS]


def told(recent: History, running: Engine, row: int) -> tuple[NDArray[Any], Trace]:
    """The events behind a stream's last record, told again in one segment each record."""
    stream = int(running.memories.ids[row])
    events = recent.events_of(stream, 10_000)
    anchors = list(recent.keyframes(stream, 1_000))
    ends = [anchor.seq for anchor in anchors[1:]] + [int(events["seq"][-1])]
    segments, chosen = [], []
    for anchor, end in zip(anchors, ends, strict=True):
        part = events[(events["seq"] > anchor.seq) & (events["seq"] <= end)]
        if len(part):
            chosen.append(part)
            segments.append(
                Segment(anchor.record, Batch(part["seq"], part["time"], part["mark"], part["value"]))
            )
    *nothing, found = trace(running.model, segments, interval=INTERVAL)
    assert nothing == [None] * max(map(len, chosen))  # the n-th of each segment together
    assert found is not None
    return np.concatenate(chosen), found


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_told_again_bit_for_bit(kind: str) -> None:
    running, rng = engine(MODELS[kind], 5), np.random.default_rng(5)
    recent = History(running.model, running.memories, events_max=1_000)
    for n in range(90):
        mark = (int(Clock.UNCERTAIN) if n % 7 == 0 else 0) | (FROZEN if 40 < n < 60 else 0)
        note(recent, running, [1, 3, 5] if n % 2 else [1, 2], rng, mark)
    before = running.memories.records(np.arange(1, 6))
    events, found = told(recent, running, 1)
    assert events["seq"].tolist() == list(range(KEYFRAME_EVENTS + 1, 91))
    assert found.record == before[0]
    assert found.predictions.prediction.tobytes() == events["prediction"].tobytes()
    assert found.predictions.seq.tolist() == events["seq"].tolist()
    assert running.memories.records(np.arange(1, 6)) == before  # nothing of ours was touched


@pytest.mark.parametrize("kind", KINDS)
def test_the_gates_make_the_memory(kind: str) -> None:
    """What is told of them, put into the picture's equations, gives the LTM and STM that were remembered."""
    running, rng = engine(MODELS[kind], 2), np.random.default_rng(6)
    recent = History(running.model, running.memories, events_max=1_000)
    for _ in range(KEYFRAME_EVENTS + 9):
        note(recent, running, [2, 1], rng)
    _, found = told(recent, running, 2)
    inside = found.insides
    layers, units = running.model.spec.layers, running.model.spec.units
    assert inside.ltm.shape == (9, layers, units)
    assert inside.event.shape == (9, running.model.spec.inputs_width)
    np.testing.assert_allclose(
        inside.ltm[1:],
        cell.remember(inside.ltm[:-1] * inside.forget[1:], inside.news[1:] * inside.learn[1:]),
        1e-5,
    )
    np.testing.assert_allclose(inside.stm, np.tanh(inside.ltm) * inside.use, 1e-5)
    assert ((inside.forget >= 0) & (inside.forget <= 1)).all()
    np.testing.assert_array_equal(inside.ltm[-1], running.memories.ltm[2])
    np.testing.assert_array_equal(inside.stm[-1], running.memories.stm[2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_glance_sees_what_was_said_last(kind: str) -> None:
    running, rng = engine(MODELS[kind], 3), np.random.default_rng(7)
    recent = History(running.model, running.memories, events_max=100)
    for _ in range(4):
        came, said = note(recent, running, [3, 1], rng)
    seen = summarize(running, np.array([3, 1]))
    assert seen.seq.tolist() == [4, 4]
    assert seen.value.tolist() == came.values.tolist()
    assert seen.prediction.tobytes() == said.prediction.tobytes()
    np.testing.assert_allclose(seen.half_width, said.half_width[:, 0], 1e-6)
    np.testing.assert_allclose(seen.relative_mae, said.relative_mae, 1e-5)
    note(recent, running, [2], rng)
    young = summarize(running, np.array([2]))
    assert np.isnan(young.half_width).all()
    assert np.isnan(young.covered).all()
