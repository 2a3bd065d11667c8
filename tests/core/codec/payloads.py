"""Decoders, payloads and their events, for the tests of this package."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from stream_lstm.core.codec.decoder import Decoder
from stream_lstm.core.codec.source import Source
from stream_lstm.core.codec.topics import Pattern, Template
from stream_lstm.events import Clock, Events

NOW = 1.8e9
ALL = Source(Pattern("#"), Template("{topic}", ()))
NAMED = Source(Pattern("#"), Template("{topic}", ()), ("v", "w"), ("t",))


def decoder(*sources: Source, features: tuple[str, ...] = ("value",), **limits: int) -> Decoder:
    return Decoder(sources or (ALL,), features, **limits)


def read(decoded: Decoder, payload: bytes, topic: str = "a/b") -> tuple[list[Any], list[str]]:
    """(stream, value, time, clock) of each event, and the reasons of rejected fields beside them."""
    events = Events()
    wrong = decoded.decode(topic, payload, NOW, events)
    rows = list(zip(events.keys, events.values, events.times, events.marks, strict=True))
    return rows, [error.reason for error in wrong]


def arrived(*rows: tuple[str, float]) -> list[Any]:
    return [(key, value, NOW, Clock.ARRIVAL) for key, value in rows]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("vwtx"), inner, max_size=4),
    max_leaves=8,
)
