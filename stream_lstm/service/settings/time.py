"""Section `[time]`: late events, and events that repeat a time."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stream_lstm.service.settings.base import Section


class TimeSettings(Section):
    """Lateness limits; events without a time of their own are exempt."""

    late_seconds_max: float | None = Field(
        None,
        ge=0,
        description="reject events older than this, relative to the newest of their stream; unset: none",
    )
    repeated: Literal["accept", "reject"] = Field(
        "accept", description="a second event of a stream with the same time"
    )
