"""A stream's events are as published, and its gates those of the engine, in memory and on disk."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_lstm.core.model import input_names
from stream_lstm.core.views.history import KEYFRAME_EVENTS
from stream_lstm.events import FROZEN, Clock
from stream_lstm.service.http import stream_detail
from stream_lstm.service.http.cpu_budget import CpuBudget
from stream_lstm.service.http.schemas import Event
from stream_lstm.service.http.stream_detail import DIGITS, StreamDetail, UnknownStream
from tests.core.models import KINDS, random_model
from tests.service.http.harness import MODEL, Harness, Json, open_harness

MODELS = {name: random_model(**changes) for name, changes in KINDS.items()} | {"default": MODEL}
GATES = ("forget", "learn", "news", "use", "ltm", "stm")


def detail_of(harness: Harness) -> StreamDetail:
    return StreamDetail(harness.context, CpuBudget())


async def apply_events(
    harness: Harness, name: str, count: int, *, seed: int = 1, **options: Any
) -> list[Json]:
    """Apply events of a stream among those of others; returns its predictions."""
    draw, predictions = random.Random(seed), []
    for _ in range(count):
        names = [name, *draw.sample("uvwxyz", draw.randrange(4))]
        values = [[draw.gauss(20, 3) for _ in range(harness.features)] for _ in names]
        predictions.append((await harness.apply(names, values, **options))[0])
    return predictions


def assert_published(event: Event, published: Json, before: Json | None, *, checked: bool) -> None:
    """The event is as published, and its expectation as published with the event before."""
    for name in ("seq", "time", "clock", "value"):
        assert getattr(event, name) == published[name], name
    for name in ("prediction", "interval"):
        assert_same(getattr(event, name), published.get(name))
        expected = None if before is None else before.get(name)
        assert_same(
            getattr(event, {"prediction": "expected", "interval": "expected_interval"}[name]), expected
        )
    if published["seq"] > 1 and before:
        assert_same(event.expected, published.get("expected"))
    if checked:
        anomaly = published["anomaly"]
        assert event.anomaly == (None if anomaly is None else round(anomaly, DIGITS))
        assert (event.kind, event.alert) == (published["kind"], published["alert"])
    assert event.frozen == published.get("frozen", False)
    assert event.label == published.get("label")
    shares = published.get("probabilities")
    assert event.probabilities == (shares and {label: round(p, DIGITS) for label, p in shares.items()})


def assert_same(found: Any, published: Any) -> None:
    """Numbers by name, in which null equals a missing one."""
    if isinstance(found, dict):
        known = {name: value for name, value in found.items() if value is not None}
        wanted = published or {}
        assert known == {
            n: tuple(v) if isinstance(v, list) else v for n, v in wanted.items() if v is not None
        }
    else:
        assert found == (tuple(published) if isinstance(published, list) else published)


@pytest.mark.parametrize("kind", MODELS)
async def test_events_are_as_published(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind]
    checked = bool(set(model.spec.targets) & set(model.spec.features))
    async with open_harness(tmp_path / "state.db", model=model) as harness:
        published = await apply_events(harness, "a", 30)
        published += await apply_events(harness, "a", 10, seed=2, mark=int(Clock.UNCERTAIN))
        published += await apply_events(harness, "a", 10, seed=3, mark=int(Clock.ARRIVAL) | FROZEN)
        published += await apply_events(harness, "a", 1, seed=4)
        answer = await detail_of(harness).stream("a", events=2_000)
        assert [event.seq for event in answer.events] == list(range(1, 52))
        for event, prediction, before in zip(answer.events, published, [None, *published], strict=False):
            assert_published(event, prediction, before, checked=checked)
        last = published[-1]
        assert (answer.where, answer.events_total, answer.time, answer.value) == (
            "memory",
            51,
            last["time"],
            last["value"],
        )
        assert_same(answer.prediction, last.get("prediction"))
        few = (await detail_of(harness).stream("a", events=3)).events
        assert few == answer.events[-3:], "the event before the first has the prediction for it"
        assert (await detail_of(harness).stream("a", events=0)).events == []


async def test_the_expectation_of_an_event_after_a_gap_is_unknown(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", kept=20) as harness:  # ten, of frequent events
        await harness.apply(["a"], [1.0])
        harness.registry.longest_gap[harness.row("a")] = 60.0
        await harness.apply(["a"] * 3, [2.0, 3.0, 4.0], gap=0.1)
        assert len((await detail_of(harness).stream("a", events=100)).events) == 4
        harness.registry.longest_gap[harness.row("a")] = 0.0
        await harness.apply(["a"] * 12, np.arange(12.0), gap=0.1)
        events = (await detail_of(harness).stream("a", events=100)).events
        seqs = [event.seq for event in events]
        assert seqs == sorted(seqs)
        gaps = [
            event for event, before in zip(events, [None, *seqs], strict=False) if before != event.seq - 1
        ]
        assert len(gaps) > 1
        for event in events:
            assert (event.expected is None) == (event in gaps)
            assert event.prediction is not None


async def test_a_stream_on_disk_is_answered_too(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", limits={"streams_max": 2}) as harness:
        published = await apply_events(harness, "a", 40)
        in_memory = await detail_of(harness).stream("a", events=40)
        insides = await detail_of(harness).insides("a", layer=0, events=5)
        for n in range(6):
            await harness.apply([f"b{n}"], [1.0])
        assert harness.memories.rows(["a"]) == [None]
        on_disk = await detail_of(harness).stream("a", events=40)
        assert (in_memory.where, on_disk.where) == ("memory", "disk")
        assert on_disk.anomaly is None
        different = {"where", "anomaly", "odd", "seen"}
        for name in set(on_disk.__struct_fields__) - different:
            assert getattr(on_disk, name) == getattr(in_memory, name), name
        assert int(on_disk.seen) == int(in_memory.seen)
        assert on_disk.prediction == published[-1]["prediction"]
        assert await detail_of(harness).insides("a", layer=0, events=5) == insides
        for name in ("unknown", "", "a" * 10_000, "\0", "a' OR '1'='1"):
            with pytest.raises(UnknownStream):
                await detail_of(harness).stream(name, events=1)


async def test_a_read_from_disk_is_charged(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", limits={"streams_max": 2}) as harness:
        for name in "abcd":
            await harness.apply([name], [1.0])
        budget = CpuBudget(lambda: 1.0)
        with pytest.raises(UnknownStream):
            await StreamDetail(harness.context, budget).find("unknown")
        assert budget.spent == stream_detail.FETCH_SECONDS


@pytest.mark.parametrize("kind", MODELS)
async def test_insides_equal_the_engines_memory(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind]
    spec = model.spec
    async with open_harness(tmp_path / "state.db", model=model) as harness:
        memories, after = harness.memories, []
        draw = random.Random(5)
        for n in range(100):
            await harness.apply(["a", "b"], [[draw.gauss(20, 3)] * harness.features for _ in "ab"])
            row = harness.row("a")
            after.append((n + 1, *(memories.states[name][row].copy() for name in ("ltm", "stm"))))
        for layer in range(spec.layers):
            answer = await detail_of(harness).insides("a", layer=layer, events=40)
            assert [inside.seq for inside in answer.events] == list(range(61, 101))
            for inside in answer.events:
                _, ltm, stm = after[inside.seq - 1]
                assert inside.ltm == ltm[layer].astype(np.float64).round(DIGITS).tolist()
                assert inside.stm == stm[layer].astype(np.float64).round(DIGITS).tolist()
            assert (answer.seq, answer.ltm, answer.stm) == (100, answer.events[-1].ltm, answer.events[-1].stm)
            assert (answer.layer, answer.layers, answer.units) == (layer, spec.layers, spec.units)
            assert answer.entering == input_names.columns(spec.inputs, spec.features)
            assert {len(inside.event) for inside in answer.events} == {len(answer.entering)}
            assert {len(getattr(inside, gate)) for inside in answer.events for gate in GATES} == {spec.units}


@pytest.mark.parametrize("kind", ["default", "far", "fixed", "classes"])
async def test_the_forecast_is_as_published(kind: str, tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", model=MODELS[kind]) as harness:
        published = await apply_events(harness, "a", 50)
        answer = await detail_of(harness).insides("a", layer=0, events=1)
        found = [(ahead.ahead, ahead.value, ahead.interval) for ahead in answer.forecast]
        wanted = published[-1].get("forecast", [])
        assert len(found) == len(wanted)
        for (ahead, value, interval), one in zip(found, wanted, strict=True):
            assert ahead == one["ahead"]
            assert_same(value, one["value"])
            assert_same(interval, one["interval"])


@pytest.mark.parametrize("kind", MODELS)
async def test_a_cold_stream_is_traced_from_its_first_event(kind: str, tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", model=MODELS[kind]) as harness:
        await apply_events(harness, "a", KEYFRAME_EVENTS - 1)
        answer = await detail_of(harness).insides("a", layer=0, events=96)
        assert [inside.seq for inside in answer.events] == list(range(1, KEYFRAME_EVENTS))
        assert (answer.seq, answer.ltm) == (KEYFRAME_EVENTS - 1, answer.events[-1].ltm)


async def test_without_a_keyframe_nothing_is_traced_but_memory_is_shown(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", kept=20) as harness:  # its first events are no longer kept
        await apply_events(harness, "a", KEYFRAME_EVENTS - 1)
        answer = await detail_of(harness).insides("a", layer=0, events=96)
        assert (answer.seq, answer.events, answer.forecast) == (KEYFRAME_EVENTS - 1, [], [])
        assert any(answer.ltm)
        await apply_events(harness, "a", 1)  # the keyframe is of the last event: none follows it
        assert (await detail_of(harness).insides("a", layer=0, events=96)).events == []
        await apply_events(harness, "a", 1)
        assert len((await detail_of(harness).insides("a", layer=0, events=96)).events) == 1
    async with open_harness(tmp_path / "none.db", kept=0) as harness:
        await apply_events(harness, "a", KEYFRAME_EVENTS + 5)
        answer = await detail_of(harness).insides("a", layer=0, events=96)
        assert (answer.events, (await detail_of(harness).stream("a", events=9)).events) == ([], [])


async def test_a_gap_ends_a_trace(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", kept=40) as harness:  # twenty, of frequent events
        await apply_events(harness, "a", KEYFRAME_EVENTS + 25)
        assert (await detail_of(harness).insides("a", layer=0, events=96)).events == []
        await apply_events(harness, "a", 10)
        answer = await detail_of(harness).insides("a", layer=0, events=96)
        assert [inside.seq for inside in answer.events] == [65, 66, 67]


async def test_a_large_batch_of_one_stream_is_not_traced_but_later_events_are(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness:
        await harness.apply(["a"] * 200, np.arange(200.0))
        assert (await detail_of(harness).insides("a", layer=0, events=96)).events == []
        await harness.apply(["a"] * 10, np.arange(10.0))
        answer = await detail_of(harness).insides("a", layer=0, events=96)
        assert [inside.seq for inside in answer.events] == list(range(201, 211))


async def test_a_trace_continues_at_the_end_of_the_last_one(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", kept=0x1000) as harness:
        await apply_events(harness, "a", 7)
        detail = detail_of(harness)
        keyframe, seqs = detail.keyframe(await detail.find("a")), []
        assert keyframe is not None
        for count in (1, 3, 20, 2, 9):
            after = keyframe.seq
            await apply_events(harness, "a", count, seed=count)
            found = await detail.find("a")
            trace = await detail.trace(found.stream, after=after, limit=64, layer=0, keyframe=keyframe)
            seqs += [inside.seq for inside in trace.insides]
            assert trace.end == detail.keyframe(found)
            keyframe = trace.end
            assert keyframe is not None
        assert seqs == list(range(8, 43))
        nothing = await detail.trace(found.stream, after=keyframe.seq, limit=64, layer=0, keyframe=keyframe)
        assert nothing == stream_detail.TraceAnswer([], [], None)


async def test_a_stream_evicted_during_a_trace_is_not_mixed_up_with_the_next_in_its_row(
    tmp_path: Path,
) -> None:
    async with open_harness(tmp_path / "state.db", limits={"streams_max": 1}) as harness:
        published = await apply_alone(harness, "a", 50)
        detail = detail_of(harness)
        found = await detail.find("a")
        tracing = asyncio.create_task(detail.insides("a", layer=0, events=5))
        await asyncio.sleep(0)
        row = harness.row("a")
        for n in range(3):
            await harness.apply([f"b{n}"], [[-5.0]])
        assert harness.memories.ids[row] not in (0, found.stream)
        answer = await tracing
        assert (answer.seq, answer.events[-1].seq) == (50, published[-1]["seq"])
        assert answer.ltm == answer.events[-1].ltm
        assert detail.keyframe(found) is None


async def apply_alone(harness: Harness, name: str, count: int) -> list[Json]:
    draw = random.Random(9)
    return [(await harness.apply([name], [[draw.gauss(20, 3)]]))[0] for _ in range(count)]


async def test_an_answer_with_many_numbers_an_event_has_fewer_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_detail, "EVENT_NUMBERS_MAX", 100)
    monkeypatch.setattr(stream_detail, "INSIDE_NUMBERS_MAX", 6 * 8 * 4)
    async with open_harness(tmp_path / "state.db", model=MODELS["pair"]) as harness:
        await apply_events(harness, "a", 60)
        assert len((await detail_of(harness).stream("a", events=2_000)).events) == 100 // 14
        assert len((await detail_of(harness).insides("a", layer=0, events=96)).events) == 4


async def test_a_frozen_stream_is_marked(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness:
        await apply_events(harness, "a:v", 1)
        assert not (await detail_of(harness).stream("a:v", events=1)).frozen
        harness.freezer.apply_message(b'["a"]')
        harness.freezer.refresh(harness.now)
        assert (await detail_of(harness).stream("a:v", events=1)).frozen
