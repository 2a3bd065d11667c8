"""Payloads to events.

An object, a number or decimal text becomes events of the streams that its subscription names. With a model
of one feature every selected field is a stream of its own, `<name>:<field>`; with several features the
object is one event. Whatever cannot become an event raises or notes a `PayloadError` and changes nothing.

Two readers: a compiled one for the fields that are asked for, which skips everything else, and a patient one,
which says what is wrong where the first one fails. Messages that all are as expected are read together.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
from msgspec import UNSET

from stream_lstm.core.codec.timestamps import DECIMAL, TEXT_BYTES_MAX, epoch_seconds
from stream_lstm.core.codec.topics import Pattern, Template, escape
from stream_lstm.errors import PayloadError
from stream_lstm.events import EVENT_MAX, Clock, Events

EVENT, ARRIVAL = int(Clock.EVENT), int(Clock.ARRIVAL)  # plain: an enum costs time by the event
_SPECIAL = re.compile(rb"\s*[+-]?(?:nan|inf|infinity)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """One subscription: which topics, how their streams are called, what is read of their payloads.

    Attributes:
        fields: names of the numbers that are read, dotted for nested ones; empty takes every number at
            the top level (of a model with several features: the features' names).
        time: names under which a time may stand; the first that is there is taken.
    """

    pattern: Pattern
    stream: Template
    fields: tuple[str, ...] = ()
    time: tuple[str, ...] = ("time", "timestamp", "ts")

    def __post_init__(self) -> None:
        for path in (*self.fields, *self.time):
            if not path or "" in path.split("."):
                raise ValueError(f"{path!r} is not a field's name; nested ones are written a.b")
        if len(set(self.fields)) != len(self.fields):
            raise ValueError("a field is named twice")


class Decoder:
    """Makes events of messages.

    Args:
        sources: the first whose pattern matches a topic counts.
        features: the model's.
        payload_bytes_max: larger payloads are refused unread.
        key_bytes_max: longer stream names are refused.
        topics_max: how many topics' names are kept ready; forgetting them costs time, nothing else.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        features: Sequence[str],
        *,
        payload_bytes_max: int = 65_536,
        key_bytes_max: int = 512,
        topics_max: int = 100_000,
    ) -> None:
        self._readers = [_Reader(source, tuple(features), key_bytes_max=key_bytes_max) for source in sources]
        self._payload_bytes_max = payload_bytes_max
        self._topics_max = topics_max
        self._routes: dict[str, _Route] = {}

    def decode(self, topic: str, payload: bytes, arrived: float, events: Events) -> Sequence[PayloadError]:
        """Append a message's events.

        Args:
            topic: of the message.
            payload: its bytes.
            arrived: when, epoch seconds.
            events: the columns to append to.

        Returns:
            What is wrong with single fields, beside which the others became events.

        Raises:
            PayloadError: the message gives no event at all; `events` is as before.
        """
        if len(payload) > self._payload_bytes_max:
            raise PayloadError(
                "too_large", f"{len(payload)} bytes, at most {self._payload_bytes_max} are read"
            )
        if not payload:
            raise PayloadError("empty", "no payload")
        if not topic:
            raise PayloadError("malformed", "the topic or a property of the message is not UTF-8")
        route = self._routes.get(topic) or self._route(topic)
        return route.reader.read(route, payload, arrived, events)

    def decode_all(
        self, topics: Sequence[str], payloads: Sequence[bytes], arrived: float, events: Events
    ) -> int:
        """Append the events of many messages, if each has what is asked for and none is new or wrong.

        Returns:
            How many events each message gave; 0: `events` is as before, and they are to be decoded singly.
        """
        routes = list(map(self._routes.get, topics))
        first = routes[0]
        if first is None or max(map(len, payloads)) > self._payload_bytes_max:
            return 0
        if any(route is None or route.reader is not first.reader for route in routes):
            return 0
        return first.reader.read_all(routes, payloads, arrived, events)  # type: ignore[arg-type]

    def _route(self, topic: str) -> _Route:
        for reader in self._readers:
            captured = reader.source.pattern.match(topic)
            if captured is not None:
                if len(self._routes) >= self._topics_max:
                    self._routes.clear()
                self._routes[topic] = route = _Route(reader, topic, captured)
                return route
        raise PayloadError("unexpected_topic", "no subscription matches this topic")


class _Route:
    """What a topic alone decides; `name` is None where the payload has a say in it."""

    __slots__ = ("captured", "keys", "name", "reader", "topic")

    def __init__(self, reader: _Reader, topic: str, captured: Mapping[str, str]) -> None:
        self.reader, self.topic, self.captured = reader, topic, captured
        template = reader.source.stream
        self.name = None if template.payload_fields else reader.named(template.fill(topic, captured, {}))
        self.keys: list[str] | None = None
        if self.name is not None:
            paths = reader.fields[:1] if reader.joint else reader.fields
            self.keys = [self.key(self.name, path) for path in paths]

    def key(self, name: str, path: str) -> str:
        """The stream of a field."""
        return name if self.reader.joint else self.reader.named(f"{name}:{escape(path)}")


class _Reader:
    """Reads the payloads of one source."""

    def __init__(self, source: Source, features: tuple[str, ...], *, key_bytes_max: int) -> None:
        self.source = source
        self.joint = len(features) > 1  # one event carries all features
        self.fields = source.fields or (features if self.joint else ())
        if self.joint and len(self.fields) != len(features):
            raise ValueError(
                f"the model has {len(features)} features, but {len(self.fields)} fields are named"
            )
        self._key_bytes_max = key_bytes_max
        self._fast = self._compiled()

    def named(self, key: str) -> str:
        """A stream's name, if it is not too long."""
        if len(key) > self._key_bytes_max or len(key.encode("utf-8", "surrogatepass")) > self._key_bytes_max:
            raise PayloadError("bad_key", f"the stream's name has more than {self._key_bytes_max} bytes")
        return key

    def _compiled(self) -> msgspec.json.Decoder[Any] | None:
        """A decoder that reads just the numbers and times asked for, if that can be compiled."""
        wanted = (*self.fields, *self.source.time)
        if not self.fields or self.source.stream.payload_fields or len(set(wanted)) != len(wanted):
            return None
        if any("." in path for path in wanted):
            return None
        number, time = float | msgspec.UnsetType, float | str | msgspec.UnsetType
        kinds = [number] * len(self.fields) + [time] * len(self.source.time)
        struct = msgspec.defstruct(
            "Wanted",
            [(f"f{n}", kind, UNSET) for n, kind in enumerate(kinds)],
            rename={f"f{n}": path for n, path in enumerate(wanted)},
            gc=False,
        )
        self._number_of = [operator.attrgetter(f"f{n}") for n in range(len(self.fields))]
        self._time_of = [operator.attrgetter(f"f{n}") for n in range(len(self.fields), len(wanted))]
        return msgspec.json.Decoder(struct)

    def read(self, route: _Route, payload: bytes, arrived: float, events: Events) -> Sequence[PayloadError]:
        """Append a payload's events; see `Decoder.decode`."""
        if self._fast is not None:
            try:
                wanted = self._fast.decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return self._read_patiently(route, payload, arrived, events)
            if self._append(route, wanted, arrived, events):
                return ()
        return self._read_patiently(route, payload, arrived, events)

    def read_all(
        self, routes: Sequence[_Route], payloads: Sequence[bytes], arrived: float, events: Events
    ) -> int:
        """Append many payloads' events; see `Decoder.decode_all`."""
        if self._fast is None:
            return 0
        try:
            wanted = list(map(self._fast.decode, payloads))
            columns = [list(map(number, wanted)) for number in self._number_of]
            if not all(min(column) >= -EVENT_MAX and max(column) <= EVENT_MAX for column in columns):
                return 0
            times, clock = self._times_of(wanted, arrived)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, PayloadError):
            return 0  # a TypeError: a field is missing, and cannot be compared
        each = 1 if self.joint else len(columns)
        keys = [key for route in routes for key in route.keys or ()]
        events.keys += keys
        events.times += times if each == 1 else [time for time in times for _ in range(each)]
        events.marks += (clock,) * len(keys)
        events.values += columns[0] if len(columns) == 1 else chain.from_iterable(zip(*columns, strict=True))
        return each

    def _times_of(self, wanted: Sequence[object], arrived: float) -> tuple[list[float], int]:
        """The times in payloads, of which all or none have one under the same name; else a TypeError."""
        for stamp in self._time_of:
            stamps = list(map(stamp, wanted))
            missing = stamps.count(UNSET)
            if not missing:
                return [epoch_seconds(found, arrived) for found in stamps], EVENT
            if missing < len(stamps):
                raise TypeError
        return [arrived] * len(wanted), ARRIVAL

    def _append(self, route: _Route, wanted: object, arrived: float, events: Events) -> bool:
        """Append what the compiled reader found; False leaves it to the patient one."""
        values = [number(wanted) for number in self._number_of]
        for value in values:
            if value is UNSET or not -EVENT_MAX <= value <= EVENT_MAX:
                return False
        time, clock = arrived, ARRIVAL
        for stamp_of in self._time_of:
            if (stamp := stamp_of(wanted)) is not UNSET:
                time, clock = epoch_seconds(stamp, arrived), EVENT
                break
        keys = route.keys or ()
        if len(keys) == 1:  # one number, or one event of several: the common case, and the quick one
            events.keys.append(keys[0])
            events.times.append(time)
            events.marks.append(clock)
            events.values.extend(values)
        else:
            _extend(events, keys, time, clock, values)
        return True

    def _read_patiently(
        self, route: _Route, payload: bytes, arrived: float, events: Events
    ) -> Sequence[PayloadError]:
        content = _parse(payload)
        if isinstance(content, dict):
            return self._read_object(route, content, arrived, events)
        if isinstance(content, bool) or not isinstance(content, (int, float)):
            raise PayloadError("wrong_type", f"{_kind(content)}, expected an object or a number")
        if self.fields:
            raise PayloadError("wrong_type", f"a number, expected an object with {_listed(self.fields)}")
        name = self.named(self.source.stream.fill(route.topic, route.captured, {}))
        _extend(events, (name,), arrived, ARRIVAL, (_number(content),))
        return ()

    def _read_object(
        self, route: _Route, content: dict[str, Any], arrived: float, events: Events
    ) -> Sequence[PayloadError]:
        time, clock = self._time(content, arrived)
        template = self.source.stream
        fields = {path: _at(content, path) for path in template.payload_fields}
        name = route.name or self.named(template.fill(route.topic, route.captured, fields))
        if self.joint:
            values = [_number(_required(content, path)) for path in self.fields]
            _extend(events, (route.key(name, ""),), time, clock, values)
            return ()
        keys, values, wrong = [], [], []
        for path in self.fields or self._every_number(content):
            found = _at(content, path) if self.fields else content[path]
            if found is None:
                continue  # sensors send null for "not known", and often only what has changed
            try:
                values.append(_number(found))
                keys.append(route.key(name, path))
            except PayloadError as error:
                del values[len(keys) :]
                wrong.append(PayloadError(error.reason, f"{path[:64]}: {error.detail}"))
        if not keys:
            raise (
                wrong[0].without_traceback()
                if wrong
                else PayloadError("missing_field", self._nothing_found())
            )
        _extend(events, keys, time, clock, values)
        return wrong

    def _every_number(self, content: dict[str, Any]) -> list[str]:
        named = {*self.source.time, *self.source.stream.payload_fields}
        return [
            name
            for name, value in content.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and name not in named
        ]

    def _nothing_found(self) -> str:
        if self.fields:
            return f"an object without {_listed(self.fields)}"
        return "an object without a number at its top level (nested ones are named in fields, as a.b)"

    def _time(self, content: dict[str, Any], arrived: float) -> tuple[float, int]:
        for path in self.source.time:
            stamp = _at(content, path)
            if stamp is not None:
                return epoch_seconds(stamp, arrived), EVENT
        return arrived, ARRIVAL


def _extend(events: Events, keys: Sequence[str], time: float, clock: int, values: Sequence[float]) -> None:
    count = len(keys)
    events.keys.extend(keys)
    events.times.extend((time,) * count)
    events.marks.extend((clock,) * count)
    events.values.extend(values)


def _parse(payload: bytes) -> object:
    """JSON or decimal text."""
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        problem = str(error)
    if len(payload) <= TEXT_BYTES_MAX and DECIMAL.fullmatch(payload):
        return float(payload)
    if _SPECIAL.fullmatch(payload) or _holds_special(payload) or "out of range" in problem:
        raise PayloadError("not_finite", "NaN, infinity, or a number too large for a double")
    raise PayloadError("malformed", f"not JSON: {problem}")


def _holds_special(payload: bytes) -> bool:
    """Whether this would be JSON but for its NaN or Infinity, which some encoders write."""
    special: list[str] = []
    try:
        json.loads(payload, parse_constant=special.append)
    except (ValueError, RecursionError):
        return False
    return bool(special)


def _number(found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise PayloadError("wrong_type", f"{_kind(found)}, expected a number")
    try:
        number = float(found)
    except OverflowError:
        number = math.inf
    if not -EVENT_MAX <= number <= EVENT_MAX:
        reason = "out_of_range" if math.isfinite(number) else "not_finite"
        raise PayloadError(reason, f"a number beyond ±{EVENT_MAX:g}")
    return number


def _at(content: object, path: str) -> object:
    """The value at a dotted path, None where there is none; a key that holds the dots itself comes first."""
    if isinstance(content, dict) and path in content:
        return content[path]
    for name in path.split("."):
        if not isinstance(content, dict) or name not in content:
            return None
        content = content[name]
    return content


def _required(content: dict[str, Any], path: str) -> object:
    found = _at(content, path)
    if found is None:
        raise PayloadError("missing_field", f"an object without {path}")
    return found


def _kind(found: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(found), "a number")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
