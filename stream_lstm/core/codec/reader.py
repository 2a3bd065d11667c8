"""Reader of one source's payloads: content to events.

It has two ways. The fast one reads just the wanted fields, with the format's compiled reader, and skips all
else. The other parses the whole payload; it serves what the fast one cannot, and finds out what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from stream_lstm.core.codec import FORMATS
from stream_lstm.core.codec.fields import at, kind, listed, number, required
from stream_lstm.core.codec.format import MISSING, FieldReader
from stream_lstm.core.codec.source import Source
from stream_lstm.core.codec.timestamps import epoch_seconds
from stream_lstm.core.codec.topics import escape
from stream_lstm.errors import PayloadError
from stream_lstm.events import EVENT_MAX, Clock, Events

EVENT, ARRIVAL = int(Clock.EVENT), int(Clock.ARRIVAL)  # plain: an enum is slow
PATH_MAX = 64  # letters of a field's path in a message
WRONG_FIELDS_MAX = 100  # rejections of one message: each is published, and is kept in the journal with it


class Route:
    """The part of reading that depends on the topic alone, worked out once.

    Attributes:
        name: of the stream; None where it depends on the payload.
        keys: of the streams of the source's fields; None likewise.
    """

    __slots__ = ("captured", "keys", "name", "reader", "topic")

    def __init__(self, reader: SourceReader, topic: str, captured: Mapping[str, str]) -> None:
        self.reader, self.topic, self.captured = reader, topic, captured
        template = reader.source.stream
        self.name = None if template.payload_fields else reader.checked(template.fill(topic, captured, {}))
        self.keys: list[str] | None = None
        if self.name is not None:
            paths = reader.fields[:1] if reader.joint else reader.fields
            self.keys = [self.key(self.name, path) for path in paths]

    def key(self, name: str, path: str) -> str:
        """The stream of a field."""
        return name if self.reader.joint else self.reader.checked(f"{name}:{escape(path)}")


class SourceReader:
    """Reads the payloads of one source.

    Args:
        features: of the model; with several, one event has all of them.
        key_bytes_max: longer stream names are rejected.
        fields_max: an object with more numbers is rejected, if the source names no fields.

    Attributes:
        joint: True if one event has several features.
        fields: paths of the numbers to read; empty reads every number at the top level.
        events_each: events of a message that the fast way reads; 0: there is no fast way.
    """

    def __init__(
        self, source: Source, features: tuple[str, ...], *, key_bytes_max: int, fields_max: int
    ) -> None:
        self.source = source
        self.joint = len(features) > 1
        self.fields = source.fields or (features if self.joint else ())
        if self.joint and len(self.fields) != len(features):
            raise ValueError(
                f"the model has {len(features)} features, but {len(self.fields)} fields are named"
            )
        self._key_bytes_max = key_bytes_max
        self._fields_max = fields_max
        self._format = FORMATS[source.format]
        self._fast = self._field_reader()
        self.events_each = 0 if self._fast is None else 1 if self.joint else len(self.fields)

    def _field_reader(self) -> FieldReader | None:
        """The fast reader, where the wanted fields are named, distinct, and not nested."""
        wanted = (*self.fields, *self.source.time)
        if not self.fields or self.source.stream.payload_fields or len(set(wanted)) != len(wanted):
            return None
        if any("." in path for path in wanted):
            return None
        return self._format.field_reader(self.fields, self.source.time)

    def checked(self, key: str) -> str:
        """A stream's name, if it is not too long."""
        if len(key) > self._key_bytes_max or len(key.encode("utf-8", "surrogatepass")) > self._key_bytes_max:
            raise PayloadError("bad_key", f"the stream's name has more than {self._key_bytes_max} bytes")
        return key

    def read(self, route: Route, payload: bytes, arrived: float, events: Events) -> Sequence[PayloadError]:
        """Append a payload's events; see `Decoder.decode`."""
        fast = self._fast
        if fast is not None:
            try:
                found = fast.read(payload)
            except fast.errors:
                return self._read_whole(route, payload, arrived, events)
            if self._append(fast, route, found, arrived, events):
                return ()
        return self._read_whole(route, payload, arrived, events)

    def read_all(
        self, routes: Sequence[Route], payloads: Sequence[bytes], arrived: float, events: Events
    ) -> int:
        """Append many payloads' events; see `Decoder.decode_all`."""
        fast = self._fast
        if fast is None:
            return 0
        unreadable: tuple[type[Exception], ...] = (*fast.errors, TypeError, PayloadError)
        try:
            found = list(map(fast.read, payloads))
            columns = [list(map(number_of, found)) for number_of in fast.numbers]
            if not all(min(column) >= -EVENT_MAX and max(column) <= EVENT_MAX for column in columns):
                return 0
            times, clock = _times(fast, found, arrived)
        except unreadable:  # a TypeError: a field is missing, and cannot be compared
            return 0
        each = 1 if self.joint else len(columns)
        keys = [key for route in routes for key in route.keys or ()]
        events.keys += keys
        events.times += times if each == 1 else [time for time in times for _ in range(each)]
        events.marks += (clock,) * len(keys)
        events.values += columns[0] if len(columns) == 1 else chain.from_iterable(zip(*columns, strict=True))
        return each

    def _append(self, fast: FieldReader, route: Route, found: object, arrived: float, events: Events) -> bool:
        """Append what the fast reader found; False if something is missing or out of range."""
        values = [number_of(found) for number_of in fast.numbers]
        for value in values:
            if value is MISSING or not -EVENT_MAX <= value <= EVENT_MAX:
                return False
        time, clock = arrived, ARRIVAL
        for time_of in fast.times:
            if (stamp := time_of(found)) is not MISSING:
                time, clock = epoch_seconds(stamp, arrived), EVENT
                break
        keys = route.keys or ()
        if len(keys) == 1:  # one number, or one event of several: the usual case, and the fast one
            events.keys.append(keys[0])
            events.times.append(time)
            events.marks.append(clock)
            events.values.extend(values)
        else:
            _extend(events, keys, time, clock, values)
        return True

    def _read_whole(
        self, route: Route, payload: bytes, arrived: float, events: Events
    ) -> Sequence[PayloadError]:
        """Append a payload's events, with an exact reason for each field that gives none."""
        content = self._format.parse(payload)
        if isinstance(content, dict):
            return self._read_object(route, content, arrived, events)
        if isinstance(content, bool) or not isinstance(content, (int, float)):
            raise PayloadError("wrong_type", f"{kind(content)}, expected an object or a number")
        if self.fields:
            raise PayloadError("wrong_type", f"a number, expected an object with {listed(self.fields)}")
        name = self.checked(self.source.stream.fill(route.topic, route.captured, {}))
        _extend(events, (name,), arrived, ARRIVAL, (number(content),))
        return ()

    def _read_object(
        self, route: Route, content: dict[str, Any], arrived: float, events: Events
    ) -> Sequence[PayloadError]:
        time, clock = self._time(content, arrived)
        template = self.source.stream
        fields = {path: at(content, path) for path in template.payload_fields}
        name = route.name or self.checked(template.fill(route.topic, route.captured, fields))
        if self.joint:
            joint = [number(required(content, path)) for path in self.fields]
            _extend(events, (route.key(name, ""),), time, clock, joint)
            return ()
        keys: list[str] = []
        values: list[float] = []
        wrong: list[PayloadError] = []
        for path in self.fields or self._every_number(content):
            found = at(content, path) if self.fields else content[path]
            if found is None:
                continue  # sensors send null for "unknown", and many only the fields that have changed
            try:
                values.append(number(found))
                keys.append(route.key(name, path))
            except PayloadError as error:
                del values[len(keys) :]
                if len(wrong) < WRONG_FIELDS_MAX:
                    wrong.append(PayloadError(error.reason, f"{path[:PATH_MAX]}: {error.detail}"))
        if not keys:
            raise wrong[0].without_traceback() if wrong else self._nothing_found()
        _extend(events, keys, time, clock, values)
        return wrong

    def _every_number(self, content: dict[str, Any]) -> list[str]:
        """The fields at the top level that are numbers, and neither a time nor part of the stream's name."""
        special = {*self.source.time, *self.source.stream.payload_fields}
        names = [
            name
            for name, value in content.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and name not in special
        ]
        if len(names) > self._fields_max:
            raise PayloadError(
                "too_many_fields",
                f"{len(names)} numbers; without fields at most {self._fields_max} are read "
                "(name those wanted in subscribe.fields, or raise limits.fields_max)",
            )
        return names

    def _nothing_found(self) -> PayloadError:
        if self.fields:
            return PayloadError("missing_field", f"an object without {listed(self.fields)}")
        return PayloadError(
            "missing_field",
            "an object without a number at its top level (nested ones are named in fields, as a.b)",
        )

    def _time(self, content: dict[str, Any], arrived: float) -> tuple[float, int]:
        for path in self.source.time:
            stamp = at(content, path)
            if stamp is not None:
                return epoch_seconds(stamp, arrived), EVENT
        return arrived, ARRIVAL


def _times(fast: FieldReader, found: Sequence[object], arrived: float) -> tuple[list[float], int]:
    """The times of payloads, of which all or none have one under the same name; else a TypeError."""
    for time_of in fast.times:
        stamps = list(map(time_of, found))
        missing = stamps.count(MISSING)
        if not missing:
            return [epoch_seconds(stamp, arrived) for stamp in stamps], EVENT
        if missing < len(stamps):
            raise TypeError
    return [arrived] * len(found), ARRIVAL


def _extend(events: Events, keys: Sequence[str], time: float, clock: int, values: Sequence[float]) -> None:
    count = len(keys)
    events.keys.extend(keys)
    events.times.extend((time,) * count)
    events.marks.extend((clock,) * count)
    events.values.extend(values)
