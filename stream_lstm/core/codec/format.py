"""Interface of payload formats. A format is one module, registered in `FORMATS` of `core.codec`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import UNSET

MISSING = UNSET  # a field that a payload does not have


@dataclass(frozen=True, slots=True)
class FieldReader:
    """Reads certain fields of payloads, and skips all others: the fast way.

    Attributes:
        read: a payload as an object with these fields.
        numbers: each returns one number of this object, or `MISSING`.
        times: each returns one time of it, a number or text, or `MISSING`.
        errors: exceptions that `read` raises for a payload that is malformed or has a field of another type.
    """

    read: Callable[[bytes], object]
    numbers: Sequence[Callable[[object], Any]]
    times: Sequence[Callable[[object], Any]]
    errors: tuple[type[Exception], ...]


class Format(Protocol):
    """A payload format."""

    def parse(self, payload: bytes) -> object:
        """The content of a payload: dict, list, text, number, bool or None.

        Raises:
            PayloadError: it is not of this format; the detail says why.
        """

    def field_reader(self, numbers: Sequence[str], times: Sequence[str]) -> FieldReader | None:
        """A reader of these fields at the top level, whose names are distinct; None if there is none."""
