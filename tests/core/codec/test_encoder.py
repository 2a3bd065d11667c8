"""Encoder: predictions and rejections as they are published."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from stream_lstm.core.codec import encoder
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD
from stream_lstm.events import FROZEN, Batch, Events
from tests.core.models import KINDS, engine, predictions, random_model


def strict(payload: bytes) -> dict[str, Any]:
    """The JSON of a payload; NaN and Infinity, which Python accepts, are errors."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    found = json.loads(payload, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def published(kind: str, events: int = 3, **options: bool) -> list[bytes]:
    made = random_model(**KINDS[kind])
    wide = len(made.spec.features)
    values = np.arange(events * wide, dtype=float).reshape(events, wide)
    times = np.arange(events) + 1.7e9
    marks = [0, 1, 2, *[FROZEN] * (events - 3)]
    batch = Batch(np.ones(events, np.intp), times, np.array(marks, np.uint8), values)
    found = engine(made, 1).apply(batch)
    columns = Events(["s"] * events, times.tolist(), marks, values.ravel().tolist())
    return encoder.Encoder(made.id, made.spec, **options).encode(columns, found)


def test_the_prediction_of_a_single_number_has_every_field() -> None:
    first, second, third = map(strict, published("step"))
    assert list(first) == [
        *("stream", "seq", "time", "clock", "value", "expected"),
        *("prediction", "interval", "anomaly", "alert", "kind", "trust", "model"),
    ]
    assert (first["alert"], first["kind"], first["trust"]) == (False, None, 0.5)
    assert third["anomaly"] is None
    assert (first["expected"], first["interval"], first["seq"]) == (None, None, 1)
    assert second["expected"] == first["prediction"]
    assert [found["clock"] for found in (first, second, third)] == ["event", "arrival", "uncertain"]
    assert second["interval"][0] < second["prediction"] < second["interval"][1]
    assert second["model"].startswith("random:")


def test_several_numbers_are_objects_by_name() -> None:
    first, second, _ = map(strict, published("fixed"))
    assert first["value"] == {"a": 0.0, "b": 1.0}
    assert first["expected"] is None
    assert first["interval"] is None
    assert set(second["expected"]) == set(second["prediction"]) == {"b", "soft"}
    assert len(second["interval"]["b"]) == 2
    assert 0.0 <= second["anomaly"] <= 1.0
    assert second["alert"] is False
    assert "trust" not in second


@pytest.mark.parametrize("kind", ["step", "pair"])
def test_an_anomaly_has_a_kind_and_a_normal_event_has_none(kind: str) -> None:
    model = random_model(**KINDS[kind])
    wide = len(model.spec.features)
    batch = Batch.timed(np.ones(2, np.intp), np.array([1.7e9, 1.7e9 + 60]), np.ones((2, wide)))
    scored = engine(model, 1).apply(batch)
    scored.records["anomaly"], scored.records["alert"] = [0.1, ALERT_THRESHOLD], [False, True]
    scored.records["kind"] = 2
    events = Events(["s"] * 2, batch.times.tolist(), [0, 0], batch.values.ravel().tolist())
    first, second = map(strict, encoder.Encoder(model.id, model.spec).encode(events, scored))
    assert (first["anomaly"], first["alert"], first["kind"]) == (0.1, False, None)
    assert (second["anomaly"], second["alert"], second["kind"]) == (ALERT_THRESHOLD, True, "record")


def test_a_prediction_whose_interval_is_known_has_it() -> None:
    model = random_model()
    running = engine(model, 1)
    batch = Batch.timed(np.ones(1, np.intp), np.array([1.7e9]), np.ones((1, 1)))
    running.apply(batch)
    after = running.apply(batch._replace(times=batch.times + 60))
    events = Events(["s"], batch.times.tolist(), [0], [1.0])
    (found,) = map(strict, encoder.Encoder(model.id, model.spec).encode(events, after))
    low, high = found["interval"]
    assert low < found["prediction"] < high


def test_no_events_have_no_predictions() -> None:
    model = random_model()
    nothing = predictions(model.spec, 0)
    assert encoder.Encoder(model.id, model.spec, details=True, forecast=True).encode(Events(), nothing) == []


def test_each_number_has_its_own_trust() -> None:
    first, second, _ = map(strict, published("pair"))
    assert first["trust"] == {"a": 0.5, "b": 0.5}
    assert set(second["trust"]) == {"a", "b"}
    assert all(0.0 <= share <= 1.0 for share in second["trust"].values())


def test_details_are_added_on_request() -> None:
    first, second, *_ = every = list(map(strict, published("step", 120, details=True)))
    assert first["details"] == {"warm": False, "error_ratio": None, "covered": None}
    assert second["details"]["error_ratio"] > 0.0
    assert next(one["seq"] for one in every if one["details"]["warm"]) == 100
    pair = strict(published("pair", details=True)[1])
    assert set(pair["details"]["covered"]) == {"a", "b"}
    assert "details" not in strict(published("classes", details=True)[1])


def test_forecasts_further_ahead_are_added_on_request() -> None:
    first, second, _ = map(strict, published("far", forecast=True))
    assert [step["ahead"] for step in second["forecast"]] == [1, 2, 6]
    assert second["forecast"][0]["value"] == second["prediction"]
    assert second["forecast"][0]["interval"] == second["interval"]
    assert second["forecast"][2]["interval"][0] < second["forecast"][2]["value"]
    assert first["forecast"][0]["interval"] is None
    pair = strict(published("pair", forecast=True)[1])
    assert set(pair["forecast"][0]["value"]) == set(pair["forecast"][0]["interval"]) == {"a", "b"}
    assert strict(published("pair", forecast=True)[0])["forecast"][0]["interval"] is None


def test_a_frozen_event_is_marked() -> None:
    found = list(map(strict, published("step", 5)))
    assert [one.get("frozen") for one in found] == [None, None, None, True, True]
    assert found[3]["clock"] == "event"


def test_a_label_has_probabilities_and_no_numbers() -> None:
    found = strict(published("classes")[1])
    assert found["label"] == max(found["probabilities"], key=found["probabilities"].get)
    assert sum(found["probabilities"].values()) == pytest.approx(1.0)
    assert not {"expected", "prediction", "interval", "anomaly", "alert", "kind", "trust"} & set(found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_events_give_the_same_bytes(kind: str) -> None:
    assert published(kind) == published(kind)


def test_a_rejection_carries_the_original_bytes() -> None:
    found = strict(encoder.rejection("a/b", b"\xff\x00", reason="malformed", detail="x", time=5.0))
    assert base64.b64decode(found.pop("payload_base64")) == b"\xff\x00"
    assert found == {"topic": "a/b", "reason": "malformed", "detail": "x", "time": 5.0, "payload_bytes": 2}
    large = strict(encoder.rejection("a", b"x" * 70_000, reason="too_large", detail="", time=0.0))
    assert len(base64.b64decode(large["payload_base64"])) == encoder.REJECTED_BYTES_MAX
    assert large["payload_bytes"] == 70_000


@pytest.mark.parametrize(
    ("template", "topics"), [("p/{stream}", ["p/a", "p/b"]), ("p/{stream}/x", ["p/a/x", "p/b/x"])]
)
def test_each_stream_has_its_topic(template: str, topics: list[str]) -> None:
    assert encoder.topics(template, ["a", "b"]) == topics
