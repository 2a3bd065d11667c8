"""Compilation ahead of use: machine code for all that a service calls, compiled or read from the cache."""

from __future__ import annotations

import numpy as np

from stream_lstm.core.engine import Engine
from stream_lstm.core.predictions import prediction_type
from stream_lstm.core.record import layout
from stream_lstm.core.state import sizes
from stream_lstm.core.views.gate_trace import GateRecord, apply_traced
from stream_lstm.core.views.summary import relative_errors, summarize
from stream_lstm.events import Batch


def compile_ahead(engine: Engine) -> None:
    """Call each compiled function for no events and no streams; nothing changes."""
    spec, rows = engine.model.spec, np.empty(0, np.intp)
    nothing = Batch.timed(rows, np.empty(0), np.empty((0, len(spec.features))))
    engine.apply(nothing)
    predictions, gates = prediction_type(spec), layout(GateRecord, **sizes(spec))
    engine.call(apply_traced, nothing, np.zeros(0, predictions), np.zeros(0, gates))
    summarize(engine, rows)
    relative_errors(engine.memories.states, rows, len(spec.targets))
