"""Section `[publish]`: topics and contents of what the service publishes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from stream_lstm.service.settings.base import Section, check_publish_topic


class PublishSettings(Section):
    """Predictions, alerts, rejections and staleness messages."""

    topic: str = Field("predictions/{stream}", description="topic template of predictions, with {stream}")
    qos: Literal[0, 1] = Field(0, description="QoS of predictions; 1: the broker acknowledges each one")
    retain: bool = Field(False, description="publish predictions as retained messages")
    rejected_topic: str = Field(
        "stream_lstm/rejected", description="topic of rejected messages, with the reason; empty: none"
    )
    alert_topic: str = Field(
        "",
        description="topic template of predictions that begin an incident, with {stream}; empty: none",
    )
    stale_topic: str = Field(
        "stream_lstm/stale", description="topic of streams that become stale or active again; empty: none"
    )
    details: bool = Field(
        False, description="add warm, error_ratio and covered: how accurate the stream's predictions are"
    )
    forecast: bool = Field(False, description="add forecasts several events ahead")

    @field_validator("topic", "alert_topic")
    @classmethod
    def _valid_template(cls, topic: str, info: ValidationInfo) -> str:
        if not topic and info.field_name == "alert_topic":
            return topic
        if topic.count("{stream}") != 1 or set("{}") & set(topic.replace("{stream}", "")):
            raise ValueError("must contain {stream} once, and no other braces")
        check_publish_topic(topic)
        if not topic.partition("{stream}")[0]:
            raise ValueError("must begin with text, so that predictions are never mistaken for events")
        return topic

    @field_validator("rejected_topic", "stale_topic")
    @classmethod
    def _publishable_or_empty(cls, topic: str) -> str:
        return check_publish_topic(topic) if topic else topic
