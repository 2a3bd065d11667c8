"""JSON output: ASCII, and null in place of NaN and infinity."""

from __future__ import annotations

import json
import math

import pytest

from stream_lstm.json_output import in_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"a": math.nan, "b": [math.inf, 1.5], "c": (1, None, True)},
            '{"a": null, "b": [null, 1.5], "c": [1, null, true]}',
        ),
        ({"name": "\x1b[2J\u202eü\x7f"}, '{"name": "\\u001b[2J\\u202e\\u00fc\\u007f"}'),
    ],
)
def test_output_is_ascii_json_without_nan_and_infinity(value: object, text: str) -> None:
    assert in_json(value) == text
    json.loads(text)
    assert in_json([1], indent=1) == "[\n 1\n]"
