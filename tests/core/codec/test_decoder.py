"""Decoder: payloads to events, or to a rejection by reason."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_lstm.core.codec.decoder import Decoder
from stream_lstm.core.codec.source import Source
from stream_lstm.core.codec.topics import Pattern, Template
from stream_lstm.errors import PayloadError
from stream_lstm.events import REASONS, Clock, Events
from tests.core.codec.payloads import ALL, JSON, NAMED, NOW, arrived, decoder, read

GOOD = [
    (b"21.5", arrived(("a/b", 21.5))),
    (b"23", arrived(("a/b", 23.0))),
    (b"-4e-2", arrived(("a/b", -0.04))),
    (b" 7\n", arrived(("a/b", 7.0))),
    (b"+7", arrived(("a/b", 7.0))),
    (b".5", arrived(("a/b", 0.5))),
    (b"5.", arrived(("a/b", 5.0))),
    (b"0", arrived(("a/b", 0.0))),
    (b'{"temperature": 71.3}', arrived(("a/b:temperature", 71.3))),
    (b'{"a": 1, "b": 2.5}', arrived(("a/b:a", 1.0), ("a/b:b", 2.5))),
    (b'{"a": 1, "b": null}', arrived(("a/b:a", 1.0))),
    (b'{"a": 1, "ok": true, "name": "x", "l": [1], "o": {"p": 1}}', arrived(("a/b:a", 1.0))),
    (b'{"a": 1, "a": 2}', arrived(("a/b:a", 2.0))),
    (b'{"a/#": 1}', arrived(("a/b:a%2F%23", 1.0))),
    (b'{"a": 12345678901234567890123}', arrived(("a/b:a", 12345678901234567890123.0))),
    (b'{"a": 1, "time": 1700000000}', [("a/b:a", 1.0, 1.7e9, Clock.EVENT)]),
    (b'{"a": 1, "ts": 1700000000123}', [("a/b:a", 1.0, 1_700_000_000.123, Clock.EVENT)]),
    (b'{"a": 1, "timestamp": "2023-11-14T22:13:20Z"}', [("a/b:a", 1.0, 1.7e9, Clock.EVENT)]),
    (b'{"a": 1, "time": null}', arrived(("a/b:a", 1.0))),
]


@pytest.mark.parametrize(("payload", "events"), GOOD)
def test_numbers_become_events(payload: bytes, events: list[Any]) -> None:
    assert read(decoder(), payload) == (events, [])


BAD = [
    (b"", "empty"),
    (b" ", "malformed"),
    (b"online", "malformed"),
    (b"{", "malformed"),
    (b'{"v": 1', "malformed"),
    (b'{"v": }', "malformed"),
    (b"{'v': 1}", "malformed"),
    (b'{"v": 1}}', "malformed"),
    (b'{"v": 01}', "malformed"),
    (b"0x1F", "malformed"),
    (b"12,5", "malformed"),
    (b"1_000", "malformed"),
    (b"1 2", "malformed"),
    (b"--1", "malformed"),
    (b"21.5C", "malformed"),
    (b"\xff\xfe\x00", "malformed"),
    (b'{"v": "\xff"}', "malformed"),
    ("٣".encode(), "malformed"),
    (b"<v>1</v>", "malformed"),
    (b"[" * 9_000, "malformed"),
    (b'{"a":' * 9_000, "malformed"),
    (b"[1, 2]", "wrong_type"),
    (b'"21.5"', "wrong_type"),
    (b"true", "wrong_type"),
    (b"null", "wrong_type"),
    (b"[" * 50 + b"]" * 50, "wrong_type"),
    (b"{}", "missing_field"),
    (b'{"v": "warm"}', "missing_field"),
    (b'{"v": true}', "missing_field"),
    (b'{"v": null}', "missing_field"),
    (b'{"o": {"v": 1}}', "missing_field"),
    (b'{"time": 1700000000}', "missing_field"),
    (b"nan", "not_finite"),
    (b"NaN", "not_finite"),
    (b"-Infinity", "not_finite"),
    (b"inf", "not_finite"),
    (b"1e999", "not_finite"),
    (b"9" * 400, "not_finite"),
    (b'{"v": NaN}', "not_finite"),
    (b'{"v": [Infinity]}', "not_finite"),
    (b'{"v": 1e999}', "not_finite"),
    (b'{"v": 1e200}', "out_of_range"),
    (b'{"v": -1.1e100}', "out_of_range"),
    (b"1e101", "out_of_range"),
    (b'{"v": 1, "time": "yesterday"}', "bad_time"),
    (b'{"v": 1, "time": 12}', "bad_time"),
    (b'{"v": 1, "time": -1700000000}', "bad_time"),
    (b'{"v": 1, "time": true}', "bad_time"),
    (b'{"v": 1, "time": [1]}', "bad_time"),
    (b'{"v": 1, "time": 1900000000}', "bad_time"),
    (b'{"v": 1, "time": "' + b"1" * 70 + b'"}', "bad_time"),
    (b"1" * 70_000, "too_large"),
]


@pytest.mark.parametrize(("payload", "reason"), BAD)
def test_another_payload_is_rejected_by_reason_and_gives_no_event(payload: bytes, reason: str) -> None:
    events = Events()
    with pytest.raises(PayloadError) as caught:
        decoder().decode("a/b", payload, NOW, events)
    assert caught.value.reason == reason
    assert caught.value.detail
    assert events == Events()


NAMED_CASES = [
    (b'{"v": 1, "x": 9}', arrived(("a/b:v", 1.0)), []),
    (b'{"v": 1, "w": 2}', arrived(("a/b:v", 1.0), ("a/b:w", 2.0)), []),
    (
        b'{"v": 1, "w": 2, "t": 1700000000.5}',
        [("a/b:v", 1.0, 1.7e9 + 0.5, 0), ("a/b:w", 2.0, 1.7e9 + 0.5, 0)],
        [],
    ),
    (b'{"v": 1, "w": null, "t": "1700000000"}', [("a/b:v", 1.0, 1.7e9, 0)], []),
    (b'{"v": "x", "w": 2}', arrived(("a/b:w", 2.0)), ["wrong_type"]),
    (b'{"v": 1, "w": 1e200}', arrived(("a/b:v", 1.0)), ["out_of_range"]),
    (b'{"v": 1, "w": true}', arrived(("a/b:v", 1.0)), ["wrong_type"]),
]


@pytest.mark.parametrize(("payload", "events", "reasons"), NAMED_CASES)
def test_a_wrong_field_does_not_affect_the_other_named_fields(
    payload: bytes, events: list[Any], reasons: list[str]
) -> None:
    assert read(decoder(NAMED), payload) == (events, reasons)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"21.5", "wrong_type"),
        (b'{"x": 1}', "missing_field"),
        (b'{"v": "x", "w": []}', "wrong_type"),
        (b'{"v": 1e400}', "not_finite"),
        (b'{"v": ' + b"9" * 400 + b"}", "not_finite"),
        (b'{"v": 1, "w": 1, "t": "x"}', "bad_time"),
        (b'{"v": 1, "t": 1e400}', "not_finite"),
    ],
)
def test_a_message_whose_named_fields_are_all_wrong_is_rejected(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read(decoder(NAMED), payload)
    assert caught.value.reason == reason


@settings(max_examples=1_000)
@given(
    st.binary(max_size=60)
    | st.builds(lambda c, n: json.dumps(c).encode()[: n or None], JSON, st.integers(-3, 0))
)
def test_any_bytes_give_events_or_a_rejection(payload: bytes) -> None:
    for source in (ALL, NAMED):
        events = Events()
        try:
            wrong = decoder(source).decode("a/b", payload, NOW, events)
        except PayloadError as error:
            wrong = [error]
            assert len(events) == 0
        assert all(error.reason in REASONS for error in wrong)
        assert all(-1e100 <= value <= 1e100 for value in events.values)
        assert all(math.isfinite(time) for time in events.times)
        assert len(events.keys) == len(events.values) == len(events.times) == len(events.marks)


JOINT = Source(Pattern("m/{d}"), Template("{d}", ("d",)), ("temp", "deep.vib"), ("t",))


def test_with_several_features_an_object_is_one_event() -> None:
    joint = decoder(JOINT, features=("a", "b"))
    events = Events()
    joint.decode("m/7", b'{"temp": 1, "deep": {"vib": 2}}', NOW, events)
    assert (events.keys, events.values) == (["7"], [1.0, 2.0])
    with pytest.raises(PayloadError) as caught:
        joint.decode("m/7", b'{"temp": 1}', NOW, events)
    assert caught.value.reason == "missing_field"
    assert len(events) == 1


def test_with_several_features_the_features_names_are_the_default_fields() -> None:
    joint = decoder(ALL, features=("a", "b"))
    assert read_joint(joint, b'{"b": 2, "a": 1, "time": 1700000000}') == (["t"], [1.0, 2.0], [1.7e9])
    for payload, reason in (
        (b'{"a": 1}', "missing_field"),
        (b"1", "wrong_type"),
        (b'{"a": 1, "b": "x"}', "wrong_type"),
    ):
        with pytest.raises(PayloadError) as caught:
            read_joint(joint, payload)
        assert caught.value.reason == reason


def read_joint(joint: Decoder, payload: bytes) -> tuple[list[str], list[float], list[float]]:
    events = Events()
    joint.decode("t", payload, NOW, events)
    return events.keys, events.values, events.times


def test_a_payload_can_name_its_stream() -> None:
    source = Source(Pattern("up/{gw}"), Template("{gw}/{payload.dev.id}", ("gw",)), ("v",), ())
    assert read(decoder(source), b'{"dev": {"id": "p/7"}, "v": 1}', "up/g")[0] == arrived(("g/p%2F7:v", 1.0))
    assert read(decoder(source), b'{"dev.id": 5, "v": 1}', "up/g")[0] == arrived(("g/5:v", 1.0))
    for payload in (b'{"v": 1}', b'{"dev": 3, "v": 1}', b'{"dev": {"id": true}, "v": 1}'):
        with pytest.raises(PayloadError) as caught:
            read(decoder(source), payload, "up/g")
        assert caught.value.reason == "bad_key"


def test_a_number_cannot_name_its_stream() -> None:
    source = Source(Pattern("#"), Template("{payload.id}", ()))
    with pytest.raises(PayloadError) as caught:
        read(decoder(source), b"1")
    assert caught.value.reason == "bad_key"


def test_a_field_in_the_streams_name_is_not_a_value() -> None:
    source = Source(Pattern("#"), Template("{payload.id}", ()))
    assert read(decoder(source), b'{"id": 5, "v": 1}')[0] == arrived(("5:v", 1.0))


@pytest.mark.parametrize("source", [ALL, NAMED])
def test_a_stream_name_that_is_too_long_is_rejected(source: Source) -> None:
    for topic in ("a" * 600, "é" * 300):
        with pytest.raises(PayloadError) as caught:
            read(decoder(source), b'{"v": 1}', topic)
        assert caught.value.reason == "bad_key"


def test_the_first_matching_source_counts_and_other_topics_are_rejected() -> None:
    first = Source(Pattern("a/+"), Template("first", ()))
    second = Source(Pattern("a/#"), Template("second", ()))
    both = decoder(first, second)
    assert read(both, b"1", "a/x")[0] == arrived(("first", 1.0))
    assert read(both, b"1", "a/x/y")[0] == arrived(("second", 1.0))
    with pytest.raises(PayloadError) as caught:
        read(both, b"1", "b")
    assert caught.value.reason == "unexpected_topic"


def test_a_message_whose_topic_is_not_utf_8_is_malformed() -> None:
    with pytest.raises(PayloadError) as caught:
        read(decoder(), b"1", "")
    assert caught.value.reason == "malformed"


def test_remembered_topics_are_bounded() -> None:
    small = decoder(topics_max=3)
    for n in range(10):
        assert read(small, b"1", f"t{n}")[0] == arrived((f"t{n}", 1.0))
    assert len(small._routes) <= 3


def test_a_source_without_times_takes_the_arrival() -> None:
    source = Source(Pattern("#"), Template("x", ()), ("v",), ())
    assert read(decoder(source), b'{"v": 1, "time": 1700000000}')[0] == arrived(("x:v", 1.0))


def test_messages_of_different_sources_are_not_read_together() -> None:
    one, other = (
        Source(Pattern(f"{name}/#"), Template("{topic}", ()), ("v",), ()) for name in ("one", "other")
    )
    decoded, events = decoder(one, other), Events()
    for topic in ("one/x", "other/x"):
        decoded.decode(topic, b'{"v": 1}', NOW, events)
    payloads = [b'{"v": 1}', b'{"v": 1}']
    assert decoded.decode_all(["one/x", "one/x"], payloads, NOW, events) == 1
    assert decoded.decode_all(["one/x", "other/x"], payloads, NOW, events) == 0
    assert decoded.decode_all(["one/x", "one/y"], payloads, NOW, events) == 0
