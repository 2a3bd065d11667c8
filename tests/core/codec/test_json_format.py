"""JSON and decimal text: values, rejections by reason, and the reader of single fields."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_lstm.core.codec.format import MISSING
from stream_lstm.core.codec.json_format import JsonFormat
from stream_lstm.errors import PayloadError

JSON = JsonFormat()
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"21.5", 21.5),
        (b" 7\n", 7),
        (b"+7", 7.0),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"-4e-2", -0.04),
        (b"+1.5E3 ", 1500.0),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"true", True),
        (b"null", None),
        (b'"x"', "x"),
        (b"9" * 30, int("9" * 30)),
    ],
)
def test_json_and_decimal_text_are_parsed(payload: bytes, value: object) -> None:
    assert JSON.parse(payload) == value


@given(ANY)
def test_what_python_writes_as_json_is_parsed(value: object) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return  # infinity
    assert JSON.parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        *[
            (payload, "malformed")
            for payload in (b" ", b"online", b"{", b'{"v": 01}', b"12,5", b"1_000", b"0x1F")
        ],
        *[
            (payload, "malformed")
            for payload in (b"--1", b"21.5C", b"\xff\xfe\x00", b'{"v": "\xff"}', b"[" * 9_000)
        ],
        ("٣".encode(), "malformed"),
        (b"0" * 65, "malformed"),
        *[(payload, "not_finite") for payload in (b"nan", b" -Infinity", b"inf")],
        *[(payload, "not_finite") for payload in (b'{"v": NaN}', b'[{"v": -Infinity}]', b'{"v": 1e999}')],
    ],
)
def test_another_payload_is_rejected_by_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        JSON.parse(payload)
    assert caught.value.reason == reason


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_rejected(payload: bytes) -> None:
    try:
        JSON.parse(payload)
    except PayloadError as error:
        reason = error.reason
    else:
        return
    assert reason in ("malformed", "not_finite")


def test_the_field_reader_returns_numbers_and_times_and_skips_all_else() -> None:
    reader = JSON.field_reader(["v", "w w"], ["t"])
    found = reader.read(b'{"x": [{}], "v": 1, "t": "2023-11-14", "t2": 5}')
    assert [number_of(found) for number_of in reader.numbers] == [1.0, MISSING]
    assert [time_of(found) for time_of in reader.times] == ["2023-11-14"]
    assert reader.numbers[1](reader.read(b'{"w w": 2.5, "t": 1}')) == 2.5


@pytest.mark.parametrize(
    "payload", [b"1", b'{"v": "1"}', b'{"v": null}', b'{"t": []}', b"{", b'{"v": "\xff"}']
)
def test_the_field_reader_raises_one_of_its_errors_for_another_type(payload: bytes) -> None:
    reader = JSON.field_reader(["v"], ["t"])
    with pytest.raises(reader.errors):
        reader.read(payload)


def test_a_deeply_nested_payload_is_an_error_and_not_a_crash() -> None:
    reader = JSON.field_reader(["v"], [])
    with pytest.raises((RecursionError, msgspec.DecodeError)):
        reader.read(b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
