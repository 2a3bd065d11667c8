"""Section `[limits]`: bounds of memory, payloads, batches and waiting."""

from __future__ import annotations

from pydantic import Field

from stream_lstm.service.settings.base import Seconds, Section


class Limits(Section):
    """Resource limits: what a faulty sensor, a burst or a slow disk may cost."""

    # 1.3 kB a stream with the default model: 10 million take 13 GB.
    streams_max: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="streams in memory; beyond it, those idle for longest are evicted to disk",
    )
    new_streams_per_second: float = Field(
        1_000.0,
        gt=0,
        description="rate limit of new streams (token bucket); bursts of up to a minute's worth",
    )
    stream_ttl_seconds: float = Field(
        0.0, ge=0, description="delete streams without events for longer than this; 0: never"
    )
    payload_bytes_max: int = Field(65_536, ge=16, le=16_777_216, description="largest payload accepted")
    # The API takes a name as %xx in a request line, which the HTTP server limits to 16 kB.
    key_bytes_max: int = Field(512, ge=16, le=4_096, description="longest stream name accepted")
    fields_max: int = Field(
        1_000,
        ge=1,
        le=65_536,
        description="numbers read from a message, where no fields are named",
    )
    batch_events_max: int = Field(
        4_096,
        ge=1,
        le=65_536,
        description="messages, and events, taken into one batch, which is committed as a whole",
    )
    inbox_messages_max: int = Field(
        65_536,
        ge=1,
        le=1_048_576,
        description="messages received and not yet applied; beyond it, backpressure",
    )
    inbox_bytes_max: int = Field(67_108_864, ge=65_536, description="bytes of these messages")
    shutdown_seconds_max: Seconds = Field(
        10.0, description="time to commit, publish and acknowledge what is in hand at a shutdown"
    )
