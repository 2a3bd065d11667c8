"""What was noted is found again, the newest in the place of the oldest; gates are told as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_lstm.core import cell
from stream_lstm.core.engine import Engine, Predictions
from stream_lstm.core.glance import glance
from stream_lstm.core.lens import Segment, Told, tell
from stream_lstm.core.recent import ANCHOR_EVENTS, SELDOM_SECONDS, Came, Recent
from stream_lstm.core.score import INTERVAL
from stream_lstm.events import FROZEN, Clock
from tests.core.models import KINDS, engine, random_model

MODELS = {name: random_model(**changes) for name, changes in KINDS.items()}


def note(
    recent: Recent, running: Engine, rows: list[int], rng: np.random.Generator, marks: int = 0
) -> tuple[Came, Predictions]:
    """Apply and note drawn events of these rows."""
    wide = len(running.model.description.features)
    came = Came(
        rows=np.array(rows, np.intp),
        times=1.7e9 + rng.uniform(0, 60, len(rows)).cumsum(),
        marks=np.full(len(rows), marks, np.uint8),
        values=rng.normal(20, 3, (len(rows), wide)),
    )
    said = running.run(came.rows, came.times, came.values, came.marks)
    recent.note(came, said)
    return came, said


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_noted_is_found_again(kind: str) -> None:
    running, rng = engine(MODELS[kind], 3), np.random.default_rng(1)
    recent = Recent(running.model, running.memories, events_max=1_000)
    came, said = note(recent, running, [1, 2, 1, 3, 1], rng)
    stream = int(running.memories.ids[1])
    found = recent.of(stream, 10)
    mine = came.rows == 1
    assert found["seq"].tolist() == [1, 2, 3]
    assert found["time"].tolist() == came.times[mine].tolist()
    assert found["value"].tolist() == came.values[mine].tolist()
    assert found["prediction"].tobytes() == said.prediction[mine].tobytes()
    assert found["kind"].tolist() == said.kind[mine].tolist()
    np.testing.assert_array_equal(found["reach"], said.reach[mine, 0].astype(np.float32))
    np.testing.assert_array_equal(found["anomaly"], said.anomaly[mine].astype(np.float32))
    np.testing.assert_array_equal(found["probabilities"], said.probabilities[mine].astype(np.float32))
    assert recent.of(stream, 2)["seq"].tolist() == [2, 3]
    assert len(recent.of(99, 10)) == 0


def test_the_newest_take_the_place_of_the_oldest() -> None:
    running, rng = engine(MODELS["step"], 2), np.random.default_rng(2)
    recent = Recent(running.model, running.memories, events_max=20)  # 10 of each kind of stream
    streams = running.memories.ids[[1, 2]].tolist()
    for _ in range(3):
        note(recent, running, [1, 1, 1, 2], rng)
    assert [recent.of(stream, 99)["seq"].tolist() for stream in streams] == [
        [2 + 1, *range(4, 10)],
        [1, 2, 3],
    ]
    note(recent, running, [2] * 25, rng)  # more than there is room for, at once
    assert recent.of(streams[0], 99)["seq"].tolist() == []
    assert recent.of(streams[1], 99)["seq"].tolist() == list(range(19, 29))


def test_streams_that_speak_often_do_not_push_out_those_that_seldom_do() -> None:
    running, rng = engine(MODELS["step"], 2), np.random.default_rng(3)
    recent = Recent(running.model, running.memories, events_max=20)
    often, seldom = running.memories.ids[[1, 2]].tolist()
    running.memories.rhythm[2] = SELDOM_SECONDS + 1
    note(recent, running, [2], rng)
    note(recent, running, [1, 2, 1], rng)
    note(recent, running, [1] * 30, rng)
    assert recent.of(seldom, 99)["seq"].tolist() == [1, 2]
    running.memories.rhythm[1] = SELDOM_SECONDS + 1  # it has become one of them: both rings are looked at
    note(recent, running, [1], rng)
    assert recent.of(often, 99)["seq"].tolist() == list(range(23, 34))


def test_nothing_is_kept_where_there_is_no_room() -> None:
    running, rng = engine(MODELS["step"], 1), np.random.default_rng(4)
    recent = Recent(running.model, running.memories, events_max=0)
    note(recent, running, [1] * ANCHOR_EVENTS, rng)
    stream = int(running.memories.ids[1])
    assert len(recent.of(stream, 9)) == 0
    assert list(recent.anchors(stream)) == []


def told(recent: Recent, running: Engine, row: int) -> tuple[NDArray[Any], Told]:
    """The events behind a stream's last record, told again in one segment each record."""
    stream = int(running.memories.ids[row])
    events = recent.of(stream, 10_000)
    anchors = list(recent.anchors(stream))
    ends = [anchor.seq for anchor in anchors[1:]] + [int(events["seq"][-1])]
    segments, chosen = [], []
    for anchor, end in zip(anchors, ends, strict=True):
        part = events[(events["seq"] > anchor.seq) & (events["seq"] <= end)]
        if len(part):
            chosen.append(part)
            segments.append(Segment(anchor.record, part["time"], part["value"], part["mark"]))
    *nothing, found = tell(running.model, segments, interval=INTERVAL)
    assert nothing == [None] * max(map(len, chosen))  # the n-th of each segment together
    assert found is not None
    return np.concatenate(chosen), found


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_told_again_bit_for_bit(kind: str) -> None:
    running, rng = engine(MODELS[kind], 5), np.random.default_rng(5)
    recent = Recent(running.model, running.memories, events_max=1_000)
    for n in range(90):
        mark = (int(Clock.UNCERTAIN) if n % 7 == 0 else 0) | (FROZEN if 40 < n < 60 else 0)
        note(recent, running, [1, 3, 5] if n % 2 else [1, 2], rng, mark)
    before = running.memories.records(np.arange(1, 6))
    events, found = told(recent, running, 1)
    assert events["seq"].tolist() == list(range(ANCHOR_EVENTS + 1, 91))
    assert found.record == before[0]
    assert found.predictions.prediction.tobytes() == events["prediction"].tobytes()
    assert found.predictions.seq.tolist() == events["seq"].tolist()
    assert running.memories.records(np.arange(1, 6)) == before  # nothing of ours was touched


@pytest.mark.parametrize("kind", KINDS)
def test_the_gates_make_the_memory(kind: str) -> None:
    """What is told of them, put into the picture's equations, gives the LTM and STM that were remembered."""
    running, rng = engine(MODELS[kind], 2), np.random.default_rng(6)
    recent = Recent(running.model, running.memories, events_max=1_000)
    for _ in range(ANCHOR_EVENTS + 9):
        note(recent, running, [2, 1], rng)
    _, found = told(recent, running, 2)
    inside = found.insides
    layers, units = running.model.description.layers, running.model.description.units
    assert inside.ltm.shape == (9, layers, units)
    assert inside.event.shape == (9, running.model.description.inputs_width)
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
    recent = Recent(running.model, running.memories, events_max=100)
    for _ in range(4):
        came, said = note(recent, running, [3, 1], rng)
    seen = glance(running, np.array([3, 1]))
    assert seen.seq.tolist() == [4, 4]
    assert seen.value.tolist() == came.values.tolist()
    assert seen.prediction.tobytes() == said.prediction.tobytes()
    np.testing.assert_allclose(seen.reach, said.reach[:, 0], 1e-6)
    np.testing.assert_allclose(seen.skill, said.skill, 1e-5)
    note(recent, running, [2], rng)
    young = glance(running, np.array([2]))
    assert np.isnan(young.reach).all()
    assert np.isnan(young.covered).all()
