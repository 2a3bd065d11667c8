"""Python interface: the engine without broker, disk and asyncio, for notebooks, scripts and other services.

    import stream_lstm as sl

    forecaster = sl.Forecaster()                       # with the default model
    prediction = forecaster.update("pump7", 71.3)      # one event of one stream
    table = forecaster.update_many(frame, stream="sensor", time="timestamp", value="temperature")

It is the service's engine: the same events give the same bits. A table is a dict of numpy columns, which
`pandas.DataFrame` and `polars.DataFrame` take as it is.
"""

from __future__ import annotations

import time as clock
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from stream_lstm.core.codec.naming import Naming
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.gates import gate_type
from stream_lstm.core.predictions import Predictions
from stream_lstm.core.state import RecordShape
from stream_lstm.core.trackers.incident import ALERT_THRESHOLD, KINDS
from stream_lstm.core.trackers.interval import INTERVAL
from stream_lstm.events import FROZEN, Batch, Clock
from stream_lstm.forecast import times
from stream_lstm.forecast.model import Model
from stream_lstm.forecast.prediction import Gates, Prediction
from stream_lstm.forecast.times import Time

ROWS_FIRST = 256  # streams that fit in at first; doubled whenever they are taken
Value = SupportsFloat | Sequence[SupportsFloat] | Mapping[str, SupportsFloat]
Table = dict[str, NDArray[Any]]


class Forecaster:
    """Keeps a memory for each stream, and predicts.

    Args:
        model: the default model if left out.
        interval: share of values that the prediction intervals are to hold.
    """

    def __init__(self, model: Model | None = None, *, interval: float = INTERVAL) -> None:
        if not isinstance(interval, (int, float)) or not 0.0 < interval < 1.0:
            raise ValueError(f"interval is a share between 0 and 1, not {interval!r}")
        if model is not None and not isinstance(model, Model):
            raise TypeError(f"model is a Model, not {model!r}; read a file with Model.load(path)")
        self.model, self.interval = model or Model.default(), interval
        self._spec = self.model.lstm.spec
        self._naming, self._shape = Naming(self._spec), RecordShape.of(self._spec)
        self._engine = self._with_rows(ROWS_FIRST)

    def __len__(self) -> int:
        return len(self._engine.memories)

    def __contains__(self, stream: object) -> bool:
        return stream in self.streams

    def __repr__(self) -> str:
        return f"<Forecaster of {len(self)} streams, {self.model!r}>"

    @property
    def streams(self) -> list[str]:
        """Names of the streams, in the order of their first events."""
        return [name for name in self._engine.memories.names if name is not None]

    def update(
        self, stream: str, value: Value, time: Time | None = None, *, learn: bool = True, gates: bool = False
    ) -> Prediction:
        """Push one event of one stream through the memory.

        Args:
            value: a number; of a model of several features, their numbers in order, or by name.
            time: of the event: epoch seconds, a datetime (UTC where it names no zone), numpy.datetime64, or
                ISO 8601; now if left out.
            learn: False keeps what is normal for the stream, as a freeze does.
            gates: True adds the gates of the cell.

        Raises:
            ValueError: a value or the time is not what the model or the clock can take; nothing has changed.
        """
        values = self._values(value)
        seconds = clock.time() if time is None else times.seconds(time)
        mark = (Clock.ARRIVAL if time is None else Clock.EVENT) | (0 if learn else FROZEN)
        rows = self._rows(times.stream_names([stream], 1))
        batch = Batch(rows, np.array([seconds]), np.array([mark], np.uint8), values[None])
        traced = np.zeros(1, gate_type(self._spec)) if gates else None
        predictions = self._engine.apply(batch, traced)
        return self._prediction(stream, batch, predictions, traced)

    def update_many(
        self,
        frame: Any = None,
        *,
        stream: str | Iterable[str] = "stream",
        time: Any = "time",
        value: Any = None,
        learn: bool = True,
    ) -> Table:
        """Push many events, in their order.

        Args:
            frame: columns by name: a pandas or polars frame, or a dict of arrays; or nothing.
            stream: with a frame the name of its column of streams, or of the one stream that all events
                belong to if it has no such column; else names, one per event, or one for all.
            time: with a frame the name of its column of times; else times, as in `update`, one per event.
            value: with a frame the name of its column of values (of several features their names, in order);
                by default the features' own names. Else an array, (N,) or (N, F).
            learn: as in `update`.

        Returns:
            Columns, one entry per event: stream, seq, time, expected, forecast, low, high, anomaly, kind and
            alert; of several targets the middle four once for each, as `forecast of NAME`; of a model with
            labels `label`, and the probability of each as `probability of LABEL`.

        Raises:
            ValueError, KeyError: a column is missing or has not what it should; nothing has changed.
        """
        if frame is not None:
            stream, time, value = self._columns_of(frame, stream, time, value)
        elif isinstance(time, str) or value is None:
            raise ValueError("without a frame, update_many needs arrays: stream=, time= and value=")
        features = len(self._spec.features)
        named = "value" if features > 1 else self._spec.features[0]
        values = times.numbers(value, named).reshape(-1, features)
        moments = times.all_seconds(time)
        names = times.stream_names(stream, len(values))
        if not len(names) == len(moments) == len(values):
            raise ValueError(
                f"{len(names)} streams, {len(moments)} times and {len(values)} events do not match"
            )
        times.check(values, self._spec.features, many=True)
        marks = np.full(len(values), 0 if learn else FROZEN, np.uint8)
        batch = Batch(self._rows(names), moments, marks, values)
        return self._table(names, moments, self._engine.apply(batch))

    def state_dict(self) -> dict[str, Any]:
        """All memories, as plain objects and arrays that `numpy.savez` and `torch.save` keep."""
        memories = self._engine.memories
        rows = memories.taken()
        return {
            "model": self.model.id,
            "layout": self._shape.describe(),
            "streams": np.array(memories.keys(rows.tolist()), dtype=np.str_),
            "records": memories.copies(rows).view(np.uint8).reshape(len(rows), self._shape.dtype.itemsize),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Replace all memories by those of `state_dict`.

        Raises:
            ValueError: it is of another model, or of another release; nothing has changed.
        """
        if not isinstance(state, Mapping) or not {"model", "layout", "streams", "records"} <= set(state):
            raise ValueError("the state is not what state_dict returned; of a file: np.load(path)")
        for name, ours in (("model", self.model.id), ("layout", self._shape.describe())):
            if str(state[name]) != ours:
                raise ValueError(f"the state is of {name} {state[name]}, this forecaster of {ours}")
        names = [str(name) for name in np.asarray(state["streams"]).tolist()]
        records = np.ascontiguousarray(state["records"], np.uint8)
        if records.shape != (len(names), self._shape.dtype.itemsize) or len(set(names)) != len(names):
            raise ValueError(f"{len(names)} streams do not match records of the shape {records.shape}")
        engine = self._with_rows(max(2 * len(names), ROWS_FIRST))
        engine.memories.restore_all(names, np.arange(1, len(names) + 1), records.tobytes())
        engine.memories.validate()
        self._engine = engine

    def _with_rows(self, rows_max: int) -> Engine:
        memories = Memories(self._spec, rows_max=rows_max)
        return Engine(self.model.lstm, memories, interval=self.interval)

    def _rows(self, names: Sequence[str]) -> NDArray[np.intp]:
        """The row of each stream; new ones get one."""
        memories = self._engine.memories
        new = [name for name in dict.fromkeys(names) if name not in memories]
        if len(memories) + len(new) > memories.rows_max:
            kept, taken = memories, memories.taken()
            self._engine = self._with_rows(2 * (len(memories) + len(new)))
            memories = self._engine.memories
            ids = kept.ids[taken].astype(np.int64)
            memories.restore_all(kept.keys(taken.tolist()), ids, kept.copies(taken).tobytes())
        for name in new:
            memories.add(name, len(memories) + 1)
        return np.array(memories.rows(names), np.intp)

    def _values(self, value: Value) -> NDArray[np.float64]:
        """(F,) of one event."""
        features = self._spec.features
        if isinstance(value, Mapping):
            if set(value) != set(features):
                if len(features) == 1:
                    raise ValueError(f"the model has one feature: give a plain number, not {value!r}")
                raise ValueError(f"the model takes {', '.join(features)}, not {', '.join(map(str, value))}")
            value = [value[name] for name in features]
        try:
            values = np.atleast_1d(np.asarray(value, np.float64))
        except (TypeError, ValueError):
            raise ValueError(f"{value!r} is not numeric") from None
        if values.shape != (len(features),):
            takes = f"{len(features)} numbers" if len(features) > 1 else "one number"
            raise ValueError(f"the model takes {takes}, {', '.join(features)}; not {value!r}")
        times.check(values[None], features, many=False)
        return values

    def _columns_of(self, frame: Any, stream: Any, time: Any, value: Any) -> tuple[Any, Any, Any]:
        """Columns of a frame."""
        known = list(frame.columns) if hasattr(frame, "columns") else list(frame)
        names = [value] if isinstance(value, str) else list(value or self._spec.features)
        if len(names) != len(self._spec.features):
            raise ValueError(f"the model takes {len(self._spec.features)} columns of values, not {names}")
        for name in (time, *names):
            if name not in known:
                raise KeyError(f"there is no column {name!r}; there are {', '.join(map(str, known))}")
        streams = np.asarray(frame[stream]).tolist() if stream in known else stream
        values = np.stack([times.numbers(frame[name], name) for name in names], axis=1)
        return streams, np.asarray(frame[time]), values

    def _prediction(
        self, stream: str, batch: Batch, predictions: Predictions, traced: NDArray[np.void] | None
    ) -> Prediction:
        naming, spec = self._naming, self._spec
        forecasts, half_widths = predictions.forecast[0], predictions.half_width[0]
        anomaly = float(predictions.anomaly[0])
        return Prediction(
            stream=stream,
            seq=int(predictions.seq[0]),
            time=float(batch.times[0]),
            value=naming.value(batch.values[0].tolist()),
            expected=naming.target(predictions.expected[0].tolist()),
            forecast=naming.target(forecasts[0].tolist()),
            interval=naming.interval(forecasts[0].tolist(), half_widths[0].tolist()),
            anomaly=anomaly,
            alert=bool(predictions.alert[0]),
            kind=KINDS[int(predictions.kind[0])] if anomaly >= ALERT_THRESHOLD else None,
            trust=naming.target(predictions.trust[0].tolist()),
            ahead={
                ahead: naming.target(row.tolist())
                for ahead, row in zip(spec.horizon, forecasts, strict=True)
                if ahead > 1
            },
            probabilities=dict(zip(spec.labels, predictions.probabilities[0].tolist(), strict=True)),
            gates=None if traced is None else Gates(*(traced[name][0] for name in Gates._fields)),
        )

    def _table(self, names: Sequence[str], moments: NDArray[np.float64], predictions: Predictions) -> Table:
        spec = self._spec
        out: Table = {"stream": np.array(names, dtype=np.str_), "seq": predictions.seq, "time": moments}
        for n, target in enumerate(spec.targets):
            of = "" if len(spec.targets) == 1 else f" of {target}"
            forecast, half_width = predictions.prediction[:, n], predictions.half_width[:, 0, n]
            out[f"expected{of}"], out[f"forecast{of}"] = predictions.expected[:, n], forecast
            out[f"low{of}"], out[f"high{of}"] = forecast - half_width, forecast + half_width
        if spec.labels:
            shares = predictions.probabilities
            out["label"] = np.array(spec.labels, dtype=np.str_)[shares.argmax(axis=1)]
            out |= {f"probability of {label}": shares[:, n] for n, label in enumerate(spec.labels)}
        kinds = np.array(KINDS, dtype=np.str_)[predictions.kind]
        out["anomaly"] = predictions.anomaly
        out["kind"] = np.where(predictions.anomaly >= ALERT_THRESHOLD, kinds, "")
        out["alert"] = predictions.alert
        return {name: np.ascontiguousarray(column) for name, column in out.items()}
