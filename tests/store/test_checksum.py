"""Checksums: which differ, and that SQLite can hold them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.store.checksum import checksum

STREAMS = st.integers(1, 2**32 - 1)
ENTRIES = st.integers(0, 2**40)


@given(content=st.binary(min_size=1, max_size=40), stream=STREAMS, entry=ENTRIES, bit=st.integers(0, 319))
def test_a_flipped_bit_changes_the_checksum(content: bytes, stream: int, entry: int, bit: int) -> None:
    damaged = bytearray(content)
    damaged[bit // 8 % len(content)] ^= 1 << bit % 8
    assert checksum(bytes(damaged), stream, entry) != checksum(content, stream, entry)


@given(content=st.binary(max_size=40), stream=STREAMS, entry=ENTRIES)
def test_another_streams_or_entrys_checksum_differs(content: bytes, stream: int, entry: int) -> None:
    ours = checksum(content, stream, entry)
    assert checksum(content, stream + 1, entry) != ours
    assert checksum(content, stream, entry + 1) != ours


@given(content=st.binary(max_size=40), stream=STREAMS, entry=ENTRIES)
def test_a_checksum_fits_a_signed_integer_of_64_bits(content: bytes, stream: int, entry: int) -> None:
    assert 0 <= checksum(content, stream, entry) < 2**63


def test_checksums_in_state_files_stay_valid() -> None:
    assert [checksum(b"a", 1), checksum(b"", 2, 3)] == [8601871654795158786, 8492710680494072192]
