"""Decoder: messages to events.

An object, a number or decimal text becomes events of the streams that its source names. With a model of one
feature every selected field is a stream of its own, `<name>:<field>`; with several features the object is one
event. A message that cannot become an event raises a `PayloadError`, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream_lstm.core.codec.reader import Route, SourceReader
from stream_lstm.core.codec.source import Source
from stream_lstm.errors import PayloadError
from stream_lstm.events import Events


class Decoder:
    """Reads messages of some sources.

    Args:
        sources: the first whose pattern matches a topic counts.
        features: of the model.
        payload_bytes_max: larger payloads are rejected unread.
        key_bytes_max: longer stream names are rejected.
        fields_max: a message with more numbers is rejected, where a source names no fields.
        topics_max: topics whose routes are remembered; to forget them costs time, nothing else.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        features: Sequence[str],
        *,
        payload_bytes_max: int = 65_536,
        key_bytes_max: int = 512,
        fields_max: int = 1_000,
        topics_max: int = 100_000,
    ) -> None:
        self._readers = [
            SourceReader(source, tuple(features), key_bytes_max=key_bytes_max, fields_max=fields_max)
            for source in sources
        ]
        self._payload_bytes_max = payload_bytes_max
        self._topics_max = topics_max
        self._routes: dict[str, Route] = {}

    def decode(self, topic: str, payload: bytes, arrived: float, events: Events) -> Sequence[PayloadError]:
        """Append a message's events.

        Args:
            topic: of the message.
            payload: its bytes.
            arrived: epoch seconds.
            events: the columns to append to.

        Returns:
            The errors of single fields, beside which the others became events.

        Raises:
            PayloadError: the message gives no event at all; `events` is unchanged.
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

    def events_each(self, topic: str) -> int:
        """Events of a message of this topic that `decode_all` can read; 0: it can read none."""
        route = self._routes.get(topic)
        return route.reader.events_each if route else 0

    def decode_all(
        self, topics: Sequence[str], payloads: Sequence[bytes], arrived: float, events: Events
    ) -> int:
        """Append the events of many messages, if all have every wanted field, and known topics of one source.

        Returns:
            Events per message; 0: `events` is unchanged, and the messages must be decoded one by one.
        """
        routes = list(map(self._routes.get, topics))
        first = routes[0]
        if first is None or max(map(len, payloads)) > self._payload_bytes_max:
            return 0
        if any(route is None or route.reader is not first.reader for route in routes):
            return 0
        return first.reader.read_all(routes, payloads, arrived, events)  # type: ignore[arg-type]

    def _route(self, topic: str) -> Route:
        for reader in self._readers:
            captured = reader.source.pattern.match(topic)
            if captured is not None:
                if len(self._routes) >= self._topics_max:
                    self._routes.clear()
                self._routes[topic] = route = Route(reader, topic, captured)
                return route
        raise PayloadError("unexpected_topic", "no subscription matches this topic")
