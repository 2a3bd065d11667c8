"""Section `[log]`: level and format of the log on standard error."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stream_lstm.service.settings.base import Section


class LogSettings(Section):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level to log")
    format: Literal["text", "json"] = Field("text", description="text, or one JSON object a line")
