"""Sources: names of fields and formats."""

from __future__ import annotations

import pytest

from stream_lstm.core.codec import FORMATS
from stream_lstm.core.codec.source import Source
from stream_lstm.core.codec.topics import Pattern, Template


@pytest.mark.parametrize("fields", [("",), ("a..b",), (".a",), ("a", "a")])
def test_a_name_that_cannot_be_a_fields_is_rejected(fields: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"field"):
        Source(Pattern("#"), Template("x", ()), fields)


def test_payloads_are_json_unless_the_source_names_another_format() -> None:
    assert Source(Pattern("#"), Template("x", ())).format == "json"
    with pytest.raises(ValueError, match="'xml' is not a payload format; there are json"):
        Source(Pattern("#"), Template("x", ()), format="xml")
    assert list(FORMATS) == ["json"]
