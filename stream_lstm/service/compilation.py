"""Compilation ahead of use: machine code for all that a running service calls."""

from __future__ import annotations

import math

import numpy as np

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.compilation import compile_ahead
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.core.predictions import Predictions, prediction_type
from stream_lstm.events import Events
from stream_lstm.service.state.registry import Registry


def compile_service(model: LstmModel) -> None:
    """Call each compiled function for no events and no streams."""
    compile_ahead(Engine(model, Memories(model.spec, rows_max=1)))
    nothing = Predictions(np.zeros(0, prediction_type(model.spec)), model.spec)
    nothing.totals()
    Encoder(model.id, model.spec).encode(Events(), nothing)
    rows = np.empty(0, np.intp)
    Registry(rows_max=0).record_batch(rows, nothing.anomaly, 0, 0.0, since=math.nan, stale=0)
