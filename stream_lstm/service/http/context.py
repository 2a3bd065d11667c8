"""HttpContext: the parts of a running service that the API reads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from stream_lstm.core.engine import Engine
from stream_lstm.service.metrics.counters import Counters
from stream_lstm.service.metrics.exporter import Gauges
from stream_lstm.service.pipeline.freeze import Freezer
from stream_lstm.service.pipeline.recorder import Recorder
from stream_lstm.service.settings import Settings
from stream_lstm.service.state.registry import Registry
from stream_lstm.service.state.writer import StateWriter


@dataclass(frozen=True)
class HttpContext:
    """The parts of a running service that the API reads.

    Attributes:
        gauges: levels at this moment.
        obstacles: why the service is not ready; empty when it is.
        clock: seconds, monotonic.
        wall_clock: epoch seconds.
    """

    settings: Settings
    engine: Engine
    registry: Registry
    recorder: Recorder
    state_writer: StateWriter
    freezer: Freezer
    counters: Counters
    gauges: Callable[[], Gauges]
    obstacles: Callable[[], list[str]]
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
