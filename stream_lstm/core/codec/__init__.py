"""Codec: payload formats, messages to events, predictions to bytes, topics and timestamps."""

from __future__ import annotations

from collections.abc import Mapping

from stream_lstm.core.codec.format import Format
from stream_lstm.core.codec.json_format import JsonFormat

FORMATS: Mapping[str, Format] = {"json": JsonFormat()}  # by the name that a source has
