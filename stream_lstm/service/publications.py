"""What is published for a batch, and where: predictions, and rejections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_lstm.core.codec import encoder
from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.predictions import Predictions
from stream_lstm.events import Events
from stream_lstm.service.settings import PublishSettings
from stream_lstm.store.journal import Rejection

Publication = tuple[str, bytes]


class PublicationBuilder:
    """Makes publications. The same events, predictions and rejections give the same bytes."""

    def __init__(self, settings: PublishSettings, encoder: Encoder, *, status_topic: str) -> None:
        self._settings = settings
        self._encoder = encoder
        ours = [topic for topic in (settings.topic, settings.alert_topic) if topic]
        self._own_ends = [(start, end) for start, _, end in (topic.partition("{stream}") for topic in ours)]
        self._own = {settings.rejected_topic, settings.stale_topic, status_topic} - {""}

    def is_own_topic(self, topic: str) -> bool:
        """Whether a topic is one that we publish to: what comes from there is never an event."""
        if topic in self._own:
            return True
        return any(topic.startswith(start) and topic.endswith(end) for start, end in self._own_ends)

    def build(
        self, events: Events, predictions: Predictions, rejected: Sequence[Rejection]
    ) -> list[Publication]:
        """A prediction for each event, in order, then those that begin an incident, then the rejections."""
        where = encoder.topics(self._settings.topic, events.keys)
        payloads = self._encoder.encode(events, predictions)
        out = list(zip(where, payloads, strict=True))
        if self._settings.alert_topic:
            begun = np.flatnonzero(predictions.alert).tolist()
            where = encoder.topics(self._settings.alert_topic, [events.keys[n] for n in begun])
            out += zip(where, (payloads[n] for n in begun), strict=True)
        if self._settings.rejected_topic:
            out += [
                (
                    self._settings.rejected_topic,
                    encoder.rejection(r.topic, r.payload, reason=r.reason, detail=r.detail, time=r.time),
                )
                for r in rejected
            ]
        return out
