"""The write-ahead log: restarted by a checkpoint, read up to a torn end, rejected if damaged before it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_lstm.errors import StateCorrupt, StateError
from stream_lstm.store.wal import wal_bytes
from tests.store.entries import entry, filled, opened, same

COMMITS = 30
HEADER, FRAME = 32, 24 + 4_096


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state file and its log as a kill leaves them: entries 6 to 35 are in the log."""
    live = filled(tmp_path_factory.mktemp("live") / "s.db")
    live.checkpoint_wal()
    for number in range(6, 6 + COMMITS):
        live.commit(entry(number))
    folder = tmp_path_factory.mktemp("crashed")
    for end in ("", "-wal"):
        shutil.copy(f"{live.path}{end}", folder / f"s.db{end}")
    yield folder
    live.validate()
    live.close()


def flipped(crashed: Path, folder: Path, at: int, bit: int = 0) -> Path:
    """A copy with one bit of the log flipped."""
    for end in ("", "-wal"):
        shutil.copy(crashed / f"s.db{end}", folder / f"s.db{end}")
    log = bytearray((folder / "s.db-wal").read_bytes())
    log[at] ^= 1 << bit
    (folder / "s.db-wal").write_bytes(log)
    return folder / "s.db"


def last_entry(path: Path) -> int:
    """The last entry that can be read, after all of them were compared with what was committed."""
    with closing(opened(path)) as database:
        last = database.last_entry
        assert all(same(e, entry(e.number)) for e in database.entries(6))
        return last


def commits(path: Path) -> list[int]:
    """Offset at which each commit of a log ends."""
    log = path.read_bytes()
    return [at + FRAME for at in range(HEADER, len(log), FRAME) if log[at + 4 : at + 8] != bytes(4)]


def test_the_log_restarts_after_a_checkpoint(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db")
    for number in range(1, 60):
        database.commit(entry(number, events=500))
    grown = database.wal_bytes
    database.checkpoint_wal()
    database.commit(entry(60))
    assert database.wal_bytes == grown
    assert database.size_bytes > grown
    for number in range(61, 70):
        database.commit(entry(number))
    assert database.wal_bytes == grown  # written from its beginning again
    database.close()
    assert database.wal_bytes == 0


def test_a_file_without_a_log_has_a_log_of_size_0(tmp_path: Path) -> None:
    assert wal_bytes(tmp_path / "s.db") == 0


def test_a_log_that_a_crash_left_is_read_to_its_end(crashed: Path, tmp_path: Path) -> None:
    log = crashed / "s.db-wal"
    assert len(commits(log)) >= COMMITS
    for end in ("", "-wal"):
        shutil.copy(crashed / f"s.db{end}", tmp_path)
    assert last_entry(tmp_path / "s.db") == 5 + COMMITS


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(place=0.0, bit=0)
def test_a_flipped_bit_loses_no_more_than_the_last_commits_or_is_found(
    crashed: Path, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    size = (crashed / "s.db-wal").stat().st_size
    at = int(place * size)
    path = flipped(crashed, tmp_path_factory.mktemp("flip"), at, bit)
    ends = commits(crashed / "s.db-wal")
    try:
        last = last_entry(path)
    except StateError:
        return
    assert last == 5 + COMMITS or at >= ends[-3]


@pytest.mark.parametrize("at", [*range(HEADER), HEADER + 5, HEADER + 9, HEADER + 20, HEADER + 500])
def test_a_damaged_log_is_rejected_until_it_is_moved_away(crashed: Path, tmp_path: Path, at: int) -> None:
    path = flipped(crashed, tmp_path, at)
    before = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    for _ in range(2):
        with pytest.raises(StateCorrupt, match=r"after the damage cannot be read; .* move .*-wal away"):
            opened(path)
        assert (path.read_bytes(), Path(f"{path}-wal").read_bytes()) == before
    Path(f"{path}-wal").rename(tmp_path / "away")
    assert last_entry(path) == 5


@pytest.mark.parametrize("cut", [0, 10, HEADER, HEADER + 100, -FRAME - 100, -1])
def test_a_log_with_a_torn_end_is_read_up_to_it(crashed: Path, tmp_path: Path, cut: int) -> None:
    path = flipped(crashed, tmp_path, 0)
    whole = (crashed / "s.db-wal").read_bytes()
    Path(f"{path}-wal").write_bytes(whole[:cut])
    there = sum(end <= len(whole[:cut]) for end in commits(crashed / "s.db-wal"))
    assert last_entry(path) == 5 + there


def test_frames_from_before_the_log_restarted_are_no_damage(crashed: Path, tmp_path: Path) -> None:
    for end in ("", "-wal"):
        shutil.copy(crashed / f"s.db{end}", tmp_path)
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as reader:  # keeps the log from being removed
        reader.execute("SELECT count(*) FROM meta").fetchone()
        database = opened(path)
        database.checkpoint_wal()
        database.commit(entry(6 + COMMITS))  # over the beginning of the log
        copies = {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal")}
        database.close()
    (tmp_path / "copy").mkdir()
    for end, content in copies.items():
        (tmp_path / "copy" / f"s.db{end}").write_bytes(content)
    assert last_entry(tmp_path / "copy" / "s.db") == 6 + COMMITS
    torn = bytearray(copies["-wal"])
    torn[20] ^= 0xFF  # a torn header, before frames of the log's earlier use
    torn[HEADER + 9] ^= 0xFF
    for end in ("", "-wal"):
        (tmp_path / "copy" / f"s.db{end}").write_bytes(torn if end else copies[""])
    assert last_entry(tmp_path / "copy" / "s.db") == 5 + COMMITS


def test_without_fsync_damage_before_the_end_is_not_rejected(crashed: Path, tmp_path: Path) -> None:
    path = flipped(crashed, tmp_path, HEADER + 500)
    with closing(opened(path, fsync=False)) as database:
        assert database.last_entry == 5


def test_a_log_that_grew_while_the_file_was_read_is_cut_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_lstm.store.files.WAL_KEPT_BYTES", 40_000)
    with closing(filled(tmp_path / "s.db")) as database:
        database.checkpoint_wal()
        with closing(sqlite3.connect(database.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM journal").fetchone()
            for number in range(6, 46):
                database.commit(entry(number))
                database.checkpoint_wal()
            assert database.wal_bytes > 100_000  # held back
        database.checkpoint_wal()
        database.commit(entry(46))
        assert database.wal_bytes <= 40_000
        database.validate()
