"""Blocks `[[freeze]]`: streams excluded from learning, always or on a weekly schedule."""

from __future__ import annotations

from datetime import time
from typing import Literal

from pydantic import Field, model_validator

from stream_lstm.core.codec.topics import Pattern
from stream_lstm.service.settings.base import Section


class FreezeSettings(Section):
    """Streams excluded from learning, always or on a weekly schedule in UTC."""

    streams: str = Field(description="filter on stream names, with MQTT wildcards: plant/line2/#")
    begin: time | None = Field(None, description="start, HH:MM in UTC; unset: always")
    end: time | None = Field(None, description="end, HH:MM in UTC; if before begin: on the next day")
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        [], description="days on which it begins; empty: every day"
    )

    @model_validator(mode="after")
    def _consistent(self) -> FreezeSettings:
        if (self.begin is None) != (self.end is None):
            raise ValueError("set both begin and end, or neither")
        if any(clock is not None and clock.tzinfo is not None for clock in (self.begin, self.end)):
            raise ValueError("begin and end are in UTC: remove the time zone")
        Pattern(self.streams)
        return self
