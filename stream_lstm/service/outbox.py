"""What is published for a batch, and where: predictions, and rejections."""

from __future__ import annotations

from collections.abc import Sequence

from stream_lstm.core import encode
from stream_lstm.core.encode import Encoder
from stream_lstm.core.engine import Predictions
from stream_lstm.events import Events
from stream_lstm.service.settings import PublishSettings
from stream_lstm.store.journal import Rejected

Publication = tuple[str, bytes]


class Outbox:
    """Makes publications. The same events, predictions and rejections give the same bytes."""

    def __init__(self, settings: PublishSettings, encoder: Encoder, *, status_topic: str) -> None:
        self._settings = settings
        self._encoder = encoder
        self._own_start, _, self._own_end = settings.topic.partition("{stream}")
        self._own = {settings.rejected_topic, status_topic}

    def is_own(self, topic: str) -> bool:
        """Whether a topic is one that we publish to: what comes from there is never an event."""
        predicted = topic.startswith(self._own_start) and topic.endswith(self._own_end)
        return predicted or topic in self._own

    def publications(
        self, events: Events, predictions: Predictions, rejected: Sequence[Rejected]
    ) -> list[Publication]:
        """A prediction for each event, in order, then the rejections."""
        where = encode.topics(self._settings.topic, events.keys)
        out = list(zip(where, self._encoder.encode(events, predictions), strict=True))
        if self._settings.rejected_topic:
            out += [
                (
                    self._settings.rejected_topic,
                    encode.rejection(r.topic, r.payload, reason=r.reason, detail=r.detail, time=r.time),
                )
                for r in rejected
            ]
        return out
