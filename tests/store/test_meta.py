"""Table `meta`: no change of it is silent, and no value is taken that cannot be."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from stream_lstm.errors import StateCorrupt, StateError
from stream_lstm.store import meta, snapshot
from stream_lstm.store.database import Database
from tests.store.entries import alter, filled, opened


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM meta WHERE name = 'model'", "incomplete or damaged: 'model'"),
        ("UPDATE meta SET value = 'x' WHERE name = 'horizon'", "'x' is not a number from 1"),
        ("UPDATE meta SET value = 17 WHERE name = 'horizon'", "recovery needs those from 17 on"),
        ("UPDATE meta SET value = 9223372036854775807 WHERE name = 'horizon'", "is not a number from 1"),
        ("UPDATE meta SET value = 0 WHERE name = 'row_bytes'", "'0' is not a number from 1"),
        ("UPDATE meta SET value = x'00' WHERE name = 'model'", "is not text"),
        ("INSERT INTO meta VALUES ('next_stream', 1000000000000)", "is not a number from 1 to 4294967296"),
        ("INSERT INTO meta VALUES ('clean', 6)", "closed after entry 6, which its journal lacks"),
        ("INSERT INTO meta VALUES ('filters', '[1, 2, {}]')", "1 is not text"),
        ("INSERT INTO meta VALUES ('filters', '{}')", "filters are not a list"),
        (f"INSERT INTO meta VALUES ('filters', '{'[' * 9_000}')", "incomplete or damaged"),
        ("INSERT INTO meta VALUES ('filters', 5)", "5 is not text"),
        ("UPDATE meta SET value = 'ab' WHERE name = 'key'", "its key is too short"),
        ("UPDATE meta SET value = 'x' WHERE name = 'key'", "non-hexadecimal"),
        ("UPDATE meta SET value = -1 WHERE name = 'started_ms'", "is not a number from 0"),
        ("DELETE FROM meta WHERE name = 'name'", "incomplete or damaged: 'name'"),
    ],
)
def test_damage_to_the_table_meta_is_found(tmp_path: Path, statement: str, problem: str) -> None:
    filled(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", statement)
    with pytest.raises(StateCorrupt, match=problem):
        opened(tmp_path / "s.db")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = 5 WHERE name = 'horizon'",
        "INSERT INTO meta VALUES ('next_stream', 17)",
        "INSERT INTO meta VALUES ('filters', '[\"a\"]')",
        "UPDATE meta SET name = 'cleam' WHERE name = 'horizon'",
        "UPDATE meta SET value = 1 WHERE name = 'checksum'",
        "DELETE FROM meta WHERE name = 'checksum'",
    ],
)
def test_a_change_of_the_table_meta_is_found_by_its_checksum(tmp_path: Path, statement: str) -> None:
    filled(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", statement, signed=False)
    with pytest.raises(StateCorrupt, match="does not match its checksum"):
        opened(tmp_path / "s.db")
    with pytest.raises(StateCorrupt, match="does not match its checksum"):
        Database.open_read_only(tmp_path / "s.db")


def noted(path: Path) -> tuple[object, ...]:
    with closing(opened(path)) as database:
        kept = database.horizon, database.next_stream_id, database.filters, database.closed_cleanly
        return database.identity, kept, database.last_entry


@pytest.mark.damaged
def test_no_byte_of_the_table_meta_changes_in_silence(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database.note_filters(["plant/#", "home/+"])
        database.delete([3])
        database.trim(2)
        database.close_cleanly()
    content, before, refused = (tmp_path / "s.db").read_bytes(), noted(tmp_path / "s.db"), 0
    page = next(n for n in range(0, len(content), 4_096) if b"plant/#" in content[n : n + 4_096])
    for at in range(page, page + 4_096):
        if not content[at]:
            continue  # unused; a byte that is in use is 0 in few places
        changed = bytearray(content)
        changed[at] ^= 0xFF
        (tmp_path / "s.db").write_bytes(changed)
        try:
            assert noted(tmp_path / "s.db") == before, at
        except StateError as error:
            refused += bool(error.hint)
    assert refused > 150


def test_a_file_of_format_1_gets_its_checksum_from_its_owner(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", "DELETE FROM meta WHERE name = 'checksum'", signed=False)
    alter(tmp_path / "s.db", "PRAGMA user_version = 1")
    with closing(Database.open_read_only(tmp_path / "s.db")) as reader:
        assert reader.last_entry == 5
    opened(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", "UPDATE meta SET value = 5 WHERE name = 'horizon'", signed=False)
    with pytest.raises(StateCorrupt, match="does not match its checksum"):
        opened(tmp_path / "s.db")


def test_starts_rise_whatever_the_clock_does_and_keep_name_and_key(tmp_path: Path) -> None:
    starts = []
    for now in (1.5, 1.5, 1.0, 2.0, 1e300):
        with closing(opened(tmp_path / "s.db")) as database:
            before = database.owner
            owner = database.start_run(now)
            database.validate()
            assert before is not None
            assert owner._replace(started_ms=0) == before._replace(started_ms=0)
            starts.append(owner.started_ms)
    assert starts == [1_500, 1_501, 1_502, 2_000, meta.MILLISECONDS_MAX]
    assert len(owner.name) == 8


def test_a_file_that_was_never_started_gets_a_key_and_keeps_its_client_id(tmp_path: Path) -> None:
    """As one of version 0.1, whose service had a client id without a name."""
    opened(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", "DELETE FROM meta WHERE name IN ('name', 'key', 'started_ms')")
    with closing(opened(tmp_path / "s.db")) as database:
        assert database.owner is None
        owner = database.start_run(5.0)
        assert (owner.name, len(owner.key), owner.started_ms) == ("", 32, 5_000)
    with closing(opened(tmp_path / "s.db")) as database:
        assert database.owner == owner


def test_two_files_have_two_names_and_keys_and_a_snapshot_has_its_files(tmp_path: Path) -> None:
    owners = []
    for name in "ab":
        with closing(opened(tmp_path / name)) as database:
            owners.append(database.start_run(1.0))
    assert owners[0].name != owners[1].name
    assert owners[0].key != owners[1].key
    snapshot.take(tmp_path / "a", tmp_path / "copy")
    snapshot.restore(tmp_path / "copy", tmp_path / "c", replace=False)
    with closing(opened(tmp_path / "c")) as database:
        assert database.owner == owners[0]
