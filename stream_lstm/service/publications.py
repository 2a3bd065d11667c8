"""Publications of a batch, and their topics: predictions, alerts, rejections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_lstm.core.codec import encoder
from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.core.predictions import Predictions
from stream_lstm.events import Events
from stream_lstm.service.broker import Publication
from stream_lstm.service.settings import PublishSettings
from stream_lstm.store.entry import Rejection


class PublicationBuilder:
    """Makes publications; the same events, predictions and rejections give the same bytes."""

    def __init__(self, settings: PublishSettings, encoder: Encoder, *, status_topic: str) -> None:
        self._settings = settings
        self._encoder = encoder
        templates = [topic for topic in (settings.topic, settings.alert_topic) if topic]
        self._own_templates = [
            (before, after) for before, _, after in (topic.partition("{stream}") for topic in templates)
        ]
        self._own_topics = {settings.rejected_topic, settings.stale_topic, status_topic} - {""}

    def is_own_topic(self, topic: str) -> bool:
        """True if the service publishes to this topic: a message from it is never an event."""
        if topic in self._own_topics:
            return True
        return any(
            topic.startswith(before) and topic.endswith(after) for before, after in self._own_templates
        )

    def build(
        self, events: Events, predictions: Predictions, rejected: Sequence[Rejection]
    ) -> list[Publication]:
        """A prediction for each event, in order, then the alerts, then the rejections."""
        topics = encoder.topics(self._settings.topic, events.keys)
        payloads = self._encoder.encode(events, predictions)
        out = list(zip(topics, payloads, strict=True))
        if self._settings.alert_topic:
            alerts = np.flatnonzero(predictions.alert).tolist()
            topics = encoder.topics(self._settings.alert_topic, [events.keys[n] for n in alerts])
            out += zip(topics, (payloads[n] for n in alerts), strict=True)
        if self._settings.rejected_topic:
            out += [
                (
                    self._settings.rejected_topic,
                    encoder.rejection(r.topic, r.payload, reason=r.reason, detail=r.detail, time=r.time),
                )
                for r in rejected
            ]
        return out
