"""Own messages: all publications of a stream_lstm service, and no sensor's payloads."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.codec import encoder
from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.codec.own_messages import is_own, may_be_own
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.events import Batch, Events
from stream_lstm.service.pipeline.staleness import StalenessChange
from tests.core.models import random_model

NAMES = ["a", "plant/line 1:v", 'with "quotes" and \\', "ü\n", '","seq":1', ""]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("details", [False, True])
def test_a_prediction_is_own(name: str, details: bool) -> None:
    model = random_model(seed=1, units=4)
    memories = Memories(model.spec, rows_max=4)
    memories.add(name, 1)
    batch = Batch.timed(np.array(memories.rows([name]), np.intp), np.array([1.7e9]), np.array([[1.5]]))
    predictions = Engine(model, memories).apply(batch)
    events = Events.from_batch([name], batch)
    (payload,) = Encoder(model.id, model.spec, details=details, forecast=details).encode(events, predictions)
    assert is_own(payload)
    assert may_be_own([b"1", payload])


@pytest.mark.parametrize("name", NAMES)
def test_a_rejection_and_a_change_of_staleness_are_own(name: str) -> None:
    rejection = encoder.rejection(name, b"\xff", reason="malformed", detail=name, time=1.5)
    stale = StalenessChange(name, True, 1.5, None).encode()
    for payload in (
        rejection,
        stale,
        encoder.rejection(name, b"", reason="wrong_type", detail="", time=1.7e9),
    ):
        assert is_own(payload), payload
        assert may_be_own([payload])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"21.5",
        b'{"v": 1}',
        b'{"stream":"a","seq":4,"value":2}',
        b'{"stream":"a","seq":4,"time":1700000000,"value":2}',
        b'{"stream": "a", "stale": true}',
        b'{"topic":"a","value":3}',
        b'{"topic":"a","reason":"none","detail":"x","time":3}',
        b'{"stream":"' + b"\\" * 60_000,
        b'{"topic":"' + b'a","reason":"' * 9_000,
    ],
)
def test_a_sensors_own_words_are_not(payload: bytes) -> None:
    assert not is_own(payload)


@given(st.dictionaries(st.sampled_from(["stream", "topic", "seq", "time", "v"]), st.integers() | st.text()))
def test_what_may_not_be_own_is_not(payload: dict[str, object]) -> None:
    encoded = json.dumps(payload, separators=(",", ":")).encode()
    assert may_be_own([encoded]) or not is_own(encoded)
