"""What a command found out, for other programs: JSON in ASCII, with null where there is no number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def in_json(found: Any, indent: int | None = None) -> str:
    """Anything of objects, lists, texts and numbers as JSON, which has no NaN and no infinity."""
    return json.dumps(plain(found), indent=indent, allow_nan=False)


def plain(found: Any) -> Any:
    """Numbers that JSON has no word for become null."""
    if isinstance(found, Mapping):
        return {name: plain(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [plain(value) for value in found]
    if isinstance(found, float) and not math.isfinite(found):
        return None
    return found
