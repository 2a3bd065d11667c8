"""Fields of a parsed payload: lookup by dotted path, and numbers that an event can have."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stream_lstm.errors import PayloadError
from stream_lstm.events import EVENT_MAX

NAMES_MAX = 8  # in a message


def at(content: object, path: str) -> object:
    """The value at a dotted path, None if there is none; a key that contains the dots itself comes first."""
    if isinstance(content, dict) and path in content:
        return content[path]
    for name in path.split("."):
        if not isinstance(content, dict) or name not in content:
            return None
        content = content[name]
    return content


def required(content: object, path: str) -> object:
    """The value at a dotted path.

    Raises:
        PayloadError: there is none.
    """
    found = at(content, path)
    if found is None:
        raise PayloadError("missing_field", f"an object without {path}")
    return found


def number(found: object) -> float:
    """A value as a number that an event can have.

    Raises:
        PayloadError: it is not a number, or beyond ±`EVENT_MAX`.
    """
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise PayloadError("wrong_type", f"{kind(found)}, expected a number")
    try:
        value = float(found)
    except OverflowError:
        value = math.inf
    if not -EVENT_MAX <= value <= EVENT_MAX:
        reason = "out_of_range" if math.isfinite(value) else "not_finite"
        raise PayloadError(reason, f"a number beyond ±{EVENT_MAX:g}")
    return value


def kind(found: object) -> str:
    """The type of a value, for a message."""
    kinds = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(found), "a number")


def listed(names: Sequence[str]) -> str:
    """Names for a message, the first few."""
    return ", ".join(names[:NAMES_MAX]) + (", …" if len(names) > NAMES_MAX else "")
