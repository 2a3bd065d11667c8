"""Compilation ahead of use: machine code for all that the core compiles, compiled or read from the cache."""

from __future__ import annotations

import numpy as np

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.engine import Engine
from stream_lstm.core.views.summary import relative_errors, summarize
from stream_lstm.events import Batch, Events


def compile_ahead(engine: Engine) -> None:
    """Call each compiled function for no events and no streams; nothing changes."""
    model, rows = engine.model, np.empty(0, np.intp)
    spec = model.spec
    nothing = engine.apply(Batch.timed(rows, np.empty(0), np.empty((0, len(spec.features)))))
    nothing.totals()
    Encoder(model.id, spec).encode(Events(), nothing)
    summarize(engine, rows)
    relative_errors(engine.memories.states, rows, len(spec.targets))
