"""Topic patterns by MQTT's matching rules, and stream names from topics and payloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core.codec.topics import Pattern, Template, escape
from stream_lstm.errors import PayloadError

# pattern, the filter that it is, a topic, and what its names are (None: no match); MQTT 5.0, section 4.7
MATCHES = [
    ("sport/tennis/+", "sport/tennis/+", "sport/tennis/player1", {}),
    ("sport/tennis/+", "sport/tennis/+", "sport/tennis/player1/ranking", None),
    ("sport/+", "sport/+", "sport", None),
    ("sport/+", "sport/+", "sport/", {}),
    ("sport/#", "sport/#", "sport", {}),
    ("sport/#", "sport/#", "sport/", {}),
    ("sport/#", "sport/#", "sport/a/b", {}),
    ("sport/#", "sport/#", "sports", None),
    ("+/+", "+/+", "/finance", {}),
    ("/+", "/+", "/finance", {}),
    ("+", "+", "/finance", None),
    ("#", "#", "a/b", {}),
    ("#", "#", "$SYS/broker", None),
    ("+/monitor", "+/monitor", "$SYS/monitor", None),
    ("$SYS/#", "$SYS/#", "$SYS/broker", {}),
    ("a.c", "a.c", "abc", None),
    ("sensors/{device}/telemetry", "sensors/+/telemetry", "sensors/p7/telemetry", {"device": "p7"}),
    ("sensors/{device}/telemetry", "sensors/+/telemetry", "sensors/a/b/telemetry", None),
    ("{site}/{line}", "+/+", "x/", {"site": "x", "line": ""}),
    ("plant/{path...}", "plant/#", "plant/a/b", {"path": "a/b"}),
    ("plant/{path...}", "plant/#", "plant", {"path": ""}),
    ("{all...}", "#", "a/b", {"all": "a/b"}),
    ("$share/group/a/{b}", "$share/group/a/+", "a/x", {"b": "x"}),
    ("line\nbreak/+", "line\nbreak/+", "line\nbreak/x\ny", {}),
]


@pytest.mark.parametrize(("text", "wanted", "topic", "names"), MATCHES)
def test_patterns_match_as_mqtt_does(
    text: str, wanted: str, topic: str, names: dict[str, str] | None
) -> None:
    pattern = Pattern(text)
    assert pattern.filter == wanted
    assert pattern.match(topic) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/#/b",
        "a+",
        "a/b#",
        "{a}{b}",
        "{a...}/b",
        "{a}/{a}",
        "{topic}",
        "{payload}",
        "$share/g",
        "a\0",
        "x" * 65_536,
        "{1}",
    ],
)
def test_an_invalid_filter_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Pattern(text)


def test_a_stream_name_has_parts_from_the_topic_and_the_payload() -> None:
    template = Template("{site}/{payload.device.id}:{topic}", ("site",))
    assert template.payload_fields == ("device.id",)
    assert template.fill("a/b", {"site": "x"}, {"device.id": 7}) == "x/7:a/b"


@pytest.mark.parametrize("text", ["", "{other}", "{topic!r}", "{topic:>9}", "{}", "a+b", "#", "{topic"])
def test_an_invalid_template_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Template(text, ("device",))


@pytest.mark.parametrize("value", [None, "", True, 1.5, [1], {"a": 1}, 2**70])
def test_a_value_that_cannot_name_a_stream_is_rejected(value: object) -> None:
    with pytest.raises(PayloadError) as caught:
        Template("{payload.id}", ()).fill("t", {}, {"id": value})
    assert caught.value.reason == "bad_key"


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("pump-7_a.b", "pump-7_a.b"),
        ("a/b+c#d$e%f:g", "a%2Fb%2Bc%23d%24e%25f%3Ag"),
        ("\x00\n\x7f\x85\u2028", "%00%0A%7F%C2%85%E2%80%A8"),
        ("größe", "größe"),
        ("\ud800", "\ud800"),
    ],
)
def test_a_part_from_the_payload_is_escaped(name: str, escaped: str) -> None:
    assert escape(name) == escaped


@given(st.text(min_size=1), st.text())
def test_a_payload_cannot_add_levels_or_wildcards_to_a_topic(device: str, topic: str) -> None:
    made = Template("site/{payload.id}/x", ()).fill(topic, {}, {"id": device})
    assert made.count("/") == 2
    assert not set(made) & set("+#$\0\n")


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_stay_different(first: str, second: str) -> None:
    assert (escape(first) == escape(second)) == (first == second)


def test_control_characters_of_a_topic_are_escaped_too() -> None:
    assert Template("{topic}", ()).fill("a/\x01b", {}, {}) == "a/%01b"
