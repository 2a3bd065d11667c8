"""The line without a broker: what is applied, refused, recognised, committed, and how it leaves."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_lstm.errors import DiskFailed, DiskFull, PayloadError
from stream_lstm.service.pipeline.pipeline import ReadBatch
from stream_lstm.service.state import recovery
from stream_lstm.store.journal import Entry
from tests.service.lines import Line, line, said
from tests.service.scripted import Said


async def test_every_event_gives_one_prediction_and_is_acknowledged_with_it(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        messages = [said("a", 1.0, 0), said("b", 5.0, 0), said("a", 2.0, 1)]
        running.link.say(*messages)
        await running.link.until_delivered(1)
        assert [(p["stream"], p["seq"], p["value"]) for p in running.predictions()] == [
            ("a:v", 1, 1.0),
            ("b:v", 1, 5.0),
            ("a:v", 2, 2.0),
        ]
        assert running.link.acknowledged == messages
        assert running.counters.predictions_total == 3


async def test_what_is_refused_is_published_with_its_reason_and_acknowledged(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        running.link.say(Said("s/a", b"online"), Said("else/a", b"1"), Said("s/a", b'{"v": 1, "w": "x"}'))
        await running.link.until_delivered(1)
        rejected = [json.loads(b) for t, b in running.link.publications if t == "stream_lstm/rejected"]
        assert [r["reason"] for r in rejected] == ["malformed", "unexpected_topic", "wrong_type"]
        assert len(running.link.acknowledged) == 3
        assert running.counters.events_total == 4
        assert running.counters.applied_total == 1
        assert running.counters.rejected_total.total() == 3


def kept() -> Counter[type]:
    """Errors and batches that exist, whether or not anybody can reach them."""
    return Counter(kind for kind in map(type, gc.get_objects()) if kind in (PayloadError, ReadBatch))


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        ({}, [Said("s/a", b"online"), Said("else/a", b"1"), Said("s/a", b"[1]"), Said("s/a", b"")]),
        ({}, [Said("s/a", b"{"), Said("s/a", b'{"v": NaN}'), Said("s/a", b"x" * 70_000)]),
        ({}, [Said("s/a", b'{"v": "x", "w": "x"}'), Said("s/a", b'{"v": 1, "w": "x"}'), Said("s/a", b"{}")]),
        ({}, [Said("s/a", b'{"v": 1, "t": "soon"}'), Said("s/a", b'{"v": 1, "t": 9e99}')]),
        ({}, [Said("stream_lstm/freeze", b"{"), Said("stream_lstm/freeze", b'["#/a"]')]),
        ({"time": {"late_seconds_max": 1.0}}, [said("a", 1.0, 9), said("a", 2.0, 1)]),
        ({"limits": {"new_streams_per_second": 0.05}}, [said(f"n{n}", 1.0, 0) for n in range(9)]),
        ({"limits": {"streams_max": 2}}, [said(f"n{n}", 1.0, 0) for n in range(9)]),
    ],
)
async def test_what_is_refused_leaves_nothing_for_the_garbage_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], messages: list[Said]
) -> None:
    monkeypatch.setattr(recovery, "spare_rows", lambda batch_events_max: 3)
    async with line(tmp_path / "s.db", **settings) as running:
        gc.collect()
        gc.disable()
        try:
            before = kept()
            running.link.say(*messages)
            await running.link.until_delivered(1)
            assert running.counters.rejected_total.total() > 0
            assert kept() == before
        finally:
            gc.enable()


async def test_events_that_nobody_can_date_are_marked_and_raise_no_alarm(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        plain = Said("s/a", b'{"v": 1}')
        running.link.say(plain, said("a", 2.0, 0), Said("s/a", b'{"v": 3}', qos=0), late=True)
        running.link.say(plain, Said("s/a", b'{"v": 1}', retain=True))
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


async def test_our_own_publications_are_never_events(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        running.link.say(
            Said("predictions/x", b"1"), Said("stream_lstm/rejected", b"1"), Said("status", b"online")
        )
        await running.link.until_delivered(1)
        assert running.link.publications == []
        assert running.counters.own_messages_total == 3
        assert running.counters.events_total == 0


async def test_a_message_without_a_topic_is_refused_whatever_we_publish_to(tmp_path: Path) -> None:
    nowhere = {"rejected_topic": "", "stale_topic": ""}
    async with line(tmp_path / "s.db", publish=nowhere) as running:
        running.link.say(Said("", b"bytes that are not text"))
        await running.link.until_delivered(1)
        assert running.counters.rejected_total == {"malformed": 1}
        assert running.counters.own_messages_total == 0


async def test_copies_are_recognised_after_a_reconnect_and_new_messages_are_not(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        running.link.say(said("a", 1.0, 0), said("a", 2.0, 1), connection=1)
        running.link.say(said("a", 2.0, 1, duplicate=True), said("a", 3.0, 2), connection=2)
        await running.link.until_delivered(2)
        assert [p["seq"] for p in running.predictions()] == [1, 2, 3]
        assert running.counters.duplicates_total == 1
        assert len(running.link.acknowledged) == 4


async def test_nothing_but_copies_is_acknowledged_without_a_commit(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        running.link.say(said("a", 1.0, 0), connection=1)
        running.link.say(said("a", 1.0, 0), connection=2)
        await running.link.until_delivered(2)
        assert [number for number, _, _ in running.link.delivered] == [1, 1]
        assert running.database.last_entry == 1


async def test_without_a_session_nothing_is_taken_for_a_copy(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        running.link.say(said("a", 1.0, 0), connection=1, resumed=False)
        await running.link.until_delivered(1)
        running.link.say(said("a", 1.0, 0), connection=2, resumed=False)
        await running.link.until_delivered(2)
        assert [p["seq"] for p in running.predictions()] == [1, 2]


async def test_equal_payloads_in_one_connection_are_two_events(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        running.link.say(said("a", 1.0, 0), said("a", 1.0, 0))
        await running.link.until_delivered(1)
        assert [p["seq"] for p in running.predictions()] == [1, 2]


@pytest.mark.parametrize("checkpointed", [0, 1, 2])
async def test_memory_after_a_crash_is_that_of_an_undisturbed_run(tmp_path: Path, checkpointed: int) -> None:
    batches = [
        [said("a", 1.0, 0), said("b", 7.0, 0)],
        [said("a", 3.0, 1)],
        [said("a", 2.0, 2), said("b", 8.0, 1)],
    ]
    async with line(tmp_path / "plain.db") as plain:
        for batch in batches:
            plain.link.say(*batch)
        await plain.link.until_delivered(3)
        expected, said_by_plain = plain.records(), plain.predictions()
    async with line(tmp_path / "crashed.db") as first:
        for number, batch in enumerate(batches):
            first.link.say(*batch)
            await first.link.until_delivered(number + 1)
            if number + 1 == checkpointed:
                assert await first.state_writer.checkpoint(first.link.confirm) == 2
    reopened = Line(tmp_path / "crashed.db")
    assert reopened.records() == expected
    resent = [json.loads(body) for _, publications in reopened.recovered.resend for _, body in publications]
    assert resent == said_by_plain[-len(resent) :]
    assert len(resent) >= 2  # the last batch's predictions may not have left
    await reopened.state_writer.close(cleanly=False)


async def test_after_a_clean_stop_nothing_is_sent_again_or_taken_for_a_copy(tmp_path: Path) -> None:
    plain = Said("s/a", b'{"v": 1}')
    async with line(tmp_path / "s.db", cleanly=True) as first:
        first.link.say(plain)
        await first.link.until_delivered(1)
        await first.state_writer.checkpoint(first.link.confirm)
    async with line(tmp_path / "s.db") as second:
        assert second.recovered.resend == []
        assert second.recovered.replayed == 0
        second.link.say(plain)
        await second.link.until_delivered(1)
        assert [p["seq"] for p in second.predictions()] == [2]


async def test_a_full_disk_holds_the_batch_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_lstm.service.state.writer.FULL_RETRY_SECONDS", 0.01)
    async with line(tmp_path / "s.db") as running:
        commit, tries = running.database.commit, []

        def full(entry: Entry) -> None:
            tries.append(entry.number)
            if len(tries) < 4:
                raise DiskFull("commit", "s.db", "no space", "make space")
            commit(entry)

        monkeypatch.setattr(running.database, "commit", full)
        running.link.say(said("a", 1.0, 0))
        running.link.say(said("a", 2.0, 1))
        await running.link.until_delivered(2)
        assert tries == [1, 1, 1, 1, 2]
        assert running.state_writer.disk_error is None
        assert [p["seq"] for p in running.predictions()] == [1, 2]


async def test_a_failed_disk_ends_the_line_and_nothing_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Line(tmp_path / "s.db")

    def failed(entry: Entry) -> None:
        raise DiskFailed("commit", "s.db", "fsync", "look at it")

    monkeypatch.setattr(running.database, "commit", failed)
    running.link.say(said("a", 1.0, 0))
    running.link.say(said("a", 2.0, 1))
    with pytest.raises(DiskFailed):
        await asyncio.wait_for(running.worker.run(), 10)
    assert running.link.delivered == []
    assert isinstance(running.state_writer.disk_error, DiskFailed)
    await running.state_writer.close(cleanly=False)


async def test_the_journal_is_cut_to_what_recovery_needs(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        for t in range(20):
            running.link.say(said("a", float(t), t, qos=0, packet_id=None))
            await running.link.until_delivered(t + 1)
        await running.state_writer.checkpoint(running.link.confirm)
        assert [entry.number for entry in running.database.entries(0)] == [20]


async def test_ten_thousand_good_events_are_as_if_three_hundred_bad_ones_had_not_been_sent(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(5)
    good = [said("ab"[n % 2], float(rng.normal()), n) for n in range(1_000)]
    async with line(tmp_path / "good.db") as plain:
        plain.link.say(*good)
        await plain.link.until_delivered(1)
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
    mixed: list[Said] = []
    for n, message in enumerate(good):
        mixed.append(message)
        if n % 3 == 0:
            mixed.append(Said(f"s/{'ab'[n % 2]}", bad[n % len(bad)]))
    async with line(tmp_path / "mixed.db") as running:
        running.link.say(*mixed)
        await running.link.until_delivered(1)
        assert running.records() == expected
        assert len(running.predictions()) == len(good)
        assert running.counters.rejected_total.total() == len(mixed) - len(good)


async def test_a_frozen_stream_says_so_and_the_journal_knows(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        running.link.say(Said("stream_lstm/freeze", b'["a"]'), said("a", 1.0, 0), said("b", 1.0, 0))
        await running.link.until_delivered(1)
        running.link.say(Said("stream_lstm/freeze", b"what?"), said("a", 2.0, 1))
        await running.link.until_delivered(2)
        running.link.say(Said("stream_lstm/freeze", b""), said("a", 3.0, 2))
        await running.link.until_delivered(3)
        told = [(p["stream"], p.get("frozen")) for p in running.predictions()]
        assert told == [("a:v", True), ("b:v", None), ("a:v", True), ("a:v", None)]
        assert [m for e in running.database.entries(0) for m in e.batch.marks.tolist()] == [16, 0, 16, 0]
        assert running.counters.frozen_total == 2
        assert dict(running.counters.rejected_total) == {"malformed": 1}
        assert len(running.link.acknowledged) == 7


async def test_frozen_streams_are_restored_as_they_were(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        for n in range(60):
            running.link.say(said("a", float(n % 7), n))
        running.link.say(Said("stream_lstm/freeze", b'["#"]'))
        for n in range(60, 90):
            running.link.say(said("a", float(n), n))
        await running.link.until_delivered(91)
        before = running.records()
    again = Line(tmp_path / "s.db")
    assert again.records() == before
    await again.state_writer.close(cleanly=False)


async def test_late_and_repeated_events_are_refused_where_that_is_asked_for(tmp_path: Path) -> None:
    settings = {"time": {"late_seconds_max": 30.0, "repeated": "reject"}}
    async with line(tmp_path / "s.db", **settings) as running:
        running.link.say(said("a", 1.0, 100), said("b", 2.0, 5), said("a", 3.0, 100), said("a", 4.0, 60))
        running.link.say(said("a", 5.0, 80), said("c", 6.0, 0), said("a", 7.0, 101), said("a", 8.0, 50))
        await running.link.until_delivered(2)
        assert [p["value"] for p in running.predictions()] == [1.0, 2.0, 5.0, 6.0, 7.0]
        rejected = [json.loads(b) for t, b in running.link.publications if t == "stream_lstm/rejected"]
        assert [r["reason"] for r in rejected] == ["repeated", "late", "late"]
        assert [json.loads(base64.b64decode(r["payload_base64"]))["v"] for r in rejected] == [3.0, 4.0, 8.0]
        assert running.counters.late_total == 1
        assert running.counters.events_total == 8


async def test_the_right_messages_are_refused_where_new_streams_and_late_events_come_together(
    tmp_path: Path,
) -> None:
    settings = {"time": {"late_seconds_max": 0.0}, "limits": {"new_streams_per_second": 0.05}}
    async with line(tmp_path / "s.db", **settings) as running:
        two = Said("s/b", b'{"v": 10, "w": 20, "t": 1700000000}')
        running.link.say(said("a", 1.0, 9), said("a", 2.0, 10), two, said("c", 3.0, 0), said("a", 4.0, 5))
        await running.link.until_delivered(1)
        rejected = [json.loads(b) for t, b in running.link.publications if t == "stream_lstm/rejected"]
        found = [(r["reason"], r["topic"]) for r in rejected]
        assert found[-1] == ("late", "s/a")
        assert ("new_streams", "s/c") in found
        assert ("late", "s/c") not in found


async def test_an_incident_goes_to_the_alert_topic_too(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db", publish={"alert_topic": "alerts/{stream}"}) as running:
        rng = np.random.default_rng(3)
        for n in range(400):
            running.link.say(said("a", float(rng.normal()), n * 60))
        running.link.say(said("a", 500.0, 400 * 60), Said("alerts/a:v", b"5"))
        await running.link.until_delivered(401)
        alerts = [(t, b) for t, b in running.link.publications if t.startswith("alerts/")]
        assert alerts[-1][0] == "alerts/a:v"
        assert json.loads(alerts[-1][1])["value"] == 500.0
        assert ("predictions/a:v", alerts[-1][1]) in running.link.publications
        assert running.counters.alerts_total == len(alerts)
        assert running.counters.own_messages_total == 1


async def test_who_was_silent_and_is_back_is_told(tmp_path: Path) -> None:
    async with line(tmp_path / "s.db") as running:
        for n in range(30):
            running.wall += 60.0
            running.link.say(said("a", 1.0, n))
            await running.link.until_delivered(n + 1)
        running.staleness.check(running.wall + 600.0)
        running.wall += 900.0
        running.link.say(said("a", 1.0, 99))
        await running.link.until_delivered(31)
        assert [(c.stream, c.stale, c.silent_seconds) for c in running.changes] == [
            ("a:v", True, 600.0),
            ("a:v", False, 900.0),
        ]
