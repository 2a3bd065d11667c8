"""Fields of a parsed payload, and numbers that an event can have."""

from __future__ import annotations

import pytest

from stream_lstm.core.codec.fields import at, kind, listed, number, required
from stream_lstm.errors import PayloadError
from stream_lstm.events import EVENT_MAX

CONTENT = {"a": 1, "o": {"b": 2, "p": {"c": None}}, "o.b": 3, "l": [1]}


@pytest.mark.parametrize(
    ("path", "value"),
    [("a", 1), ("o.b", 3), ("o.p", {"c": None}), ("o.p.c", None), ("x", None), ("a.x", None), ("l.0", None)],
)
def test_a_dotted_path_names_a_nested_field_unless_a_name_has_the_dots_itself(
    path: str, value: object
) -> None:
    assert at(CONTENT, path) == value
    assert at([CONTENT], path) is None


def test_a_required_field_that_is_missing_is_named() -> None:
    assert required(CONTENT, "a") == 1
    with pytest.raises(PayloadError, match=r"missing_field: an object without o\.x"):
        required(CONTENT, "o.x")


@pytest.mark.parametrize("found", [0, -1.5, 10**30, EVENT_MAX, -EVENT_MAX])
def test_a_number_within_the_limit_is_taken(found: float) -> None:
    assert number(found) == float(found)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        *[(found, "wrong_type") for found in ("1", True, None, [1], {})],
        *[(found, "out_of_range") for found in (1.1e100, -1e200, 10**101)],
        *[(found, "not_finite") for found in (10**400, float("inf"), float("nan"))],
    ],
)
def test_another_value_is_rejected_by_reason(found: object, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        number(found)
    assert caught.value.reason == reason


def test_messages_name_types_and_the_first_few_fields() -> None:
    found = ({}, [], "", False, None, 1)
    assert list(map(kind, found)) == ["an object", "an array", "text", "true or false", "null", "a number"]
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefghi")) == "a, b, c, d, e, f, g, h, …"
