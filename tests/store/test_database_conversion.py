"""Opening a state file of an earlier record layout: all its records are converted, or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream_lstm.errors import StateError, StateMismatch
from stream_lstm.store.database import Database
from stream_lstm.store.files import FormerLayout, Identity
from tests.store.entries import IDENTITY, filled, record
from tests.store.failing import FAULTS, FailingDisk, sqlite_error

WIDE = Identity(model="m:1", row="fields=wide", row_bytes=24)


def widened(records: bytes) -> bytes:
    """Each record of 16 bytes, with 8 bytes more, of which the last is 1."""
    return b"".join(records[n : n + 16] + bytes(7) + b"\1" for n in range(0, len(records), 16))


FORMER = FormerLayout(IDENTITY.row, 16, widened)


def wide(path: Path, identity: Identity = WIDE, former: FormerLayout = FORMER) -> Database:
    return Database.open(path, identity, former=[former])


def test_every_record_is_converted_once(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    database = wide(tmp_path / "s.db")
    assert (database.converted, database.identity, database.last_entry) == (2, WIDE, 5)
    (rows,) = database.rows()
    assert rows.records == widened(record(10) + record(20)) + bytes(24)  # the third has no record yet
    assert rows.entries.tolist() == [2, 3, 0]
    assert rows.seen.tolist() == [5.0, 6.0, 0.0]
    database.close()
    again = wide(tmp_path / "s.db")
    assert (again.converted, next(again.rows()).records) == (0, rows.records)
    again.close()


@pytest.mark.parametrize(
    ("identity", "former"),
    [
        (WIDE, FORMER._replace(row="another")),
        (WIDE, FORMER._replace(row_bytes=17)),
        (replace(WIDE, model="m:2"), FORMER),
    ],
)
def test_a_file_of_another_layout_or_model_is_rejected_and_kept(
    tmp_path: Path, identity: Identity, former: FormerLayout
) -> None:
    filled(tmp_path / "s.db").close()
    before = (tmp_path / "s.db").read_bytes()
    with pytest.raises(StateMismatch):
        wide(tmp_path / "s.db", identity, former)
    assert (tmp_path / "s.db").read_bytes() == before


@pytest.mark.parametrize(("code", "name", "kind"), FAULTS, ids=[name for _, name, _ in FAULTS])
@pytest.mark.parametrize(
    "start", ["BEGIN", "INSERT OR REPLACE INTO checkpoint", "INSERT OR REPLACE INTO meta"]
)
def test_a_failed_conversion_changes_nothing_and_the_next_start_repeats_it(
    tmp_path: Path, start: str, code: int, name: str, kind: type[StateError]
) -> None:
    filled(tmp_path / "s.db").close()
    disk = FailingDisk()
    disk.fail(start, sqlite_error(code, name))
    with pytest.raises(kind):
        Database.open(tmp_path / "s.db", WIDE, former=[FORMER], connect=disk.connect)
    unchanged = Database.open(tmp_path / "s.db", IDENTITY)
    assert next(unchanged.rows()).records == record(10) + record(20) + bytes(16)
    unchanged.close()
    database = wide(tmp_path / "s.db")
    assert database.converted == 2
    database.close()


def test_more_records_than_are_read_at_once_are_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_lstm.store.checkpoint.CHUNK_ROWS", 1)
    filled(tmp_path / "s.db").close()
    database = wide(tmp_path / "s.db")
    assert database.converted == 2
    records = b"".join(rows.records for rows in database.rows())
    assert np.frombuffer(records, np.uint8)[23::24].tolist() == [1, 1, 0]
    database.close()
