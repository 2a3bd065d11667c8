"""Section `[state]`: the state file, its checkpoints, and how long its journal is kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from stream_lstm.service.settings.base import Seconds, Section


class StateSettings(Section):
    """The state file: journal and checkpoint."""

    path: Path = Field(Path("stream_lstm.db"), description="state file (SQLite): journal and checkpoint")
    fsync: bool = Field(
        True,
        description="sync each commit; false spares SD cards: safe against kill -9, not power loss",
    )
    commit_interval_seconds: float = Field(
        0.0,
        ge=0,
        le=10,
        description="least time between commits at low load: fewer syncs, less CPU, some delay",
    )
    checkpoint_seconds: Seconds = Field(30.0, description="time between checkpoints of changed memories")
    # A commit waits for the chunk that is being written.
    checkpoint_rows_max: int = Field(
        512, ge=1, le=100_000, description="memories written between two commits during a checkpoint"
    )
    history_seconds: float = Field(
        0.0, ge=0, description="how long to keep the journal beyond what recovery needs"
    )
    history_bytes_max: int = Field(1_073_741_824, ge=0, description="size limit of that history")
