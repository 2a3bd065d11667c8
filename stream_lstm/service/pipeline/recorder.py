"""Recorder: recent events, alerts, anomalous streams and rejections, for the page and the API.

The pipeline calls it after each batch. Everything is bounded, and readers never block the pipeline.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.predictions import Predictions, Totals
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD, KINDS
from stream_lstm.core.views.history import History
from stream_lstm.events import REASONS, Batch
from stream_lstm.service.log import Throttle, logger
from stream_lstm.service.state.registry import Registry
from stream_lstm.store.entry import Rejection

ALERTS_MAX = 200  # as many as a person reads
ANOMALOUS_STREAMS_MAX = 4_096  # bounds memory, and the sort at each request
ANOMALIES_PER_BATCH_MAX = 64  # at most so many are kept of a batch, if everything is anomalous at once
HALF_LIFE_SECONDS = 300.0  # of an anomaly in the list of anomalous streams
EXAMPLES_MAX = 10  # rejections kept for each reason
PAYLOAD_BYTES_MAX = 1_024  # of a rejected message, what is kept
TEXT_MAX = 1_024  # likewise of its topic

RecentAnomalies = tuple[NDArray[np.intp], NDArray[np.float32]]  # (B,) distinct rows, and their anomaly now


class RecordedAlert(NamedTuple):
    """An alert: an incident began with this event, or became far worse."""

    stream: str
    seq: int
    time: float  # of the event, epoch seconds
    at: float  # of the prediction, epoch seconds
    anomaly: float
    kind: str
    value: list[float]
    expected: list[float]  # NaN where there was no prediction


class RejectedExample(NamedTuple):
    """A rejected message, shortened."""

    topic: str
    detail: str
    time: float
    payload: bytes
    payload_bytes: int


class RecentAnomaly(NamedTuple):
    """The most anomalous recent event of a stream."""

    row: int
    anomaly: float
    at: float  # epoch seconds

    def now(self, now: float) -> float:
        """Its anomaly, faded by its age."""
        # The clock may be set either way: an event from the future must fade as well.
        return float(self.anomaly * 0.5 ** (abs(now - self.at) / HALF_LIFE_SECONDS))


class Recorder:
    """Written by the pipeline, read by the page and the API.

    Args:
        recent_events_max: events kept in the history; 0: nothing at all is recorded.

    Attributes:
        history: the last events of all streams.
        alerts: the last ones, newest last.
        rejections: the last ones by reason, newest last.
    """

    def __init__(
        self, model: LstmModel, memories: Memories, registry: Registry, *, recent_events_max: int
    ) -> None:
        self._memories = memories
        self._registry = registry
        self._enabled = recent_events_max > 0
        self.history = History(model, memories, registry.longest_gap, events_max=recent_events_max)
        self.alerts: deque[RecordedAlert] = deque(maxlen=ALERTS_MAX)
        self.rejections: dict[str, deque[RejectedExample]] = {r: deque(maxlen=EXAMPLES_MAX) for r in REASONS}
        self._anomalies: OrderedDict[int, RecentAnomaly] = OrderedDict()  # by stream number
        self._throttle = Throttle(time.monotonic)

    def record_batch(self, batch: Batch, predictions: Predictions, totals: Totals, now: float) -> None:
        """Record a batch that was applied; its streams are rows in memory."""
        if not self._enabled:
            return
        try:
            self.history.append(batch, predictions)
            if totals.anomalies:  # seldom, and without one there is no alert either
                self._note_anomalies(batch, predictions, now)
        except Exception:
            self._log_failure()

    def _log_failure(self) -> None:
        """A fault in what only the page shows must not end the pipeline."""
        if self._throttle.allow("recorder") is not None:
            logger.exception("recording for the page failed; the pipeline goes on")

    def _note_anomalies(self, batch: Batch, predictions: Predictions, now: float) -> None:
        rows, anomaly = batch.streams, predictions.anomaly
        anomalous = np.flatnonzero(anomaly >= ALERT_THRESHOLD)[:ANOMALIES_PER_BATCH_MAX]
        for row, score in zip(rows[anomalous].tolist(), anomaly[anomalous].tolist(), strict=True):
            self._note_anomaly(row, score, now)
        for n in np.flatnonzero(predictions.alert)[:ANOMALIES_PER_BATCH_MAX].tolist():
            self.alerts.append(self._alert(batch, predictions, n, now))

    def _note_anomaly(self, row: int, anomaly: float, now: float) -> None:
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

    def record_rejection(self, rejection: Rejection) -> None:
        """Record a rejected message."""
        if not self._enabled:
            return
        try:
            example = RejectedExample(
                topic=rejection.topic[:TEXT_MAX],
                detail=rejection.detail[:TEXT_MAX],
                time=rejection.time,
                payload=rejection.payload[:PAYLOAD_BYTES_MAX],
                payload_bytes=len(rejection.payload),
            )
            self.rejections[rejection.reason].append(example)
        except Exception:
            self._log_failure()

    def recent_anomalies(self, now: float) -> RecentAnomalies:
        """The rows of streams that were anomalous in the last minutes, with their faded anomaly."""
        if not self._anomalies:
            return np.empty(0, np.intp), np.empty(0, np.float32)
        count, known = len(self._anomalies), self._anomalies.values()
        streams = np.fromiter(self._anomalies, np.int64, count)
        rows = np.fromiter((one.row for one in known), np.intp, count)
        anomaly = np.fromiter((one.anomaly for one in known), np.float64, count)
        at = np.fromiter((one.at for one in known), np.float64, count)
        here = self._memories.ids[rows] == streams  # not evicted meanwhile
        faded = anomaly * 0.5 ** (np.abs(now - at) / HALF_LIFE_SECONDS)
        return rows[here], faded[here].astype(np.float32)

    def anomaly_scores(self, rows: NDArray[np.intp], recent: RecentAnomalies) -> NDArray[np.float32]:
        """The anomaly of each of these rows, (B,): of its last event, or `recent`'s if that is higher."""
        known = np.nan_to_num(self._registry.anomaly[rows].astype(np.float32))
        if not len(recent[0]):
            return known
        order = np.argsort(recent[0])
        which, scores = recent[0][order], recent[1][order]
        at = np.minimum(np.searchsorted(which, rows), len(which) - 1)
        return np.where(which[at] == rows, np.maximum(known, scores[at]), known)
