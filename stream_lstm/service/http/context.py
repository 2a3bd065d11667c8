"""What is looked at: the parts of a running line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stream_lstm.core.engine import Engine
from stream_lstm.service.metrics.counters import Measures
from stream_lstm.service.metrics.exporter import Present
from stream_lstm.service.pipeline.freeze import Freezer
from stream_lstm.service.pipeline.recorder import Chronicle
from stream_lstm.service.settings.load import Settings
from stream_lstm.service.state.writer import Keeper


@dataclass(frozen=True)
class View:
    """The parts of a line whose memory is restored.

    Attributes:
        present: what is so at the moment.
        obstacles: why the service is not ready.
    """

    settings: Settings
    engine: Engine
    chronicle: Chronicle
    keeper: Keeper
    freezer: Freezer
    measures: Measures
    present: Callable[[], Present]
    obstacles: Callable[[], list[str]]
