"""Names of the cell's inputs: what a model can take, how many numbers each has, and what they are called.

`stream_lstm.core.model.inputs` says what they are, and makes them.
"""

from __future__ import annotations

from collections.abc import Sequence

INPUTS = ("value", "difference", "day", "week", "gap", "age")
# Of those that do not belong to a feature: their numbers, as the page shows them.
PARTS = {
    "day": ("time of day, sine", "time of day, cosine"),
    "week": ("time of week, sine", "time of week, cosine"),
    "gap": ("usual gap", "gap relative to the usual one"),
    "age": ("age of the stream",),
}


def columns(names: Sequence[str], features: Sequence[str]) -> list[str]:
    """Names of the numbers that enter the cell for one event, in their order.

    Args:
        names: of `INPUTS`.
        features: names of an event's numbers.
    """
    out: list[str] = []
    for name in names:
        of_each = [name] if len(features) == 1 else [f"{name} of {feature}" for feature in features]
        out += PARTS.get(name, of_each)
    return out


def width(names: Sequence[str], features: int) -> int:
    """How many numbers enter the cell for one event of this many features."""
    return sum(len(PARTS[name]) if name in PARTS else features for name in names)
