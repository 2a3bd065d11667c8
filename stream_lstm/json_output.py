"""JSON output of the commands: ASCII only, null in place of NaN and infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def in_json(value: Any, indent: int | None = None) -> str:
    """Serialise mappings, lists, texts and numbers as JSON, which has no NaN and no infinity."""
    return json.dumps(without_non_finite(value), indent=indent, allow_nan=False)


def without_non_finite(value: Any) -> Any:
    """Replace NaN and infinity by None, at any depth."""
    if isinstance(value, Mapping):
        return {name: without_non_finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_non_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
