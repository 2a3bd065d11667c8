"""Streams and their records: replaced, read by key and number, forgotten, and damage to them found."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stream_lstm.errors import StateCorrupt
from stream_lstm.store.checkpoint import CHUNK_ROWS, PARAMETERS_MAX, StoredRecord
from stream_lstm.store.checksum import checksum
from tests.store.entries import alter, entry, filled, opened, read_all, record


def test_a_record_replaces_the_earlier_one_of_its_stream(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    database.checkpoint([StoredRecord(1, 5, 7.0, record(11))])
    found = database.rows_of(["unknown", "a"])
    assert (found.keys, found.entries.tolist(), found.seen.tolist()) == (["a"], [5], [7.0])
    assert found.records == record(11)
    assert database.rows_by_id([9, 1]).records == record(11)
    assert database.rows_of([]).keys == []
    database.close()


def test_streams_are_read_in_chunks_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db")
    count = CHUNK_ROWS + 1
    database.commit(entry(1, new_streams=[(n, f"s{n}") for n in range(count, 0, -1)]))
    first, second = database.rows()
    assert first.ids.tolist() == list(range(1, count))
    assert second.keys == [f"s{count}"]
    database.close()


def test_more_streams_than_parameters_of_a_statement_are_read(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db")
    keys = [f"s{n}" for n in range(1, 4 * PARAMETERS_MAX)]
    database.commit(entry(1, new_streams=list(enumerate(keys, 1))))
    assert sorted(database.rows_of(keys).keys) == sorted(keys)
    database.close()


def test_streams_without_an_event_since_a_time_are_stale(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    assert database.last_seen_before(6.5, 10) == [(1, "a"), (2, "b")]
    assert database.last_seen_before(6.5, 1) == [(1, "a")]
    assert database.last_seen_before(5.0, 10) == []
    database.close()


def test_the_number_of_a_forgotten_stream_is_never_used_again(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    database.checkpoint([StoredRecord(3, 5, 7.0, record(30))])
    database.delete([1, 3])
    assert (database.streams, database.next_stream_id) == (1, 4)
    database.close()
    database = opened(tmp_path / "s.db")
    assert (database.streams, database.next_stream_id) == (1, 4)
    assert [rows.keys for rows in database.rows()] == [["b"]]
    database.commit(entry(6, new_streams=[(4, "a")]))
    assert (database.streams, database.next_stream_id) == (2, 5)
    database.close()


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE checkpoint SET record = zeroblob(16) WHERE id = 1", "record of 'a' does not match"),
        ("UPDATE checkpoint SET record = zeroblob(8) WHERE id = 1", "record of 'a' does not match"),
        ("UPDATE checkpoint SET entry = 3 WHERE id = 1", "record of 'a' does not match"),
        ("UPDATE checkpoint SET seen = 5.5 WHERE id = 1", "record of 'a' does not match"),
        ("UPDATE checkpoint SET id = 9 WHERE id = 1", "1 records belong to no stream"),
        ("UPDATE stream SET key = 'd' WHERE id = 2", "key of stream 2 does not match"),
        ("UPDATE stream SET key = CAST(x'ff' AS TEXT) WHERE id = 2", "decode to UTF-8"),
    ],
)
def test_damage_to_a_stream_is_found(tmp_path: Path, statement: str, problem: str) -> None:
    filled(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", statement)
    with pytest.raises(StateCorrupt, match=problem):
        read_all(tmp_path / "s.db")


@pytest.mark.damaged
def test_a_record_of_another_size_is_found_although_its_checksum_matches(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database.checkpoint([StoredRecord(1, 5, 7.0, b"short")])
        with pytest.raises(StateCorrupt, match="record of 'a' does not match its checksum or size"):
            database.rows_of(["a"])


@pytest.mark.damaged
@pytest.mark.parametrize(
    "damaged",
    [
        StoredRecord(1, 6, 7.0, record(1)),
        StoredRecord(1, -1, 7.0, record(1)),
        StoredRecord(1, 5, -1.0, record(1)),
        StoredRecord(1, 5, 2.0**32, record(1)),
        StoredRecord(1, 5, float("inf"), record(1)),
    ],
)
def test_a_value_out_of_range_is_found_although_its_checksum_matches(
    tmp_path: Path, damaged: StoredRecord
) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database.checkpoint([damaged])
        with pytest.raises(StateCorrupt, match="record of 'a' has a value out of range: number 1, entry"):
            database.rows_of(["a"])


@pytest.mark.damaged
@pytest.mark.parametrize("stream", [0, -1, 2**32])
def test_a_number_of_a_stream_out_of_range_is_found(tmp_path: Path, stream: int) -> None:
    filled(tmp_path / "s.db").close()
    mark = checksum(b"a", stream)
    alter(tmp_path / "s.db", f"UPDATE stream SET id = {stream}, mark = {mark} WHERE id = 1")
    with pytest.raises(StateCorrupt, match=f"out of range: number {stream}, "):
        read_all(tmp_path / "s.db")


@pytest.mark.damaged
def test_a_damaged_stream_is_not_forgotten(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database._connection.execute("UPDATE checkpoint SET seen = 1.0 WHERE id = 1")
        with pytest.raises(StateCorrupt, match="record of 'a' does not match"):
            database.last_seen_before(3.0, 10)


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM stream WHERE id = 3", "3 streams are counted, 2 are in the table"),
        ("UPDATE stream SET id = 4 WHERE id = 3", "stream 4 is not below 4"),
        ("UPDATE checkpoint SET id = 9 WHERE id = 1", "record 9 belongs to no stream"),
        ("UPDATE checkpoint SET entry = 6 WHERE id = 1", "record 1 reflects entry 6 of 5"),
        ("UPDATE checkpoint SET entry = -1 WHERE id = 1", "record 1 reflects entry -1 of 5"),
        ("UPDATE checkpoint SET record = zeroblob(8) WHERE id = 1", "record 1 has 8 bytes instead of 16"),
    ],
)
def test_validate_notices_rows_that_break_an_invariant(tmp_path: Path, statement: str, problem: str) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database._connection.execute(statement)
        with pytest.raises(AssertionError, match=problem):
            database._checkpoint.validate(database.last_entry)


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("streams", 4, "4 streams are counted, 3 are in the table"),
        ("next_stream_id", 3, "stream 3 is not below 3"),
    ],
)
def test_validate_notices_numbers_that_break_an_invariant(
    tmp_path: Path, name: str, value: Any, problem: str
) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        setattr(database._checkpoint, name, value)
        with pytest.raises(AssertionError, match=problem):
            database._checkpoint.validate(database.last_entry)
