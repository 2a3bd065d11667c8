"""Section `[publish]`: topic templates."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stream_lstm.service.settings import PublishSettings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"topic": "out"}, "must contain {stream} once"),
        ({"topic": "{stream}/x"}, "must begin with text"),
        ({"topic": "out/{stream}/{other}"}, "no other braces"),
        ({"topic": ""}, "must contain {stream} once"),
        ({"alert_topic": "$SYS/{stream}"}, "must not begin with $"),
        ({"rejected_topic": "a/+"}, "contains no +, #"),
    ],
)
def test_an_invalid_topic_is_rejected(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PublishSettings(**settings)
    assert words in str(caught.value)


def test_optional_topics_may_be_empty() -> None:
    settings = PublishSettings(alert_topic="", rejected_topic="", stale_topic="")
    assert (settings.alert_topic, settings.rejected_topic, settings.stale_topic) == ("", "", "")
