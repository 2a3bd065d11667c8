"""What happened lately, for whoever looks: recent events, what was refused, what was odd.

The line writes it in passing, all of it bounded; nobody who reads it can hold the line up.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import Model
from stream_lstm.core.predictions import Predictions
from stream_lstm.core.trackers.anomaly import ALERT_THRESHOLD, KINDS
from stream_lstm.core.views.history import History
from stream_lstm.events import REASONS, Batch
from stream_lstm.service.log import Throttle, logger
from stream_lstm.store.entry import Rejection

ALERTS_MAX = 200
ANOMALOUS_STREAMS_MAX = 4_096
ANOMALIES_PER_BATCH_MAX = 64  # of a batch: when everything is odd at once, so many say so
HALF_LIFE_SECONDS = 300.0  # an oddity of 1 is taken for half as odd after so long
EXAMPLES_MAX = 10  # a reason
PAYLOAD_BYTES_MAX = 1_024  # of a refused message, what is kept
TEXT_MAX = 1_024  # likewise of its topic

RecentAnomalies = tuple[NDArray[np.intp], NDArray[np.float32]]  # (B,) rows, each once, and how odd they are


class RecordedAlert(NamedTuple):
    """An alert: an incident began with this event, or got far worse."""

    stream: str
    seq: int
    time: float  # of the event, epoch seconds
    at: float  # when it was predicted, epoch seconds
    anomaly: float
    kind: str
    value: list[float]
    expected: list[float]  # NaN where nothing was


class RejectedExample(NamedTuple):
    """A message that was refused, shortened."""

    topic: str
    detail: str
    time: float
    payload: bytes
    payload_bytes: int


class RecentAnomaly(NamedTuple):
    """The oddest event of a stream of late."""

    row: int
    anomaly: float
    at: float  # epoch seconds

    def now(self, now: float) -> float:
        """How odd that still is."""
        # Whichever way the clock was set: what was long ago is, and what is to come will not stay for ever.
        return float(self.anomaly * 0.5 ** (abs(now - self.at) / HALF_LIFE_SECONDS))


class Recorder:
    """Written by the line, read by whoever looks.

    Args:
        recent_events_max: how many events are kept, see `history`; 0: nothing is kept at all.

    Attributes:
        history: the last events of all streams.
        alerts: the last alerts, newest last.
        rejections: the last refused messages by reason, newest last.
    """

    def __init__(self, model: Model, memories: Memories, *, recent_events_max: int) -> None:
        self._memories = memories
        self._open = recent_events_max > 0
        self.history = History(model, memories, events_max=recent_events_max)
        self.alerts: deque[RecordedAlert] = deque(maxlen=ALERTS_MAX)
        self.rejections: dict[str, deque[RejectedExample]] = {r: deque(maxlen=EXAMPLES_MAX) for r in REASONS}
        self._anomalies: OrderedDict[int, RecentAnomaly] = OrderedDict()  # by the stream's number
        self._throttle = Throttle(time.monotonic)

    def record_batch(self, batch: Batch, predictions: Predictions, now: float) -> None:
        """Record a batch that was applied; its streams are rows in memory."""
        if not self._open:
            return
        try:
            self._write(batch, predictions, now)
        except Exception:
            self._stumbled()

    def _stumbled(self) -> None:
        """Say so, and go on: a fault in what is only looked at must not end the line."""
        if self._throttle.allow("stumbled") is not None:
            logger.exception("what happens is not noted for those who look")

    def _write(self, batch: Batch, predictions: Predictions, now: float) -> None:
        self.history.append(batch, predictions)
        rows, anomaly = batch.streams, predictions.anomaly
        self._memories.anomaly[rows] = anomaly  # of several events of a stream the last stays
        if not np.count_nonzero(anomaly >= ALERT_THRESHOLD):  # mostly, and then there is no alert either
            return
        odd = np.flatnonzero(anomaly >= ALERT_THRESHOLD)[:ANOMALIES_PER_BATCH_MAX]
        for row, much in zip(rows[odd].tolist(), anomaly[odd].tolist(), strict=True):
            self._note_odd(row, much, now)
        for n in np.flatnonzero(predictions.alert)[:ANOMALIES_PER_BATCH_MAX].tolist():
            self.alerts.append(self._alert(batch, predictions, n, now))

    def _note_odd(self, row: int, anomaly: float, now: float) -> None:
        stream = int(self._memories.ids[row])
        known = self._anomalies.pop(stream, None)
        if known is None or known.now(now) <= anomaly:
            known = RecentAnomaly(row, anomaly, now)
        self._anomalies[stream] = known._replace(row=row)
        if len(self._anomalies) > ANOMALOUS_STREAMS_MAX:
            self._anomalies.popitem(last=False)

    def _alert(self, batch: Batch, predictions: Predictions, n: int, now: float) -> RecordedAlert:
        return RecordedAlert(
            stream=self._memories.key(int(batch.streams[n])),
            seq=int(predictions.seq[n]),
            time=float(batch.times[n]),
            at=now,
            anomaly=float(predictions.anomaly[n]),
            kind=KINDS[predictions.kind[n]],
            value=batch.values[n].tolist(),
            expected=predictions.expected[n].tolist(),
        )

    def record_rejection(self, rejected: Rejection) -> None:
        """A message was refused."""
        if not self._open:
            return
        try:
            refusal = RejectedExample(
                topic=rejected.topic[:TEXT_MAX],
                detail=rejected.detail[:TEXT_MAX],
                time=rejected.time,
                payload=rejected.payload[:PAYLOAD_BYTES_MAX],
                payload_bytes=len(rejected.payload),
            )
            self.rejections[rejected.reason].append(refusal)
        except Exception:
            self._stumbled()

    def recent_anomalies(self, now: float) -> RecentAnomalies:
        """The rows of streams that were odd within the last minutes, and how odd they still are."""
        if not self._anomalies:
            return np.empty(0, np.intp), np.empty(0, np.float32)
        count, known = len(self._anomalies), self._anomalies.values()
        streams = np.fromiter(self._anomalies, np.int64, count)
        rows = np.fromiter((odd.row for odd in known), np.intp, count)
        anomaly = np.fromiter((odd.anomaly for odd in known), np.float64, count)
        at = np.fromiter((odd.at for odd in known), np.float64, count)
        here = self._memories.ids[rows] == streams  # those that have left memory meanwhile are not
        much = anomaly * 0.5 ** (np.abs(now - at) / HALF_LIFE_SECONDS)
        return rows[here], much[here].astype(np.float32)

    def anomaly_scores(self, rows: NDArray[np.intp], odd: RecentAnomalies) -> NDArray[np.float32]:
        """How odd each of these rows is, (B,): its last event, or what `odd` says."""
        known = np.nan_to_num(self._memories.anomaly[rows].astype(np.float32))
        if not len(odd[0]):
            return known
        order = np.argsort(odd[0])
        which, much = odd[0][order], odd[1][order]
        at = np.minimum(np.searchsorted(which, rows), len(which) - 1)
        return np.where(which[at] == rows, np.maximum(known, much[at]), known)
