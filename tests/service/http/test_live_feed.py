"""The live feed: messages are made once for all viewers; a slow viewer skips those that were replaced."""

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

from stream_lstm.service.http import live_feed
from stream_lstm.service.http.cpu_budget import CpuBudget
from stream_lstm.service.http.live_feed import EVENTS_MAX, LiveFeed, TooManyViewers, Viewer
from stream_lstm.service.http.overview import OverviewBuilder
from stream_lstm.service.http.stream_detail import StreamDetail
from tests.core.models import KINDS, random_model
from tests.service.http.harness import Harness, confirmed, open_harness, until

Message = tuple[str, dict[str, Any]]  # kind and data


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "TICK_SECONDS", 0.0)
    monkeypatch.setattr(live_feed, "SHARE", 1.0)
    monkeypatch.setattr(live_feed, "PAUSE_SECONDS_MIN", 0.001)


@asynccontextmanager
async def open_feed(harness: Harness, *, viewers_max: int = 64) -> AsyncIterator[LiveFeed]:
    budget = CpuBudget()
    feed = LiveFeed(
        OverviewBuilder(harness.context),
        StreamDetail(harness.context, budget),
        budget,
        viewers_max=viewers_max,
    )
    try:
        yield feed
    finally:
        await feed.close()


def parsed(stream: bytes) -> list[Message]:
    """Server-sent events."""
    messages = []
    for block in stream.decode().split("\n\n")[:-1]:
        kind, body = block.split("\n")
        assert kind.startswith("event: ")
        assert body.startswith("data: ")
        messages.append((kind.removeprefix("event: "), msgspec.json.decode(body.removeprefix("data: "))))
    return messages


async def next_of(viewer: Viewer, *kinds: str, seconds: float = 10.0) -> Message:
    """The next message of one of these kinds."""
    async with asyncio.timeout(seconds):
        while True:
            for kind, answer in parsed(await viewer.receive()):
                if kind in kinds:
                    return kind, answer


async def started(feed: LiveFeed, *names: str) -> None:
    """Wait until the feed follows these streams."""
    await until(lambda: all(watch.after is not None for watch in feed._watches.values()))
    assert {watch.name for watch in feed._watches.values()} >= set(names)


async def test_there_is_a_task_only_while_there_are_viewers(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        tasks = asyncio.all_tasks()
        assert feed.viewers == 0
        viewer = feed.join(None, layer=0)
        assert feed.viewers == 1
        assert len(asyncio.all_tasks()) == len(tasks) + 1
        feed.leave(viewer)
        feed.leave(viewer)  # the second time changes nothing
        await until(lambda: asyncio.all_tasks() == tasks)
        again = feed.join(None, layer=0)
        assert (await next_of(again, "overview"))[1]["viewers"] == 1
        await next_of(again, "overview")


async def test_a_new_viewer_gets_an_overview_at_once(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        viewer = feed.join(None, layer=0)
        ((kind, overview),) = parsed(await viewer.receive())
        assert (kind, overview["viewers"], overview["streams"]["memory"]) == ("overview", 1, 0)


async def test_a_message_is_encoded_once_for_all_viewers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        await harness.apply(["a"], [1.0])
        viewers = [feed.join("a", layer=0) for _ in range(20)]
        await started(feed, "a")
        made, encode = [], msgspec.json.encode

        def counted(answer: Any) -> bytes:
            made.append(type(answer).__name__)
            return encode(answer)

        monkeypatch.setattr(live_feed.msgspec.json, "encode", counted)
        await harness.apply(["a"], [2.0])
        await until(lambda: all("news" in viewer._messages for viewer in viewers))
        assert made.count("News") == 1
        assert len({id(viewer._messages["news"]) for viewer in viewers}) == 1
        assert len(feed._watches) == 1


async def test_news_continue_after_the_last_event_sent(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        await harness.apply(["a"] * 5, np.arange(5.0))
        viewer = feed.join("a", layer=0)
        await started(feed, "a")
        after = 5
        for count in (1, 4, 2):
            await harness.apply(["a"] * count, np.arange(float(count)))
            _, news = await next_of(viewer, "news")
            assert (news["name"], news["after"]) == ("a", after)
            seqs = [event["seq"] for event in news["events"]]
            assert seqs == list(range(after + 1, after + count + 1))
            assert [inside["seq"] for inside in news["insides"]] == seqs
            assert news["events"][0]["expected"] is not None
            assert news["forecast"]
            after = seqs[-1]


async def test_a_slow_viewer_skips_replaced_news_and_sees_the_gap(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        await harness.apply(["a"], [1.0])
        slow, quick = feed.join("a", layer=0), feed.join("a", layer=0)
        await started(feed, "a")
        for n in range(3):
            await harness.apply(["a"], [2.0 + n])
            assert (await next_of(quick, "news"))[1]["after"] == 1 + n
        assert len(slow._messages) <= 2
        _, news = await next_of(slow, "news")
        assert (news["after"], [event["seq"] for event in news["events"]]) == (3, [4])


async def test_news_of_too_many_events_hold_the_last_ones(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db", kept=10_000) as harness, open_feed(harness) as feed:
        await harness.apply(["a"], [1.0])
        viewer = feed.join("a", layer=0)
        await started(feed, "a")
        await harness.apply(["a"] * (EVENTS_MAX + 50), np.zeros(EVENTS_MAX + 50))
        _, news = await next_of(viewer, "news")
        assert (news["after"], len(news["events"])) == (1, EVENTS_MAX)
        assert news["events"][-1]["seq"] == EVENTS_MAX + 51
        assert news["insides"] == []  # too many in one batch: no keyframe is near enough
        await harness.apply(["a"], [1.0])
        _, news = await next_of(viewer, "news")
        assert [inside["seq"] for inside in news["insides"]] == [EVENTS_MAX + 52]


async def test_each_viewer_gets_the_layer_it_follows(tmp_path: Path) -> None:
    model = random_model(**KINDS["stacked"])
    async with open_harness(tmp_path / "state.db", model=model) as harness, open_feed(harness) as feed:
        await harness.apply(["a"], [1.0])
        viewers = [feed.join("a", layer=layer) for layer in (0, 2)]
        await started(feed, "a")
        await harness.apply(["a"], [2.0])
        for viewer, layer in zip(viewers, (0, 2), strict=True):
            _, news = await next_of(viewer, "news")
            ltm = harness.memories.states["ltm"][harness.row("a"), layer].astype(np.float64).round(3).tolist()
            assert news["insides"][0]["ltm"] == ltm


async def test_an_unknown_stream_is_gone_until_its_first_event(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        viewer = feed.join("<b>\u202e", layer=0)
        kind, news = await next_of(viewer, "gone", "news")
        assert (kind, news) == ("gone", {"error": "stream '<b>\\u202e' does not exist", "parameter": "name"})
        await harness.apply(["<b>\u202e"], [1.0])
        kind, news = await next_of(viewer, "news")
        assert (news["after"], [event["seq"] for event in news["events"]]) == (0, [1])
        await harness.apply(["<b>\u202e"], [2.0])
        _, news = await next_of(viewer, "news")
        assert (news["after"], [inside["seq"] for inside in news["insides"]]) == (1, [2])


async def test_news_of_an_expired_stream_start_again_with_its_first_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing() -> None:
        """A tick that misses the expiry."""

    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        await harness.apply(["a"] * 40, np.arange(40.0))
        viewer = feed.join("a", layer=0)
        await started(feed, "a")
        monkeypatch.setattr(feed, "_tick", nothing)
        await harness.state_writer.checkpoint(confirmed)
        assert await harness.residency.expire(float("inf")) == 1
        await harness.apply(["a"], [1.0])
        monkeypatch.undo()
        _, news = await next_of(viewer, "news")
        assert (news["after"], [event["seq"] for event in news["events"]]) == (0, [1])


async def test_a_stream_on_disk_is_followed_until_its_next_event(tmp_path: Path) -> None:
    async with (
        open_harness(tmp_path / "state.db", limits={"streams_max": 2}) as harness,
        open_feed(harness) as feed,
    ):
        await harness.apply(["a"] * 3, np.arange(3.0))
        for n in range(4):
            await harness.apply([f"b{n}"], [1.0])
        assert "a" not in harness.memories
        viewer = feed.join("a", layer=0)
        await started(feed, "a")
        await harness.apply(["a"], [4.0])
        _, news = await next_of(viewer, "news")
        assert (news["after"], [inside["seq"] for inside in news["insides"]]) == (3, [4])


async def test_the_number_of_viewers_is_limited(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness, viewers_max=2) as feed:
        viewers = [feed.join(None, layer=0) for _ in range(2)]
        with pytest.raises(TooManyViewers):
            feed.join("a", layer=0)
        assert not feed._watches
        feed.leave(viewers[0])
        feed.join("a", layer=0)


async def test_close_ends_every_viewer_and_accepts_no_more(tmp_path: Path) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        waiting, late = feed.join(None, layer=0), feed.join("a", layer=0)
        await waiting.receive()
        receiving = asyncio.create_task(_to_the_end(waiting))
        await feed.close()
        async with asyncio.timeout(5):
            await receiving
            await _to_the_end(late)  # gets its waiting messages, then the end
        with pytest.raises(TooManyViewers):
            feed.join(None, layer=0)


async def _to_the_end(viewer: Viewer) -> None:
    while await viewer.receive():
        pass


@pytest.mark.parametrize("where", ["tick", "find", "overview"])
async def test_a_fault_does_not_end_the_feed(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        await harness.apply(["a"], [1.0])
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
            "find": (feed._detail, "find", fail_later),
            "overview": (feed._overviews, "overview", fail),
        }
        with caplog.at_level(logging.ERROR, "stream_lstm"):
            monkeypatch.setattr(*broken[where])
            await until(lambda: len(faults) > 2)
            monkeypatch.undo()
        await harness.apply(["a"], [2.0])
        assert (await next_of(viewer, "news"))[1]["events"][-1]["seq"] == 2
        assert [record.message for record in caplog.records] == ["live feed tick failed, continuing"]


async def test_a_fault_at_one_stream_does_not_stop_news_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        await harness.apply(["a", "b"], [1.0, 1.0])
        feed.join("a", layer=0)
        viewer = feed.join("b", layer=0)
        await started(feed, "a", "b")
        find = feed._detail.find

        async def failing(name: str) -> Any:
            if name == "a":
                raise RuntimeError("a fault")
            return await find(name)

        monkeypatch.setattr(feed._detail, "find", failing)
        await harness.apply(["a", "b"], [2.0, 2.0])
        assert (await next_of(viewer, "news"))[1]["name"] == "b"


async def test_ticks_pause_in_proportion_to_their_cost_and_longer_during_a_backlog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "TICK_SECONDS", 0.5)
    monkeypatch.setattr(live_feed, "SHARE", 0.05)
    async with open_harness(tmp_path / "state.db") as harness, open_feed(harness) as feed:
        for backlog, took, spent, pause in [
            (0, 0.1, 0.0, 0.4),
            (0, 9.0, 0.0, live_feed.PAUSE_SECONDS_MIN),
            (0, 0.1, 0.1, 2.0),
            (255, 0.1, 0.1, 2.0),
            (256, 0.1, 0.1, 10.0),
        ]:
            monkeypatch.setattr(type(feed._overviews), "backlog_messages", backlog)
            assert feed._pause(took, spent) == pytest.approx(pause)
