"""Payloads in JSON (RFC 8259), or as one decimal number in text."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Sequence

import msgspec

from stream_lstm.core.codec.format import MISSING, FieldReader
from stream_lstm.core.codec.timestamps import DECIMAL, TEXT_BYTES_MAX
from stream_lstm.errors import PayloadError

_SPECIAL = re.compile(rb"\s*[+-]?(?:nan|inf|infinity)\s*", re.IGNORECASE)
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class JsonFormat:
    """JSON, read with msgspec."""

    def parse(self, payload: bytes) -> object:
        """The content of a payload, see `Format.parse`."""
        try:
            return msgspec.json.decode(payload)
        except (*_ERRORS, ValueError) as error:
            problem = str(error)
        if len(payload) <= TEXT_BYTES_MAX and DECIMAL.fullmatch(payload):
            return float(payload)
        if _SPECIAL.fullmatch(payload) or _has_special(payload) or "out of range" in problem:
            raise PayloadError("not_finite", "NaN, infinity, or a number too large for a double")
        raise PayloadError("malformed", f"not JSON: {problem}")

    def field_reader(self, numbers: Sequence[str], times: Sequence[str]) -> FieldReader:
        """A compiled reader of some fields, see `Format.field_reader`."""
        number, time = float | msgspec.UnsetType, float | str | msgspec.UnsetType
        types = [number] * len(numbers) + [time] * len(times)
        struct = msgspec.defstruct(
            "Wanted",
            [(f"f{n}", type_, MISSING) for n, type_ in enumerate(types)],
            rename={f"f{n}": name for n, name in enumerate((*numbers, *times))},
            gc=False,
        )
        getters = [operator.attrgetter(f"f{n}") for n in range(len(types))]
        read = msgspec.json.Decoder(struct).decode
        return FieldReader(read, getters[: len(numbers)], getters[len(numbers) :], _ERRORS)


def _has_special(payload: bytes) -> bool:
    """True if this would be JSON but for a NaN or Infinity, which some encoders write."""
    special: list[str] = []
    try:
        json.loads(payload, parse_constant=special.append)
    except (ValueError, RecursionError):
        return False
    return bool(special)
