"""Compilation ahead of use: machine code for all that a running service calls."""

from __future__ import annotations

import math

import numpy as np

from stream_lstm.core.compilation import compile_ahead
from stream_lstm.core.engine import Engine
from stream_lstm.core.memory import Memories
from stream_lstm.core.model.file import LstmModel
from stream_lstm.service.state.registry import Registry


def compile_service(model: LstmModel) -> None:
    """Compile, or read from the cache, the core's functions for a model, and the service's own."""
    compile_ahead(Engine(model, Memories(model.spec, rows_max=1)))
    nothing = np.empty(0, np.intp), np.empty(0)
    Registry(rows_max=0).record_batch(*nothing, entry=0, now=0.0, since=math.nan, stale=0)
