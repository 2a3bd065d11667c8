"""A stream's story is what was published, and its gates are told as they were, wherever the stream is."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_lstm.core.model import inputs
from stream_lstm.core.views.history import KEYFRAME_EVENTS
from stream_lstm.events import FROZEN, Clock
from stream_lstm.service.http import stream_detail as story_module
from stream_lstm.service.http.cpu_budget import CpuBudget
from stream_lstm.service.http.schemas import Event
from stream_lstm.service.http.stream_detail import DIGITS, StreamDetail, UnknownStream
from tests.core.models import KINDS, random_model
from tests.service.http.scene import MODEL, Scene, Told, scene

MODELS = {name: random_model(**changes) for name, changes in KINDS.items()} | {"default": MODEL}
GATES = ("forget", "learn", "news", "use", "ltm", "stm")


def teller(set_up: Scene) -> StreamDetail:
    return StreamDetail(set_up.view, CpuBudget())


async def spoke(set_up: Scene, name: str, count: int, *, seed: int = 1, **options: Any) -> list[Told]:
    """A stream speaks among others; what was published of it."""
    draw, told = random.Random(seed), []
    for _ in range(count):
        names = [name, *draw.sample("uvwxyz", draw.randrange(4))]
        values = [[draw.gauss(20, 3) for _ in range(set_up.wide)] for _ in names]
        told.append((await set_up.come(names, values, **options))[0])
    return told


def same(event: Event, published: Told, before: Told | None, *, checked: bool) -> None:
    """An event of the story is the published one."""
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
    odds = published.get("probabilities")
    assert event.probabilities == (odds and {label: round(p, DIGITS) for label, p in odds.items()})


def assert_same(found: Any, published: Any) -> None:
    """Numbers by name, where null says the same as nothing."""
    if isinstance(found, dict):
        known = {name: value for name, value in found.items() if value is not None}
        wanted = published or {}
        assert known == {
            n: tuple(v) if isinstance(v, list) else v for n, v in wanted.items() if v is not None
        }
    else:
        assert found == (tuple(published) if isinstance(published, list) else published)


@pytest.mark.parametrize("kind", MODELS)
async def test_events_are_those_that_were_published(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind]
    checked = bool(set(model.spec.targets) & set(model.spec.features))
    async with scene(tmp_path / "state.db", model=model) as set_up:
        published = await spoke(set_up, "a", 30)
        published += await spoke(set_up, "a", 10, seed=2, mark=int(Clock.UNCERTAIN))
        published += await spoke(set_up, "a", 10, seed=3, mark=int(Clock.ARRIVAL) | FROZEN)
        published += await spoke(set_up, "a", 1, seed=4)
        told = await teller(set_up).stream("a", events=2_000)
        assert [event.seq for event in told.events] == list(range(1, 52))
        for event, said, before in zip(told.events, published, [None, *published], strict=False):
            same(event, said, before, checked=checked)
        last = published[-1]
        assert (told.where, told.events_total, told.time, told.value) == (
            "memory",
            51,
            last["time"],
            last["value"],
        )
        assert_same(told.prediction, last.get("prediction"))
        few = (await teller(set_up).stream("a", events=3)).events
        assert few == told.events[-3:], "what was expected is known from the event before the first"
        assert (await teller(set_up).stream("a", events=0)).events == []


async def test_what_was_expected_of_an_event_after_a_gap_is_not_known(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", kept=20) as set_up:  # ten of streams that speak often
        await set_up.come(["a"], [1.0])
        set_up.registry.longest_gap[set_up.row("a")] = 60.0
        await set_up.come(["a"] * 3, [2.0, 3.0, 4.0], gap=0.1)
        assert len((await teller(set_up).stream("a", events=100)).events) == 4
        set_up.registry.longest_gap[set_up.row("a")] = 0.0
        await set_up.come(["a"] * 12, np.arange(12.0), gap=0.1)
        events = (await teller(set_up).stream("a", events=100)).events
        seqs = [event.seq for event in events]
        assert seqs == sorted(seqs)
        gaps = [
            event for event, before in zip(events, [None, *seqs], strict=False) if before != event.seq - 1
        ]
        assert len(gaps) > 1
        for event in events:
            assert (event.expected is None) == (event in gaps)
            assert event.prediction is not None


async def test_a_stream_that_waits_on_disk_is_told_of_too(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", limits={"streams_max": 2}) as set_up:
        published = await spoke(set_up, "a", 40)
        here = await teller(set_up).stream("a", events=40)
        within = await teller(set_up).insides("a", layer=0, events=5)
        for n in range(6):
            await set_up.come([f"b{n}"], [1.0])
        assert set_up.memories.rows(["a"]) == [None]
        away = await teller(set_up).stream("a", events=40)
        assert (here.where, away.where) == ("memory", "disk")
        assert away.anomaly is None
        unlike = {"where", "anomaly", "odd", "seen"}
        for name in set(away.__struct_fields__) - unlike:
            assert getattr(away, name) == getattr(here, name), name
        assert int(away.seen) == int(here.seen)
        assert away.prediction == published[-1]["prediction"]
        assert await teller(set_up).insides("a", layer=0, events=5) == within
        for name in ("nobody", "", "a" * 10_000, "\0", "a' OR '1'='1"):
            with pytest.raises(UnknownStream):
                await teller(set_up).stream(name, events=1)


async def test_to_look_on_disk_is_paid_for(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", limits={"streams_max": 2}) as set_up:
        for name in "abcd":
            await set_up.come([name], [1.0])
        budget = CpuBudget(lambda: 1.0)
        with pytest.raises(UnknownStream):
            await StreamDetail(set_up.view, budget).find("nobody")
        assert budget.spent == story_module.FETCH_SECONDS


@pytest.mark.parametrize("kind", MODELS)
async def test_insides_are_the_engines_to_the_last_digit_told(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind]
    described = model.spec
    async with scene(tmp_path / "state.db", model=model) as set_up:
        memories, after = set_up.memories, []
        draw = random.Random(5)
        for n in range(100):
            await set_up.come(["a", "b"], [[draw.gauss(20, 3)] * set_up.wide for _ in "ab"])
            row = set_up.row("a")
            after.append((n + 1, memories.ltm[row].copy(), memories.stm[row].copy()))
        for layer in range(described.layers):
            told = await teller(set_up).insides("a", layer=layer, events=40)
            assert [inside.seq for inside in told.events] == list(range(61, 101))
            for inside in told.events:
                _, ltm, stm = after[inside.seq - 1]
                assert inside.ltm == ltm[layer].astype(np.float64).round(DIGITS).tolist()
                assert inside.stm == stm[layer].astype(np.float64).round(DIGITS).tolist()
            assert (told.seq, told.ltm, told.stm) == (100, told.events[-1].ltm, told.events[-1].stm)
            assert (told.layer, told.layers, told.units) == (layer, described.layers, described.units)
            assert told.entering == inputs.columns(described.inputs, described.features)
            assert {len(inside.event) for inside in told.events} == {len(told.entering)}
            assert {len(getattr(inside, gate)) for inside in told.events for gate in GATES} == {
                described.units
            }


@pytest.mark.parametrize("kind", ["default", "far", "fixed", "classes"])
async def test_what_is_expected_further_ahead_is_what_was_published(kind: str, tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", model=MODELS[kind]) as set_up:
        published = await spoke(set_up, "a", 50)
        told = await teller(set_up).insides("a", layer=0, events=1)
        found = [(ahead.ahead, ahead.value, ahead.interval) for ahead in told.forecast]
        wanted = published[-1].get("forecast", [])
        assert len(found) == len(wanted)
        for (ahead, value, interval), one in zip(found, wanted, strict=True):
            assert ahead == one["ahead"]
            assert_same(value, one["value"])
            assert_same(interval, one["interval"])


@pytest.mark.parametrize("kind", MODELS)
async def test_a_young_stream_is_told_from_its_first_event_on(kind: str, tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", model=MODELS[kind]) as set_up:
        await spoke(set_up, "a", KEYFRAME_EVENTS - 1)
        told = await teller(set_up).insides("a", layer=0, events=96)
        assert [inside.seq for inside in told.events] == list(range(1, KEYFRAME_EVENTS))
        assert (told.seq, told.ltm) == (KEYFRAME_EVENTS - 1, told.events[-1].ltm)


async def test_without_a_record_nothing_can_be_told_but_memory_is_shown(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", kept=20) as set_up:  # its first events are kept no more
        await spoke(set_up, "a", KEYFRAME_EVENTS - 1)
        told = await teller(set_up).insides("a", layer=0, events=96)
        assert (told.seq, told.events, told.forecast) == (KEYFRAME_EVENTS - 1, [], [])
        assert any(told.ltm)
        await spoke(set_up, "a", 1)  # the record is that of the last event: there is none behind it
        assert (await teller(set_up).insides("a", layer=0, events=96)).events == []
        await spoke(set_up, "a", 1)
        assert len((await teller(set_up).insides("a", layer=0, events=96)).events) == 1
    async with scene(tmp_path / "none.db", kept=0) as set_up:
        await spoke(set_up, "a", KEYFRAME_EVENTS + 5)
        told = await teller(set_up).insides("a", layer=0, events=96)
        assert (told.events, (await teller(set_up).stream("a", events=9)).events) == ([], [])


async def test_a_gap_ends_what_can_be_told_from_a_record(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", kept=40) as set_up:  # twenty of those that speak often
        await spoke(set_up, "a", KEYFRAME_EVENTS + 25)
        assert (await teller(set_up).insides("a", layer=0, events=96)).events == []
        await spoke(set_up, "a", 10)
        told = await teller(set_up).insides("a", layer=0, events=96)
        assert [inside.seq for inside in told.events] == [65, 66, 67]


async def test_many_events_of_one_stream_in_a_batch_are_told_as_far_as_they_can_be(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up:
        await set_up.come(["a"] * 200, np.arange(200.0))
        assert (await teller(set_up).insides("a", layer=0, events=96)).events == []
        await set_up.come(["a"] * 10, np.arange(10.0))
        told = await teller(set_up).insides("a", layer=0, events=96)
        assert [inside.seq for inside in told.events] == list(range(201, 211))


async def test_a_telling_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", kept=0x1000) as set_up:
        await spoke(set_up, "a", 7)
        of = teller(set_up)
        since, seqs = of.anchor(await of.find("a")), []
        assert since is not None
        for count in (1, 3, 20, 2, 9):
            after = since.seq
            await spoke(set_up, "a", count, seed=count)
            found = await of.find("a")
            telling = await of.tell(found.stream, after=after, most=64, layer=0, since=since)
            seqs += [inside.seq for inside in telling.insides]
            assert telling.end == of.anchor(found)
            since = telling.end
            assert since is not None
        assert seqs == list(range(8, 43))
        nothing = await of.tell(found.stream, after=since.seq, most=64, layer=0, since=since)
        assert nothing == story_module.TraceAnswer([], [], None)


async def test_a_stream_that_leaves_while_it_is_told_of_is_not_mistaken_for_who_gets_its_row(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path / "state.db", limits={"streams_max": 1}) as set_up:
        published = await spoke_alone(set_up, "a", 50)
        of = teller(set_up)
        found = await of.find("a")
        telling = asyncio.create_task(of.insides("a", layer=0, events=5))
        await asyncio.sleep(0)
        row = set_up.row("a")
        for n in range(3):
            await set_up.come([f"b{n}"], [[-5.0]])
        assert set_up.memories.ids[row] not in (0, found.stream)
        told = await telling
        assert (told.seq, told.events[-1].seq) == (50, published[-1]["seq"])
        assert told.ltm == told.events[-1].ltm
        assert of.anchor(found) is None


async def spoke_alone(set_up: Scene, name: str, count: int) -> list[Told]:
    draw = random.Random(9)
    return [(await set_up.come([name], [[draw.gauss(20, 3)]]))[0] for _ in range(count)]


async def test_an_answer_of_many_numbers_holds_fewer_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story_module, "EVENT_NUMBERS_MAX", 100)
    monkeypatch.setattr(story_module, "INSIDE_NUMBERS_MAX", 6 * 8 * 4)
    async with scene(tmp_path / "state.db", model=MODELS["pair"]) as set_up:
        await spoke(set_up, "a", 60)
        assert len((await teller(set_up).stream("a", events=2_000)).events) == 100 // 14
        assert len((await teller(set_up).insides("a", layer=0, events=96)).events) == 4


async def test_a_frozen_stream_says_so(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up:
        await spoke(set_up, "a:v", 1)
        assert not (await teller(set_up).stream("a:v", events=1)).frozen
        set_up.freezer.apply_message(b'["a"]')
        set_up.freezer.refresh(set_up.now)
        assert (await teller(set_up).stream("a:v", events=1)).frozen
