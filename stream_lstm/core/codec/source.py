"""A source of events: one subscription, and how its messages are read."""

from __future__ import annotations

from dataclasses import dataclass

from stream_lstm.core.codec import FORMATS
from stream_lstm.core.codec.topics import Pattern, Template


@dataclass(frozen=True, slots=True)
class Source:
    """One subscription: its topics, the names of its streams, and the fields that are read.

    Attributes:
        pattern: of its topics.
        stream: of the names of its streams.
        fields: names of the numbers to read, dotted for nested ones; empty reads every number at the top
            level (with a model of several features: the features' names).
        time: names of fields that may hold the event's time; the first that is present counts.
        format: of the payloads, a name in `FORMATS`.
    """

    pattern: Pattern
    stream: Template
    fields: tuple[str, ...] = ()
    time: tuple[str, ...] = ("time", "timestamp", "ts")
    format: str = "json"

    def __post_init__(self) -> None:
        for path in (*self.fields, *self.time):
            if not path or "" in path.split("."):
                raise ValueError(f"{path!r} is not a field's name; nested ones are written a.b")
        if len(set(self.fields)) != len(self.fields):
            raise ValueError("a field is named twice")
        if self.format not in FORMATS:
            raise ValueError(f"{self.format!r} is not a payload format; there are {', '.join(FORMATS)}")
