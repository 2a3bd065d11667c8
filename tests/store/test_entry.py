"""Encoding of journal entries: decoded as encoded, and any damage found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.errors import StateCorrupt
from stream_lstm.store.entry import Rejection, decode, encode
from tests.store.entries import entry, same

REJECTED = st.builds(
    Rejection,
    st.text(max_size=5),
    st.binary(max_size=9),
    st.just("malformed"),
    st.text(max_size=5),
    st.floats(0, 2e9),
)


@given(
    number=st.integers(1, 2**40),
    events=st.integers(0, 20),
    digests=st.integers(0, 20),
    features=st.integers(1, 4),
    new_streams=st.lists(st.tuples(st.integers(1, 2**31), st.text(max_size=9)), max_size=4),
    rejected=st.lists(REJECTED, max_size=3),
)
def test_a_decoded_entry_equals_the_encoded_one(
    number: int,
    events: int,
    digests: int,
    features: int,
    new_streams: list[tuple[int, str]],
    rejected: list[Rejection],
) -> None:
    made = entry(
        number,
        events=events,
        digests=digests,
        features=features,
        new_streams=new_streams,
        rejected=rejected,
    )
    assert same(decode(number, encode(made), path="x"), made)


def test_every_flipped_bit_is_found() -> None:
    blob = encode(entry(7, new_streams=[(1, "a")]))
    for bit in range(len(blob) * 8):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StateCorrupt, match="journal entry 7"):
            decode(7, bytes(damaged), path="x")


def test_every_truncation_is_found() -> None:
    blob = encode(entry(7))
    for length in range(len(blob)):
        with pytest.raises(StateCorrupt):
            decode(7, blob[:length], path="x")


def test_an_entry_under_another_number_is_rejected() -> None:
    with pytest.raises(StateCorrupt):
        decode(8, encode(entry(7)), path="x")


def test_an_event_of_one_feature_takes_37_bytes_with_its_digests() -> None:
    few, many = (len(encode(entry(1, events=n, digests=n))) for n in (100, 1_100))
    assert (many - few) / 1_000 == 37


def signed(number: int, body: bytes) -> bytes:
    """A body with the checksum that it must have."""
    return xxhash.xxh3_64_intdigest(body, number).to_bytes(8, "little") + body


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda body: b"\x02" + body[1:], "cannot be decoded: it has version 2"),
        (lambda body: body[:1] + b"\xff\xff\xff\x7f" + body[5:], "cannot be decoded"),  # more events
        (lambda body: body[:-1], "cannot be decoded"),
        (lambda body: body[:13] + (8).to_bytes(8, "little") + body[21:], "names entries after it"),
        (lambda body: body[:21] + (8).to_bytes(8, "little") + body[29:], "names entries after it"),
    ],
)
def test_an_entry_that_cannot_be_is_found_although_its_checksum_matches(
    change: Callable[[bytes], bytes], problem: str
) -> None:
    with pytest.raises(StateCorrupt, match=f"journal entry 7 {problem}"):
        decode(7, signed(7, change(encode(entry(7))[8:])), path="x")
