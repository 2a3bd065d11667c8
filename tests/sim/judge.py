"""Judgement of a world's end: memory is the fold over the events, and every event has its prediction."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.events import Batch, Clock
from stream_lstm.service.broker import Publication
from stream_lstm.store.database import Database
from tests.core.models import random_model

MODEL = random_model(seed=5, units=8)
POISON = (b"online", b"", b"{", b'{"v": "x"}', b'{"v": NaN}', b'{"v": 1e999, "t": 1}', b"[1]", b"\xff\xfe")


class Wrong(AssertionError):
    """An expectation on the end of a world does not hold."""


def events(sent: Sequence[tuple[str, bytes]]) -> dict[str, list[dict[str, float]]]:
    """The readable events of the sensors by stream, in order."""
    found: dict[str, list[dict[str, float]]] = {}
    for topic, payload in sent:
        if readable(payload):
            found.setdefault(f"{topic[2:]}:v", []).append(json.loads(payload))
    return found


def readable(payload: bytes) -> bool:
    """True if a payload is an event, not one of `POISON`."""
    return payload.startswith(b'{"v": ') and payload.rstrip() not in POISON


class Stream:
    """Predictions of one stream, as subscribers read them.

    Attributes:
        lives: payloads in the order of `seq`; a stream that was forgotten begins another life.
    """

    def __init__(self, key: str, forgotten: int) -> None:
        self._key = key
        self._forgotten = forgotten
        self.lives: list[list[bytes]] = [[]]

    def read(self, seq: int, payload: bytes) -> None:
        """Take the next prediction, or the same one again.

        Raises:
            Wrong: it is neither.
        """
        if any(len(life) >= seq and life[seq - 1] == payload for life in reversed(self.lives)):
            return
        if seq == len(self.lives[-1]) + 1:
            self.lives[-1].append(payload)
        elif seq == 1 and len(self.lives) <= self._forgotten:
            self.lives.append([payload])
        elif seq <= len(self.lives[-1]):
            raise Wrong(f"two different predictions of {self._key}, seq {seq}")
        else:
            raise Wrong(f"the prediction of {self._key} before seq {seq} is missing")


def judge(
    records: dict[str, bytes],
    sent: Sequence[tuple[str, bytes]],
    published: Sequence[Publication],
    *,
    complete: bool = True,
    forgotten: dict[str, int] | None = None,
) -> None:
    """Compare memory and publications with the sensors' messages.

    Args:
        records: of each stream by its key.
        sent: topics and payloads, in order.
        published: in the order in which they reached the broker.
        complete: False: events without a time may be missing, since they were ambiguous.
        forgotten: how often each stream was forgotten at most.

    Raises:
        Wrong: an expectation does not hold.
    """
    forgets = forgotten or {}
    streams: dict[str, Stream] = {}
    rejected: set[tuple[str, bytes]] = set()
    for topic, payload in published:
        if topic.startswith("predictions/"):
            told = json.loads(payload)
            key = told["stream"]
            stream = streams.setdefault(key, Stream(key, forgets.get(key, 0)))
            stream.read(told["seq"], payload)
        elif topic == "stream_lstm/rejected":
            told = json.loads(payload)
            rejected.add((told["topic"], base64.b64decode(told["payload_base64"])))
    expected = events(sent)
    if set(streams) != set(expected) and (complete or not set(streams) <= set(expected)):
        raise Wrong(f"predictions of the streams {sorted(streams)}, events of {sorted(expected)}")
    for key, stream in streams.items():
        told = [json.loads(payload) for life in stream.lives for payload in life]
        _compare(key, told, expected[key], complete=complete)
    for topic, payload in sent:
        if not readable(payload) and (topic, payload) not in rejected:
            raise Wrong(f"the rejection of {payload!r} from {topic} is missing")
    _compare_memory(records, streams, forgets)


def _compare(key: str, told: list[dict[str, Any]], wanted: list[dict[str, float]], *, complete: bool) -> None:
    """Compare a stream's predictions with its events."""
    rest = iter(wanted)
    for prediction in told:
        event = next((event for event in rest if complete or event["v"] == prediction["value"]), None)
        if event is None or event["v"] != prediction["value"]:
            raise Wrong(f"{key}, seq {prediction['seq']}: no event has the value {prediction['value']}")
        if "t" in event and (prediction["time"], prediction["clock"]) != (event["t"], "event"):
            raise Wrong(f"{key}, seq {prediction['seq']}: the time is not the event's")
    if complete and len(told) != len(wanted):
        raise Wrong(f"{key}: {len(wanted)} events, {len(told)} predictions")


def _compare_memory(records: dict[str, bytes], streams: dict[str, Stream], forgets: dict[str, int]) -> None:
    """Compare every record with the fold over its stream's last life."""
    folded = _fold({key: stream.lives[-1] for key, stream in streams.items()})
    for key, stream in streams.items():
        if key not in records and len(stream.lives) <= forgets.get(key, 0):
            del folded[key]  # forgotten, and not back
    if records != folded:
        known = {*folded, *records}
        wrong = sorted(key for key in known if folded.get(key) != records.get(key))
        raise Wrong(f"memory of {wrong} is not the fold over its events")


def _fold(streams: dict[str, list[bytes]]) -> dict[str, bytes]:
    """Every stream's record after its events, applied one at a time, with the times of the predictions."""
    memories = Memories(MODEL.spec, rows_max=max(len(streams), 1))
    engine = Engine(MODEL, memories)
    for number, (key, predictions) in enumerate(streams.items(), 1):
        memories.add(key, number)
        row = np.array(memories.rows([key]), np.intp)
        for payload in predictions:
            told = json.loads(payload)
            mark = np.array([Clock[told["clock"].upper()]], np.uint8)
            engine.apply(Batch(row, np.array([told["time"]], np.float64), mark, np.array([[told["value"]]])))
    return dict(zip(streams, memories.records(memories.taken()), strict=True))


def read_records(database: Database) -> dict[str, bytes]:
    """Every stream's record by its key, as it is on disk."""
    size = database.identity.row_bytes
    return {
        key: rows.records[n * size : (n + 1) * size]
        for rows in database.rows()
        for n, key in enumerate(rows.keys)
    }
