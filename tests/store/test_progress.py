"""Progress between two commits: found by the next start, and never that of another file or time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stream_lstm.store import progress, snapshot
from stream_lstm.store.database import Database
from stream_lstm.store.progress import Progress
from tests.store.entries import alter, entry, filled, opened


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Database]:
    """Five entries, of which the last one says that 4 are published and 3 acknowledged."""
    with closing(filled(tmp_path / "s.db")) as database:
        database.start_run(1_000.0)
        yield database


def known(path: Path) -> Progress:
    with closing(opened(path)) as database:
        return Progress(database.published_through, database.acked_through)


def test_the_next_start_knows_what_was_noted(started: Database) -> None:
    started.note_progress(Progress(5, 4))
    started.close()
    assert known(started.path) == (5, 4)


def test_a_start_keeps_what_the_last_run_has_noted(started: Database) -> None:
    started.note_progress(Progress(5, 5))
    started.close()
    with closing(opened(started.path)) as database:
        database.start_run(2_000.0)  # and is killed
    assert known(started.path) == (5, 5)


def test_what_is_noted_is_never_less_than_the_entries_and_never_more_than_there_is(started: Database) -> None:
    started.note_progress(Progress(0, 0))
    started.close()
    assert known(started.path) == (4, 3)
    with closing(opened(started.path)) as database:
        database.start_run(2_000.0)
        database.note_progress(Progress(2**60, 2**60))
    assert known(started.path) == (5, 5)


def test_the_note_of_another_run_does_not_count(started: Database, tmp_path: Path) -> None:
    """As after a copy of the file was put back, but not its lock file."""
    snapshot.take(started.path, tmp_path / "copy.db")
    started.close()
    with closing(opened(started.path)) as database:
        database.start_run(2_000.0)
        database.commit(entry(6))
        database.note_progress(Progress(6, 6))
    shutil.copy(tmp_path / "copy.db", started.path)
    assert known(started.path) == (4, 3)


@pytest.mark.parametrize("at", range(32))
def test_no_byte_of_the_note_changes_in_silence(started: Database, at: int) -> None:
    started.note_progress(Progress(5, 5))
    started.close()
    lock = Path(f"{started.path}.lock")
    content = bytearray(lock.read_bytes())
    assert len(content) == 32
    content[at] ^= 1
    lock.write_bytes(content)
    assert known(started.path) == (4, 3)


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_note_that_is_cut_off_does_not_count(started: Database, length: int) -> None:
    started.note_progress(Progress(5, 5))
    started.close()
    os.truncate(f"{started.path}.lock", length)
    assert known(started.path) == (4, 3)


def test_a_file_that_was_never_started_notes_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    alter(
        tmp_path / "s.db", "DELETE FROM meta WHERE name IN ('name', 'key', 'started_ms')"
    )  # as of version 0.1
    with closing(opened(tmp_path / "s.db")) as database:
        database.note_progress(Progress(5, 5))
    assert known(tmp_path / "s.db") == (4, 3)
    with closing(Database.open_read_only(tmp_path / "s.db")) as database:
        database.note_progress(Progress(5, 5))
    assert known(tmp_path / "s.db") == (4, 3)


def test_a_note_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    place = tmp_path / "lock"
    place.touch()
    lock = os.open(place, os.O_RDONLY)
    try:
        progress.write(lock, 1, Progress(1, 1))
        assert progress.read(lock, 1) == (0, 0)
    finally:
        os.close(lock)
