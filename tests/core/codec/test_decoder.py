"""Payloads: what they become, what is wrong with them, and that nothing else ever happens."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_lstm.core.codec.decoder import Decoder, Source, _Reader
from stream_lstm.core.codec.timestamps import epoch_seconds
from stream_lstm.core.codec.topics import Pattern, Template
from stream_lstm.errors import PayloadError
from stream_lstm.events import REASONS, Clock, Events

NOW = 1.8e9
ALL = Source(Pattern("#"), Template("{topic}", ()))
NAMED = Source(Pattern("#"), Template("{topic}", ()), ("v", "w"), ("t",))


def decoder(*sources: Source, features: tuple[str, ...] = ("value",), **limits: int) -> Decoder:
    return Decoder(sources or (ALL,), features, **limits)


def read(decoded: Decoder, payload: bytes, topic: str = "a/b") -> tuple[list[Any], list[str]]:
    """(stream, value, time, clock) of each event, and the reasons of what is refused beside them."""
    events = Events()
    wrong = decoded.decode(topic, payload, NOW, events)
    rows = list(zip(events.keys, events.values, events.times, events.marks, strict=True))
    return rows, [error.reason for error in wrong]


def arrived(*rows: tuple[str, float]) -> list[Any]:
    return [(key, value, NOW, Clock.ARRIVAL) for key, value in rows]


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
def test_what_is_no_event_is_refused_by_reason_and_changes_nothing(payload: bytes, reason: str) -> None:
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
def test_named_fields_are_read_and_a_wrong_one_spares_the_others(
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
def test_named_fields_that_are_all_wrong_refuse_the_message(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read(decoder(NAMED), payload)
    assert caught.value.reason == reason


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("vwtx"), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(["v", "w", "t", "x"]), JSON, max_size=4))
def test_the_quick_reader_and_the_patient_one_agree(content: dict[str, Any]) -> None:
    payload = json.dumps(content).encode()
    patient = decoder(NAMED)
    for reader in patient._readers:
        assert isinstance(reader, _Reader)
        reader._fast = None
    assert outcome(decoder(NAMED), payload) == outcome(patient, payload)


def outcome(decoded: Decoder, payload: bytes) -> object:
    try:
        return read(decoded, payload)
    except PayloadError as error:
        return error.reason


@settings(max_examples=1_000)
@given(
    st.binary(max_size=60)
    | st.builds(lambda c, n: json.dumps(c).encode()[: n or None], JSON, st.integers(-3, 0))
)
def test_any_bytes_are_events_or_refused_and_nothing_else(payload: bytes) -> None:
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


def test_a_model_of_several_features_makes_one_event_of_an_object() -> None:
    joint = decoder(JOINT, features=("a", "b"))
    events = Events()
    joint.decode("m/7", b'{"temp": 1, "deep": {"vib": 2}}', NOW, events)
    assert (events.keys, events.values) == (["7"], [1.0, 2.0])
    with pytest.raises(PayloadError) as caught:
        joint.decode("m/7", b'{"temp": 1}', NOW, events)
    assert caught.value.reason == "missing_field"
    assert len(events) == 1


def test_a_model_of_several_features_reads_them_by_name_quickly_too() -> None:
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


def test_fields_that_do_not_fit_the_features_are_the_operators_fault() -> None:
    with pytest.raises(ValueError, match="2 features, but 1 fields"):
        decoder(Source(Pattern("#"), Template("x", ()), ("a",)), features=("a", "b"))


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


def test_what_names_a_stream_is_no_measurement() -> None:
    source = Source(Pattern("#"), Template("{payload.id}", ()))
    assert read(decoder(source), b'{"id": 5, "v": 1}')[0] == arrived(("5:v", 1.0))


@pytest.mark.parametrize("source", [ALL, NAMED])
def test_names_that_are_too_long_are_refused(source: Source) -> None:
    for topic in ("a" * 600, "é" * 300):
        with pytest.raises(PayloadError) as caught:
            read(decoder(source), b'{"v": 1}', topic)
        assert caught.value.reason == "bad_key"


def test_the_first_source_that_matches_counts_and_other_topics_are_refused() -> None:
    first = Source(Pattern("a/+"), Template("first", ()))
    second = Source(Pattern("a/#"), Template("second", ()))
    both = decoder(first, second)
    assert read(both, b"1", "a/x")[0] == arrived(("first", 1.0))
    assert read(both, b"1", "a/x/y")[0] == arrived(("second", 1.0))
    with pytest.raises(PayloadError) as caught:
        read(both, b"1", "b")
    assert caught.value.reason == "unexpected_topic"


def test_a_message_without_a_topic_was_not_text() -> None:
    with pytest.raises(PayloadError) as caught:
        read(decoder(), b"1", "")
    assert caught.value.reason == "malformed"


def test_remembered_topics_are_bounded() -> None:
    small = decoder(topics_max=3)
    for n in range(10):
        assert read(small, b"1", f"t{n}")[0] == arrived((f"t{n}", 1.0))
    assert len(small._routes) <= 3


@pytest.mark.parametrize("fields", [("",), ("a..b",), (".a",), ("a", "a")])
def test_field_names_that_are_none_are_refused(fields: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"field"):
        Source(Pattern("#"), Template("x", ()), fields)


def test_a_source_without_times_takes_the_arrival() -> None:
    source = Source(Pattern("#"), Template("x", ()), ("v",), ())
    assert read(decoder(source), b'{"v": 1, "time": 1700000000}')[0] == arrived(("x:v", 1.0))


@pytest.mark.parametrize("fields", [("t",), ("a.b",)])
def test_what_cannot_be_compiled_is_read_all_the_same(fields: tuple[str, ...]) -> None:
    source = Source(Pattern("#"), Template("x", ()), fields, ("t",))
    payload = {"t": 1_700_000_000, "a": {"b": 1.7e9}}
    assert read(decoder(source), json.dumps(payload).encode())[0][0][1] == 1.7e9


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        (1_700_000_000, 1.7e9),
        (1_700_000_000.25, 1.7e9 + 0.25),
        (1_700_000_000_250, 1.7e9 + 0.25),
        (1_700_000_000_250_000, 1.7e9 + 0.25),
        (1_700_000_000_250_000_000, 1.7e9 + 0.25),
        ("1700000000.25", 1.7e9 + 0.25),
        ("2023-11-14 22:13:20", 1.7e9),
        ("2023-11-14T23:13:20+01:00", 1.7e9),
        ("20231114T221320Z", 1.7e9),
        ("2000-01-01", 946_684_800.0),
        (NOW + 86_400, NOW + 86_400),
    ],
)
def test_times_are_told_apart_by_their_size_and_shape(stamp: object, seconds: float) -> None:
    assert epoch_seconds(stamp, NOW) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "stamp", [946_684_799, NOW + 86_401, 1e300, -5, 0, math.inf, math.nan, 10**400, "", "x", None, {}]
)
def test_absurd_times_are_refused(stamp: object) -> None:
    with pytest.raises(PayloadError) as caught:
        epoch_seconds(stamp, NOW)
    assert caught.value.reason == "bad_time"


READ_TOGETHER = {
    "one number": (Source(Pattern("#"), Template("{topic}", ()), ("v",), ()), ("value",)),
    "with a time": (Source(Pattern("#"), Template("{topic}", ()), ("v",), ("t", "ts")), ("value",)),
    "two streams": (NAMED, ("value",)),
    "one event of two": (NAMED, ("v", "w")),
    "every number": (ALL, ("value",)),
}
PAYLOADS = st.sampled_from(
    [
        b'{"v": 1.5, "w": 2}',
        b'{"v": -1e99, "w": 1e99, "x": [1]}',
        b'{"v": 3, "w": 4, "t": 1700000000}',
        b'{"v": 3, "w": 4, "t": 1700000000123}',
        b'{"v": 3, "w": 4, "t": "2023-11-14T22:13:20Z"}',
        b'{"v": 5, "w": 6, "ts": 1.6e9}',
        b'{"v": 5, "w": 6, "t": "soon"}',
        b'{"v": 5, "w": 6, "t": 5e9}',
        b'{"v": 7}',
        b'{"w": null, "v": 7}',
        b'{"v": 1e101, "w": 1}',
        b'{"v": 1, "w": "1"}',
        b'{"v": 1, "w": 1',
        b"21.5",
        b"",
        b'{"v": 1, "w": 1, "long": "' + b"x" * 300 + b'"}',
    ]
)


@pytest.mark.parametrize("kind", READ_TOGETHER)
@given(
    said=st.lists(st.tuples(st.sampled_from(["a", "b", "c/d"]), PAYLOADS), min_size=1, max_size=4),
    alike=st.booleans(),
)
def test_many_are_read_together_as_each_by_itself_or_not_at_all(
    kind: str, said: list[tuple[str, bytes]], alike: bool
) -> None:
    source, features = READ_TOGETHER[kind]
    decoded = decoder(source, features=features, payload_bytes_max=300)
    said = [(topic, said[0][1]) for topic, _ in said] if alike else said
    topics, payloads = [topic for topic, _ in said], [payload for _, payload in said]
    before, singly, together = Events(["x"], [1.0], [0], [2.0]), Events(["x"], [1.0], [0], [2.0]), None
    assert decoded.decode_all(topics, payloads, NOW, before) == 0  # they are not known yet
    wrong = 0
    for topic, payload in said:
        try:
            wrong += len(decoded.decode(topic, payload, NOW, singly))
        except PayloadError:
            wrong += 1
    together = Events(["x"], [1.0], [0], [2.0])
    each = decoded.decode_all(topics, payloads, NOW, together)
    if each:
        assert not wrong
        assert together == singly
        assert len(together) == 1 + each * len(said)
    else:
        assert together == before
    plain = all(payload == b'{"v": 1.5, "w": 2}' for payload in payloads)
    assert each or not plain or kind == "every number"


def test_what_comes_by_different_subscriptions_is_read_singly() -> None:
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
