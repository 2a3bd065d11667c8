"""Blocks `[[freeze]]`: filters and schedules."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stream_lstm.service.settings import FreezeSettings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"begin": "22:00"}, "set both begin and end, or neither"),
        ({"begin": "22:00Z", "end": "23:00Z"}, "remove the time zone"),
        ({"streams": "a/#/b"}, "must be the last"),
        ({"days": ["someday"]}, "days"),
    ],
)
def test_an_invalid_freeze_is_rejected(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FreezeSettings(**({"streams": "plant/#"} | settings))
    assert words in str(caught.value)
