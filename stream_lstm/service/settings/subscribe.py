"""Blocks `[[subscribe]]`: topics to read, and how their payloads become streams."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stream_lstm.core.codec.source import Source
from stream_lstm.core.codec.topics import Pattern, Template
from stream_lstm.service.settings.base import Section


class Subscription(Section):
    """A subscription: topic filter, fields of the payload, names of the streams."""

    topic: str = Field(description="MQTT topic filter; wildcards may have names: sensors/{device}/telemetry")
    qos: Literal[0, 1, 2] = Field(1, description="maximum QoS of the subscription")
    stream: str = Field(
        "{topic}", description="template of the stream's name, with {topic}, {names} and {payload.field}"
    )
    fields: list[str] = Field(
        [], description="numeric fields of the payload to read; empty: every number at the top level"
    )
    time: list[str] = Field(
        ["time", "timestamp", "ts"],
        description="fields that may hold the event time; the first one present counts",
    )

    @model_validator(mode="after")
    def _compiles(self) -> Subscription:
        self.source()
        return self

    def source(self) -> Source:
        """The decoder's form of this subscription."""
        pattern = Pattern(self.topic)
        return Source(pattern, Template(self.stream, pattern.names), tuple(self.fields), tuple(self.time))
