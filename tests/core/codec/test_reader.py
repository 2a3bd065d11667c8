"""Readers of one source: the fast way gives the same events as the whole payload."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_lstm.core.codec import FORMATS
from stream_lstm.core.codec.decoder import Decoder
from stream_lstm.core.codec.format import FieldReader
from stream_lstm.core.codec.source import Source
from stream_lstm.core.codec.topics import Pattern, Template
from stream_lstm.errors import PayloadError
from stream_lstm.events import Clock, Events
from tests.core.codec.payloads import ALL, JSON, NAMED, NOW, decoder, read


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(["v", "w", "t", "x"]), JSON, max_size=4))
def test_the_fast_way_and_the_whole_payload_give_the_same_events(content: dict[str, Any]) -> None:
    payload = json.dumps(content).encode()
    whole = decoder(NAMED)
    for reader in whole._readers:
        reader._fast = None
    assert outcome(decoder(NAMED), payload) == outcome(whole, payload)


def outcome(decoded: Decoder, payload: bytes) -> object:
    try:
        return read(decoded, payload)
    except PayloadError as error:
        return error.reason


@pytest.mark.parametrize("fields", [("t",), ("a.b",)])
def test_fields_without_a_fast_way_are_read_all_the_same(fields: tuple[str, ...]) -> None:
    source = Source(Pattern("#"), Template("x", ()), fields, ("t",))
    payload = {"t": 1_700_000_000, "a": {"b": 1.7e9}}
    assert read(decoder(source), json.dumps(payload).encode())[0][0][1] == 1.7e9


def test_the_fields_must_be_as_many_as_the_features() -> None:
    with pytest.raises(ValueError, match="2 features, but 1 fields"):
        decoder(Source(Pattern("#"), Template("x", ()), ("a",)), features=("a", "b"))


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
    messages=st.lists(st.tuples(st.sampled_from(["a", "b", "c/d"]), PAYLOADS), min_size=1, max_size=4),
    alike=st.booleans(),
)
def test_many_payloads_give_the_events_of_each_alone_or_none(
    kind: str, messages: list[tuple[str, bytes]], alike: bool
) -> None:
    source, features = READ_TOGETHER[kind]
    decoded = decoder(source, features=features, payload_bytes_max=300)
    messages = [(topic, messages[0][1]) for topic, _ in messages] if alike else messages
    topics, payloads = [topic for topic, _ in messages], [payload for _, payload in messages]
    before, singly, together = (Events(["x"], [1.0], [0], [2.0]) for _ in range(3))
    assert decoded.decode_all(topics, payloads, NOW, before) == 0  # the topics are unknown yet
    wrong = 0
    for topic, payload in messages:
        try:
            wrong += len(decoded.decode(topic, payload, NOW, singly))
        except PayloadError:
            wrong += 1
    each = decoded.decode_all(topics, payloads, NOW, together)
    if each:
        assert not wrong
        assert together == singly
        assert len(together) == 1 + each * len(messages)
    else:
        assert together == before
    plain = all(payload == b'{"v": 1.5, "w": 2}' for payload in payloads)
    assert each or not plain or kind == "every number"


class Pairs:
    """A payload format for this test: `name=number` pairs, separated by semicolons."""

    def parse(self, payload: bytes) -> object:
        return {name: float(value) for name, value in (p.split("=") for p in payload.decode().split(";"))}

    def field_reader(self, numbers: Sequence[str], times: Sequence[str]) -> FieldReader | None:
        return None


def test_payloads_of_another_format_follow_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "pairs", Pairs())  # type: ignore[misc]
    source = Source(Pattern("#"), Template("{topic}", ()), ("v", "w"), ("t",), format="pairs")
    rows, wrong = read(decoder(source), b"v=1;w=1e200;t=1700000000")
    assert (rows, wrong) == ([("a/b:v", 1.0, 1.7e9, Clock.EVENT)], ["out_of_range"])
