"""Ingest: what becomes an event, what is rejected, what is a duplicate."""

from __future__ import annotations

import gc
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_lstm.errors import PayloadError
from stream_lstm.service.broker import MARK
from stream_lstm.service.pipeline.ingest import Ingested
from stream_lstm.service.state import recovery
from tests.service.harness import reading, running_pipeline
from tests.service.scripted import SentMessage


async def test_a_rejected_message_is_published_with_its_reason_and_acknowledged(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(
            SentMessage("s/a", b"online"),
            SentMessage("else/a", b"1"),
            SentMessage("s/a", b'{"v": 1, "w": "x"}'),
        )
        await running.link.until_delivered(1)
        rejected = [json.loads(b) for t, b in running.link.publications if t == "stream_lstm/rejected"]
        assert [r["reason"] for r in rejected] == ["malformed", "unexpected_topic", "wrong_type"]
        assert len(running.link.acknowledged) == 3
        assert running.counters.events_total == 4
        assert running.counters.applied_total == 1
        assert running.counters.rejected_total.total() == 3


def alive() -> Counter[type]:
    """Errors and batches that exist, whether or not anybody can reach them."""
    return Counter(kind for kind in map(type, gc.get_objects()) if kind in (PayloadError, Ingested))


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        (
            {},
            [
                SentMessage("s/a", b"online"),
                SentMessage("else/a", b"1"),
                SentMessage("s/a", b"[1]"),
                SentMessage("s/a", b""),
            ],
        ),
        (
            {},
            [SentMessage("s/a", b"{"), SentMessage("s/a", b'{"v": NaN}'), SentMessage("s/a", b"x" * 70_000)],
        ),
        (
            {},
            [
                SentMessage("s/a", b'{"v": "x", "w": "x"}'),
                SentMessage("s/a", b'{"v": 1, "w": "x"}'),
                SentMessage("s/a", b"{}"),
            ],
        ),
        ({}, [SentMessage("s/a", b'{"v": 1, "t": "soon"}'), SentMessage("s/a", b'{"v": 1, "t": 9e99}')]),
        ({}, [SentMessage("stream_lstm/freeze", b"{"), SentMessage("stream_lstm/freeze", b'["#/a"]')]),
        ({"time": {"late_seconds_max": 1.0}}, [reading("a", 1.0, 9), reading("a", 2.0, 1)]),
        ({"limits": {"new_streams_per_second": 0.05}}, [reading(f"n{n}", 1.0, 0) for n in range(9)]),
        ({"limits": {"streams_max": 2}}, [reading(f"n{n}", 1.0, 0) for n in range(9)]),
    ],
)
async def test_a_rejection_leaves_no_reference_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], messages: list[SentMessage]
) -> None:
    monkeypatch.setattr(recovery, "spare_rows", lambda batch_events_max: 3)
    async with running_pipeline(tmp_path / "s.db", **settings) as running:
        gc.collect()
        gc.disable()
        try:
            before = alive()
            running.link.feed(*messages)
            await running.link.until_delivered(1)
            assert running.counters.rejected_total.total() > 0
            assert alive() == before
        finally:
            gc.enable()


async def test_events_of_unknown_time_are_marked_uncertain_and_have_no_anomaly(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        plain = SentMessage("s/a", b'{"v": 1}')
        running.link.feed(plain, reading("a", 2.0, 0), SentMessage("s/a", b'{"v": 3}', qos=0), late=True)
        running.link.feed(plain, SentMessage("s/a", b'{"v": 1}', retain=True))
        await running.link.until_delivered(2)
        clocks = [(p["clock"], p["anomaly"] is None) for p in running.predictions()]
        assert clocks == [
            ("uncertain", True),
            ("event", False),
            ("arrival", False),
            ("arrival", False),
            ("uncertain", True),
        ]
        journalled = [clock for entry in running.database.entries(0) for clock in entry.batch.marks.tolist()]
        assert journalled == [2, 0, 1, 1, 2]


async def test_own_publications_are_not_events(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(
            SentMessage("predictions/x", b"1"),
            SentMessage("stream_lstm/rejected", b"1"),
            SentMessage("status", b"online"),
        )
        await running.link.until_delivered(1)
        assert running.link.publications == []
        assert running.counters.own_messages_total == 3
        assert running.counters.events_total == 0


async def test_a_message_without_a_topic_is_rejected_even_if_no_own_topic_is_set(tmp_path: Path) -> None:
    nowhere = {"rejected_topic": "", "stale_topic": ""}
    async with running_pipeline(tmp_path / "s.db", publish=nowhere) as running:
        running.link.feed(SentMessage("", b"bytes that are not text"))
        await running.link.until_delivered(1)
        assert running.counters.rejected_total == {"malformed": 1}
        assert running.counters.own_messages_total == 0


async def test_duplicates_are_dropped_after_a_reconnect_and_new_messages_are_not(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(reading("a", 1.0, 0), reading("a", 2.0, 1), connection=1)
        running.link.feed(reading("a", 2.0, 1, duplicate=True), reading("a", 3.0, 2), connection=2)
        await running.link.until_delivered(2)
        assert [p["seq"] for p in running.predictions()] == [1, 2, 3]
        assert running.counters.duplicates_total == 1
        assert len(running.link.acknowledged) == 4


async def test_what_a_sensor_sends_again_after_our_reconnect_is_one_event(tmp_path: Path) -> None:
    """It did not get its broker's answer: the broker has the message twice, and both copies are new to us."""
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(reading("a", 1.0, 0), connection=1)
        running.link.feed(*[reading("a", float(n), n) for n in (2, 3, 2, 3, 4)], connection=2)
        await running.link.until_delivered(2)
        assert [p["value"] for p in running.predictions()] == [1.0, 2.0, 3.0, 4.0]
        assert running.counters.duplicates_total == 2


async def test_a_batch_of_duplicates_is_acknowledged_without_a_commit(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(reading("a", 1.0, 0), connection=1)
        running.link.feed(reading("a", 1.0, 0), connection=2)
        await running.link.until_delivered(2)
        assert [number for number, _, _ in running.link.delivered] == [1, 1]
        assert running.database.last_entry == 1


async def test_without_a_session_nothing_is_a_duplicate(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(reading("a", 1.0, 0), connection=1, resumed=False)
        await running.link.until_delivered(1)
        running.link.feed(reading("a", 1.0, 0), connection=2, resumed=False)
        await running.link.until_delivered(2)
        assert [p["seq"] for p in running.predictions()] == [1, 2]


async def test_equal_payloads_in_one_connection_are_two_events(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(reading("a", 1.0, 0), reading("a", 1.0, 0))
        await running.link.until_delivered(1)
        assert [p["seq"] for p in running.predictions()] == [1, 2]


async def test_rejected_messages_between_events_do_not_change_memory(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(5)
    good = [reading("ab"[n % 2], float(rng.normal()), n) for n in range(1_000)]
    async with running_pipeline(tmp_path / "good.db") as plain:
        plain.link.feed(*good)
        await plain.link.until_acknowledged(len(good))
        expected = plain.records()
    bad = [
        b"",
        b"x",
        b"{",
        b"[1]",
        b'{"v":NaN}',
        b'{"v":1e999}',
        b'{"v":"1"}',
        b'{"t":1}',
        b"\xff" * 9,
        b"null",
    ]
    mixed: list[SentMessage] = []
    for n, message in enumerate(good):
        mixed.append(message)
        if n % 3 == 0:
            mixed.append(SentMessage(f"s/{'ab'[n % 2]}", bad[n % len(bad)]))
    async with running_pipeline(tmp_path / "mixed.db") as running:
        running.link.feed(*mixed)
        await running.link.until_acknowledged(len(mixed))
        assert running.records() == expected
        assert len(running.predictions()) == len(good)
        assert running.counters.rejected_total.total() == len(mixed) - len(good)


async def test_frozen_events_are_marked_in_predictions_and_journal(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(
            SentMessage("stream_lstm/freeze", b'["a"]'), reading("a", 1.0, 0), reading("b", 1.0, 0)
        )
        await running.link.until_delivered(1)
        running.link.feed(SentMessage("stream_lstm/freeze", b"what?"), reading("a", 2.0, 1))
        await running.link.until_delivered(2)
        running.link.feed(SentMessage("stream_lstm/freeze", b""), reading("a", 3.0, 2))
        await running.link.until_delivered(3)
        told = [(p["stream"], p.get("frozen")) for p in running.predictions()]
        assert told == [("a:v", True), ("b:v", None), ("a:v", True), ("a:v", None)]
        assert [m for e in running.database.entries(0) for m in e.batch.marks.tolist()] == [16, 0, 16, 0]
        assert running.counters.frozen_total == 2
        assert dict(running.counters.rejected_total) == {"malformed": 1}
        assert len(running.link.acknowledged) == 7


SUBSCRIPTIONS = {
    "every number": {"topic": "s/{d}", "stream": "{d}", "fields": []},
    "named": {"topic": "s/{d}", "stream": "{d}", "fields": [f"f{n}" for n in range(30)]},
}


@pytest.mark.parametrize("kind", SUBSCRIPTIONS)
async def test_a_batch_ends_with_the_message_that_fills_it(tmp_path: Path, kind: str) -> None:
    async with running_pipeline(tmp_path / "s.db", subscribe=[SUBSCRIPTIONS[kind]]) as running:
        messages = [
            SentMessage("s/a", json.dumps({f"f{n}": m + n for n in range(30)}).encode()) for m in range(50)
        ]
        running.link.feed(*messages[:20])
        running.link.feed(*messages[20:])
        await running.link.until_acknowledged(50)
        assert running.link.acknowledged == messages
        told = [(p["stream"], p["seq"], p["value"]) for p in running.predictions()]
        assert told == [(f"a:f{n}", m + 1, float(m + n)) for m in range(50) for n in range(30)]
        sizes = [len(publications) for _, publications, _ in running.link.delivered]
        assert max(sizes) < 100 + 30  # the harness's limit, and one message
        assert len(sizes) >= 1_500 // 130


async def test_a_message_of_too_many_numbers_is_rejected_and_counted(tmp_path: Path) -> None:
    limits = {"fields_max": 40}
    async with running_pipeline(
        tmp_path / "s.db", subscribe=[SUBSCRIPTIONS["every number"]], limits=limits
    ) as running:
        wide = {f"f{n}": n for n in range(41)}
        running.link.feed(SentMessage("s/a", json.dumps(wide).encode()), SentMessage("s/b", b'{"v": 1}'))
        await running.link.until_acknowledged(2)
        assert running.counters.rejected_total == {"too_many_fields": 1}
        assert [p["stream"] for p in running.predictions()] == ["b:v"]
        (told,) = [json.loads(b) for t, b in running.link.publications if t == "stream_lstm/rejected"]
        assert told["detail"].startswith("41 numbers; without fields at most 40 are read")


async def test_wrong_fields_of_one_message_are_rejected_a_hundred_at_most(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db", subscribe=[SUBSCRIPTIONS["every number"]]) as running:
        content = ", ".join(f'"f{n}": 1e{200 if n else 1}' for n in range(900))
        running.link.feed(SentMessage("s/a", f"{{{content}}}".encode()))
        await running.link.until_acknowledged(1)
        assert running.counters.rejected_total == {"out_of_range": 100}
        assert [p["stream"] for p in running.predictions()] == ["a:f0"]


def copy(t: float, *identifiers: int, **more: Any) -> SentMessage:
    return reading("a", 1.0, t, subscription_ids=identifiers, **more)


async def test_one_publication_is_one_event_whatever_our_filters(tmp_path: Path) -> None:
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(copy(0, 1), copy(0, 2), copy(1, 2), copy(1, 1), copy(2, 1, 2))
        await running.link.until_delivered(1)
        assert [p["seq"] for p in running.predictions()] == [1, 2, 3]
        assert running.counters.copies_total == 2
        assert len(running.link.acknowledged) == 5


async def test_a_copy_that_is_sent_again_after_a_reconnect_is_no_event(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"topic": "s/a", "payload": b'{"v": 1.5}'}
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(
            SentMessage(**plain, subscription_ids=(1,)), SentMessage(**plain, subscription_ids=(2,))
        )
        await running.link.until_delivered(1)
        running.link.feed(SentMessage(**plain, subscription_ids=(2,), duplicate=True), connection=2)
        await running.link.until_delivered(2)
        assert [p["seq"] for p in running.predictions()] == [1]
        assert len(running.link.acknowledged) == 3


@pytest.mark.parametrize("qos", [0, 1])
async def test_what_a_service_like_this_one_has_published_is_no_event(tmp_path: Path, qos: int) -> None:
    """Whatever topic a bridge brings it back on, with the mark or without."""
    async with running_pipeline(tmp_path / "s.db") as running:
        running.link.feed(reading("a", 1.0, 0), SentMessage("s/a", b"online"))
        await running.link.until_delivered(1)
        said = [payload for _, payload in running.link.publications]
        assert len(said) == 2
        back = [SentMessage(f"s/{n}", payload, qos) for n, payload in enumerate(said * 2)]
        marked = SentMessage("s/a", b'{"v": 5, "t": 5}', qos, user_properties=(MARK,))
        running.link.feed(*back, marked, reading("a", 2.0, 1))
        await running.link.until_delivered(2)
        assert [p["seq"] for p in running.predictions()] == [1, 2]
        assert running.counters.own_messages_total == 5
        assert running.counters.rejected_total.total() == 1
