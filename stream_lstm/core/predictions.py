"""Predictions of the engine for a batch of events: records, and their fields as columns."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_lstm.compiler import compiled
from stream_lstm.core.model.spec import ModelSpec
from stream_lstm.core.record import Doubles, Flag, Float, Int, Record, Small, argument, layout
from stream_lstm.core.state import sizes
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD


class PredictionRecord(Record):
    """Output for one event, T targets, K steps ahead, C labels; NaN where there is nothing to say."""

    seq: Int  # number of the event in its stream, from 1
    anomaly: Float  # anomaly score, from 0 to 1; NaN where the event's time is uncertain
    incident_score: Float  # the anomaly where it begins or tops an incident, else 0
    # Per target:
    expected: Annotated[Doubles, "<f8", "targets"]  # prediction of this event, made at the event before
    trust: Annotated[Doubles, "<f8", "targets"]  # the model's weight in the forecast, see `experts`
    error: Annotated[Doubles, "<f8", "targets"]  # |value - expected|, in deviations
    persistence: Annotated[Doubles, "<f8", "targets"]  # error of the last-value forecast, in deviations
    relative_mae: Annotated[Doubles, "<f8", "targets"]  # recent error relative to the last-value forecast
    covered: Annotated[Doubles, "<f8", "targets"]  # recent coverage: share of values inside their interval
    forecast: Annotated[Doubles, "<f8", "horizon", "targets"]  # of the next event, and further ahead
    half_width: Annotated[Doubles, "<f8", "horizon", "targets"]  # of the prediction intervals
    probabilities: Annotated[Doubles, "<f8", "labels"]  # of a model with labels
    # The value lies outside its interval; 1 or 0, as compiled code has no arrays of flags in records.
    missed: Annotated[NDArray[np.uint8], "u1", "targets"]
    kind: Small  # main cause of the anomaly, index in `incident.KINDS`
    alert: Flag  # the event begins an incident, or makes it much worse
    late: Flag  # the event is older than the newest one of its stream


def prediction_type(spec: ModelSpec) -> np.dtype[np.void]:
    """The dtype of a prediction."""
    return layout(PredictionRecord, **sizes(spec))


class Totals(NamedTuple):
    """Counts and sums over a batch, for metrics."""

    judged: int  # values that were compared with their prediction
    missed: int  # of these: outside of their interval
    error: float  # sum of |value - expected| of the judged, in deviations
    persistence: float  # the same of the last-value forecast
    anomalies: int  # events with an anomaly score from the alert threshold on
    alerts: int
    late: int  # events older than the newest one of their stream


class Predictions:
    """Output for B events; each field of `PredictionRecord` as a column, a view of the records.

    Args:
        records: (B,) of `PredictionRecord`.
        spec: of the model that made them.
    """

    __slots__ = ("_labels", "_targets", "records")

    def __init__(self, records: NDArray[np.void], spec: ModelSpec) -> None:
        self.records = records
        # Records of a model without targets or labels have room for one: its columns have none.
        self._targets, self._labels = len(spec.targets), len(spec.labels)

    def __len__(self) -> int:
        return len(self.records)

    def totals(self) -> Totals:
        """Counts and sums over all of them."""
        return _totals(argument(self.records), self._targets)

    @property
    def seq(self) -> NDArray[np.int64]:
        """(B,) of int."""
        return self.records["seq"]

    @property
    def anomaly(self) -> Doubles:
        """(B,)."""
        return self.records["anomaly"]

    @property
    def kind(self) -> NDArray[np.int8]:
        """(B,)."""
        return self.records["kind"]

    @property
    def incident_score(self) -> Doubles:
        """(B,)."""
        return self.records["incident_score"]

    @property
    def alert(self) -> NDArray[np.bool_]:
        """(B,)."""
        return self.records["alert"]

    @property
    def late(self) -> NDArray[np.bool_]:
        """(B,)."""
        return self.records["late"]

    @property
    def expected(self) -> Doubles:
        """(B, T)."""
        return self._of_targets("expected")

    @property
    def trust(self) -> Doubles:
        """(B, T)."""
        return self._of_targets("trust")

    @property
    def error(self) -> Doubles:
        """(B, T)."""
        return self._of_targets("error")

    @property
    def persistence(self) -> Doubles:
        """(B, T)."""
        return self._of_targets("persistence")

    @property
    def missed(self) -> NDArray[np.bool_]:
        """(B, T)."""
        return self._of_targets("missed").view(np.bool_)

    @property
    def relative_mae(self) -> Doubles:
        """(B, T)."""
        return self._of_targets("relative_mae")

    @property
    def covered(self) -> Doubles:
        """(B, T)."""
        return self._of_targets("covered")

    @property
    def forecast(self) -> Doubles:
        """(B, K, T)."""
        return self.records["forecast"][:, :, : self._targets]

    @property
    def half_width(self) -> Doubles:
        """(B, K, T)."""
        return self.records["half_width"][:, :, : self._targets]

    @property
    def prediction(self) -> Doubles:
        """(B, T) of the next event."""
        return self.records["forecast"][:, 0, : self._targets]

    @property
    def probabilities(self) -> Doubles:
        """(B, C) of a model with labels, else (B, 0)."""
        return self.records["probabilities"][:, : self._labels]

    def _of_targets(self, name: str) -> NDArray[Any]:
        return self.records[name][:, : self._targets]


@compiled
def _totals(records: NDArray[Any], targets: int) -> Totals:
    judged, missed, anomalies, alerts, late = 0, 0, 0, 0, 0
    error, persistence = 0.0, 0.0
    for n in range(len(records)):
        record = records[n]
        for target in range(targets):
            if not math.isnan(record.error[target] + record.persistence[target]):
                judged += 1
                missed += 1 if record.missed[target] else 0
                error += record.error[target]
                persistence += record.persistence[target]
        anomalies += 1 if record.anomaly >= ALERT_THRESHOLD else 0
        alerts += 1 if record.alert else 0
        late += 1 if record.late else 0
    return Totals(judged, missed, error, persistence, anomalies, alerts, late)
