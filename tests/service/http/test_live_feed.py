"""What is new is told live: made once for all, not for nobody; who is slow misses what was overtaken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_lstm.service.http import live_feed as feed_module
from stream_lstm.service.http.cpu_budget import CpuBudget
from stream_lstm.service.http.live_feed import EVENTS_MAX, LiveFeed, TooManyViewers, Viewer
from stream_lstm.service.http.overview import OverviewBuilder
from stream_lstm.service.http.stream_detail import StreamDetail
from tests.core.models import KINDS, random_model
from tests.service.http.scene import Scene, confirmed, scene, until

Told = tuple[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks come as quickly as may be."""
    monkeypatch.setattr(feed_module, "TICK_SECONDS", 0.0)
    monkeypatch.setattr(feed_module, "SHARE", 1.0)
    monkeypatch.setattr(feed_module, "PAUSE_SECONDS_MIN", 0.001)


@asynccontextmanager
async def feeding(set_up: Scene, *, viewers_max: int = 64) -> AsyncIterator[LiveFeed]:
    budget = CpuBudget()
    feed = LiveFeed(
        OverviewBuilder(set_up.view), StreamDetail(set_up.view, budget), budget, viewers_max=viewers_max
    )
    try:
        yield feed
    finally:
        await feed.close()


def parsed(news: bytes) -> list[Told]:
    """Server-sent events, read as the standard says."""
    messages = []
    for block in news.decode().split("\n\n")[:-1]:
        kind, body = block.split("\n")
        assert kind.startswith("event: ")
        assert body.startswith("data: ")
        messages.append((kind.removeprefix("event: "), msgspec.json.decode(body.removeprefix("data: "))))
    return messages


async def next_of(viewer: Viewer, *kinds: str, seconds: float = 10.0) -> Told:
    """The next message of one of these kinds."""
    async with asyncio.timeout(seconds):
        while True:
            for kind, told in parsed(await viewer.fetch()):
                if kind in kinds:
                    return kind, told


async def started(feed: LiveFeed, *names: str) -> None:
    """Wait until the streams that are looked at are watched from somewhere."""
    await until(lambda: all(watch.after is not None for watch in feed._watches.values()))
    assert {watch.name for watch in feed._watches.values()} >= set(names)


async def test_for_nobody_nothing_is_done(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        tasks = asyncio.all_tasks()
        assert feed.viewers == 0
        viewer = feed.join(None, layer=0)
        assert feed.viewers == 1
        assert len(asyncio.all_tasks()) == len(tasks) + 1
        feed.leave(viewer)
        feed.leave(viewer)  # twice does no harm
        await until(lambda: asyncio.all_tasks() == tasks)
        again = feed.join(None, layer=0)
        assert (await next_of(again, "overview"))[1]["viewers"] == 1
        await next_of(again, "overview")


async def test_who_joins_is_told_at_once_how_things_stand(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        viewer = feed.join(None, layer=0)
        ((kind, told),) = parsed(await viewer.fetch())
        assert (kind, told["viewers"], told["streams"]["memory"]) == ("overview", 1, 0)


async def test_all_get_the_same_bytes_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        await set_up.come(["a"], [1.0])
        viewers = [feed.join("a", layer=0) for _ in range(20)]
        await started(feed, "a")
        made, encode = [], msgspec.json.encode

        def counted(told: Any) -> bytes:
            made.append(type(told).__name__)
            return encode(told)

        monkeypatch.setattr(feed_module.msgspec.json, "encode", counted)
        await set_up.come(["a"], [2.0])
        await until(lambda: all("news" in viewer._waiting for viewer in viewers))
        assert made.count("News") == 1
        assert len({id(viewer._waiting["news"]) for viewer in viewers}) == 1
        assert len(feed._watches) == 1


async def test_news_go_on_where_the_last_ended(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        await set_up.come(["a"] * 5, np.arange(5.0))
        viewer = feed.join("a", layer=0)
        await started(feed, "a")
        after = 5
        for count in (1, 4, 2):
            await set_up.come(["a"] * count, np.arange(float(count)))
            _, told = await next_of(viewer, "news")
            assert (told["name"], told["after"]) == ("a", after)
            seqs = [event["seq"] for event in told["events"]]
            assert seqs == list(range(after + 1, after + count + 1))
            assert [inside["seq"] for inside in told["insides"]] == seqs
            assert told["events"][0]["expected"] is not None
            assert told["forecast"]
            after = seqs[-1]


async def test_who_is_slow_misses_what_was_overtaken_and_sees_it(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        await set_up.come(["a"], [1.0])
        slow, quick = feed.join("a", layer=0), feed.join("a", layer=0)
        await started(feed, "a")
        for n in range(3):
            await set_up.come(["a"], [2.0 + n])
            assert (await next_of(quick, "news"))[1]["after"] == 1 + n
        assert len(slow._waiting) <= 2
        _, told = await next_of(slow, "news")
        assert (told["after"], [event["seq"] for event in told["events"]]) == (3, [4])


async def test_of_more_than_can_be_told_the_last_are(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", kept=10_000) as set_up, feeding(set_up) as feed:
        await set_up.come(["a"], [1.0])
        viewer = feed.join("a", layer=0)
        await started(feed, "a")
        await set_up.come(["a"] * (EVENTS_MAX + 50), np.zeros(EVENTS_MAX + 50))
        _, told = await next_of(viewer, "news")
        assert (told["after"], len(told["events"])) == (1, EVENTS_MAX)
        assert told["events"][-1]["seq"] == EVENTS_MAX + 51
        assert told["insides"] == []  # too many in one batch for what lies between records
        await set_up.come(["a"], [1.0])
        _, told = await next_of(viewer, "news")
        assert [inside["seq"] for inside in told["insides"]] == [EVENTS_MAX + 52]


async def test_each_layer_is_told_to_who_looks_at_it(tmp_path: Path) -> None:
    model = random_model(**KINDS["stacked"])
    async with scene(tmp_path / "state.db", model=model) as set_up, feeding(set_up) as feed:
        await set_up.come(["a"], [1.0])
        viewers = [feed.join("a", layer=layer) for layer in (0, 2)]
        await started(feed, "a")
        await set_up.come(["a"], [2.0])
        for viewer, layer in zip(viewers, (0, 2), strict=True):
            _, told = await next_of(viewer, "news")
            ltm = set_up.memories.ltm[set_up.row("a"), layer].astype(np.float64).round(3).tolist()
            assert told["insides"][0]["ltm"] == ltm


async def test_a_stream_that_is_not_there_is_gone_until_it_comes(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        viewer = feed.join("<b>\u202e", layer=0)
        kind, told = await next_of(viewer, "gone", "news")
        assert (kind, told) == ("gone", {"error": "there is no stream '<b>\\u202e'", "parameter": "name"})
        await set_up.come(["<b>\u202e"], [1.0])
        kind, told = await next_of(viewer, "news")
        assert (told["after"], [event["seq"] for event in told["events"]]) == (0, [1])
        await set_up.come(["<b>\u202e"], [2.0])
        _, told = await next_of(viewer, "news")
        assert (told["after"], [inside["seq"] for inside in told["insides"]]) == (1, [2])


async def test_a_stream_that_was_forgotten_and_comes_again_is_told_from_its_first_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing() -> None:
        """No tick sees that it had gone."""

    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        await set_up.come(["a"] * 40, np.arange(40.0))
        viewer = feed.join("a", layer=0)
        await started(feed, "a")
        monkeypatch.setattr(feed, "_tick", nothing)
        await set_up.state_writer.checkpoint(confirmed)
        assert await set_up.streams.forget(float("inf")) == 1
        await set_up.come(["a"], [1.0])
        monkeypatch.undo()
        _, told = await next_of(viewer, "news")
        assert (told["after"], [event["seq"] for event in told["events"]]) == (0, [1])


async def test_a_stream_that_waits_on_disk_is_watched_until_it_speaks(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db", limits={"streams_max": 2}) as set_up, feeding(set_up) as feed:
        await set_up.come(["a"] * 3, np.arange(3.0))
        for n in range(4):
            await set_up.come([f"b{n}"], [1.0])
        assert "a" not in set_up.memories
        viewer = feed.join("a", layer=0)
        await started(feed, "a")
        await set_up.come(["a"], [4.0])
        _, told = await next_of(viewer, "news")
        assert (told["after"], [inside["seq"] for inside in told["insides"]]) == (3, [4])


async def test_as_many_look_as_may(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up, viewers_max=2) as feed:
        viewers = [feed.join(None, layer=0) for _ in range(2)]
        with pytest.raises(TooManyViewers):
            feed.join("a", layer=0)
        assert not feed._watches
        feed.leave(viewers[0])
        feed.join("a", layer=0)


async def test_at_the_end_all_are_sent_away_and_nobody_is_let_in(tmp_path: Path) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        waiting, late = feed.join(None, layer=0), feed.join("a", layer=0)
        await waiting.fetch()
        fetching = asyncio.create_task(_to_the_end(waiting))
        await feed.close()
        async with asyncio.timeout(5):
            await fetching
            await _to_the_end(late)  # has what was there for it, and then the end
        with pytest.raises(TooManyViewers):
            feed.join(None, layer=0)


async def _to_the_end(viewer: Viewer) -> None:
    while await viewer.fetch():
        pass


@pytest.mark.parametrize("where", ["tick", "find", "overview"])
async def test_a_fault_does_not_end_the_feed(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        await set_up.come(["a"], [1.0])
        viewer = feed.join("a", layer=0)
        await started(feed, "a")
        faults: list[None] = []

        def fail(*_: object, **__: object) -> Any:
            faults.append(None)
            raise RuntimeError("a fault")

        async def fail_later(*_: object, **__: object) -> Any:
            fail()

        broken: dict[str, tuple[Any, str, Callable[..., Any] | Callable[..., Awaitable[Any]]]] = {
            "tick": (feed, "_tick", fail_later),
            "find": (feed._teller, "find", fail_later),
            "overview": (feed._watcher, "overview", fail),
        }
        with caplog.at_level(logging.ERROR, "stream_lstm"):
            monkeypatch.setattr(*broken[where])
            await until(lambda: len(faults) > 2)
            monkeypatch.undo()
        await set_up.come(["a"], [2.0])
        assert (await next_of(viewer, "news"))[1]["events"][-1]["seq"] == 2
        assert [record.message for record in caplog.records] == ["the live page's feed stumbled"]


async def test_one_stream_that_cannot_be_told_of_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        await set_up.come(["a", "b"], [1.0, 1.0])
        feed.join("a", layer=0)
        viewer = feed.join("b", layer=0)
        await started(feed, "a", "b")
        find = feed._teller.find

        async def failing(name: str) -> Any:
            if name == "a":
                raise RuntimeError("a fault")
            return await find(name)

        monkeypatch.setattr(feed._teller, "find", failing)
        await set_up.come(["a", "b"], [2.0, 2.0])
        assert (await next_of(viewer, "news"))[1]["name"] == "b"


async def test_ticks_cost_a_share_of_the_time_less_where_the_line_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "TICK_SECONDS", 0.5)
    monkeypatch.setattr(feed_module, "SHARE", 0.05)
    async with scene(tmp_path / "state.db") as set_up, feeding(set_up) as feed:
        for waiting, took, spent, pause in [
            (0, 0.1, 0.0, 0.4),
            (0, 9.0, 0.0, feed_module.PAUSE_SECONDS_MIN),
            (0, 0.1, 0.1, 2.0),
            (255, 0.1, 0.1, 2.0),
            (256, 0.1, 0.1, 10.0),
        ]:
            monkeypatch.setattr(type(feed._watcher), "waiting", waiting)
            assert feed._pause(took, spent) == pytest.approx(pause)
