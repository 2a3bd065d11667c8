"""Blocks `[[subscribe]]`: filters and stream names are checked when they are loaded."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stream_lstm.service.settings import Subscription


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"topic": "a/#/b"}, "must be the last"),
        ({"topic": "a/{x}", "stream": "{y}"}, "{y}"),
        ({"topic": "a", "qos": 3}, "qos"),
    ],
)
def test_an_invalid_subscription_is_rejected(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Subscription(**settings)
    assert words in str(caught.value)
