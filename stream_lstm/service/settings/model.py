"""Section `[model]`: the model and its prediction intervals."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from stream_lstm.service.settings.base import Section


class ModelSettings(Section):
    """The model and the target of its prediction intervals."""

    path: Path | None = Field(
        None, description="model file (.safetensors); unset: the built-in default model"
    )
    interval: float = Field(
        0.9, ge=0.5, le=0.995, description="target coverage: share of values inside their prediction interval"
    )
