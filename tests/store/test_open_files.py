"""Files of an open state: one that is deleted, moved, replaced, overwritten or cut ends the commits."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from stream_lstm.errors import DiskFailed, StateCorrupt, StateLost
from stream_lstm.store import snapshot
from stream_lstm.store.database import Database
from stream_lstm.store.open_files import OpenFiles, close_all, written_to
from tests.store.entries import entry, filled, numbers, opened

pytestmark = pytest.mark.damaged  # the invariants cannot be read from a file that is gone


def owned(folder: Path, *, checkpointed: bool = True) -> Database:
    """An owner's state with entries 1 to 5; with `checkpointed`, the next one goes to the log's start."""
    folder.mkdir(exist_ok=True)
    database = filled(folder / "s.db")
    if checkpointed:
        database.checkpoint_wal()
    return database


def log_of(database: Database) -> Path:
    return Path(f"{database.path}-wal")


def reopened(path: Path) -> list[int]:
    with closing(opened(path)) as database:
        return numbers(database)


def test_a_commit_into_a_deleted_file_is_an_error_and_no_file_is_made(tmp_path: Path) -> None:
    database = owned(tmp_path)
    database.commit(entry(6))
    database.path.unlink()
    with pytest.raises(StateLost, match=r"commit .*s\.db: was deleted or moved .*; move it back or restore"):
        database.commit(entry(7))
    with pytest.raises(StateLost, match="was deleted or moved"):
        database.checkpoint_wal()
    database.close()
    assert not database.path.exists()


def test_a_missing_file_beside_its_log_is_not_made_anew(tmp_path: Path) -> None:
    database = owned(tmp_path)
    database.commit(entry(6))
    database.path.rename(tmp_path / "away")
    database.close()
    for _ in range(2):
        with pytest.raises(
            StateCorrupt, match=r"is missing or empty, but its write-ahead log .*s\.db-wal is"
        ):
            opened(database.path)
    database.path.write_bytes(b"")
    with pytest.raises(StateCorrupt, match="remove the log to start without memory"):
        opened(database.path)
    (tmp_path / "away").rename(database.path)
    assert reopened(database.path) == [1, 2, 3, 4, 5, 6]


def test_a_moved_folder_is_noticed_and_loses_nothing_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = owned(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    relative = opened(Path("t.db"))
    (tmp_path / "here").rename(tmp_path / "there")
    for each in (database, relative):
        with pytest.raises(StateLost, match=r"/here/[st]\.db: was deleted or moved"):
            each.verify_files()
        each.close()
    (tmp_path / "there").rename(tmp_path / "here")
    assert reopened(database.path) == [1, 2, 3, 4, 5]


def copied(database: Database) -> Path:
    """A snapshot of the state."""
    copy = database.path.with_name("copy.db")
    snapshot.take(database.path, copy)
    return copy


@pytest.mark.parametrize("place", [os.replace, shutil.copyfile], ids=["renamed over it", "written into it"])
def test_another_file_in_its_place_is_noticed_and_is_the_next_starts_state(
    tmp_path: Path, place: Callable[[Path, Path], object]
) -> None:
    database = owned(tmp_path, checkpointed=False)
    copy = copied(database)
    content = copy.read_bytes()
    database.commit(entry(6))
    place(copy, database.path)
    with pytest.raises(
        StateLost, match=r"was (replaced|overwritten) .* former content is now .*-wal\.2\d+T\d+Z"
    ):
        database.commit(entry(7))
    with pytest.raises(StateLost, match="start again to use the new content"):
        database.verify_files()
    database.close()
    assert database.path.read_bytes() == content
    assert not log_of(database).exists()  # SQLite would apply it to the new file
    assert reopened(database.path) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("size", [0, 60, 4_096, 9_000])
def test_a_cut_file_is_noticed_and_not_written_to(tmp_path: Path, size: int) -> None:
    database = owned(tmp_path)
    database.commit(entry(6))
    os.truncate(database.path, size)
    with pytest.raises(StateLost, match=rf"was cut from \d+ to {size} bytes|was overwritten"):
        database.commit(entry(7))
    database.close()
    assert database.path.stat().st_size == size or not size
    with pytest.raises(StateCorrupt):
        opened(database.path)


@pytest.mark.parametrize("checkpointed", [True, False])
def test_a_deleted_log_is_noticed_and_loses_nothing(tmp_path: Path, checkpointed: bool) -> None:
    database = owned(tmp_path, checkpointed=checkpointed)
    database.commit(entry(6))
    log_of(database).unlink()
    with pytest.raises(StateLost, match=r"s\.db-wal: was deleted or moved .*; start again"):
        database.commit(entry(7))
    database.close()
    assert reopened(database.path)[:6] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("cut", [0, 31, 33, 32 + 4_120])
def test_a_cut_log_is_noticed_before_the_next_commit_extends_it(tmp_path: Path, cut: int) -> None:
    database = owned(tmp_path)
    database.commit(entry(6))
    database.commit(entry(7))
    size = log_of(database).stat().st_size
    os.truncate(log_of(database), cut)
    for _ in range(2):
        with pytest.raises(StateLost, match=r"s\.db-wal: was cut to \d+ bytes"):
            database.commit(entry(8))
    assert log_of(database).stat().st_size < size
    database.close()
    assert reopened(database.path)[:5] == [1, 2, 3, 4, 5]  # those that were copied from it


def test_a_deleted_or_cut_index_is_noticed(tmp_path: Path) -> None:
    with closing(owned(tmp_path)) as database:
        index = Path(f"{database.path}-shm")
        index.rename(tmp_path / "away")
        with pytest.raises(StateLost, match=r"s\.db-shm: was deleted or moved"):
            database.verify_files()
        (tmp_path / "away").rename(index)
        database.verify_files()
        index.rename(tmp_path / "away")
        shutil.copyfile(tmp_path / "away", index)
        with pytest.raises(StateLost, match=r"s\.db-shm: was replaced"):
            database.verify_files()


def test_a_path_that_cannot_be_read_is_a_failed_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(owned(tmp_path)) as database:

        def denied(path: str) -> os.stat_result:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr("stream_lstm.store.open_files.os.stat", denied)
            with pytest.raises(DiskFailed, match="Permission denied"):
                database.commit(entry(6))


def test_checkpoints_and_vacuum_of_another_program_are_no_fault(tmp_path: Path) -> None:
    with closing(owned(tmp_path)) as database:
        database.commit(entry(6, digests=5_000))
        database.checkpoint_wal()
        grown = database.path.stat().st_size
        with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
            other.execute("DELETE FROM journal WHERE number < 6")
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                other.execute(statement)
                database.verify_files()
        assert log_of(database).stat().st_size == 0
        assert database.path.stat().st_size <= grown
        database.commit(entry(7))
        database.verify_files()


def test_log_and_index_take_the_mode_of_the_state_file(tmp_path: Path) -> None:
    umask = os.umask(0o000)
    try:
        database = owned(tmp_path)
        beside = [Path(f"{database.path}{end}") for end in ("-wal", "-shm")]
        assert {path.stat().st_mode & 0o777 for path in beside} == {0o600}
        database.path.chmod(0o640)
        database.verify_files()
        assert {path.stat().st_mode & 0o777 for path in beside} == {0o640}
        for end in ("", "-wal", "-shm"):
            shutil.copyfile(
                f"{database.path}{end}", tmp_path / f"t.db{end}"
            )  # as a kill leaves them, mode 0666
        database.close()
        (tmp_path / "t.db").chmod(0o600)
        with closing(opened(tmp_path / "t.db")) as database:
            assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("t.db*")} == {0o600}
    finally:
        os.umask(umask)


def test_modes_that_only_another_user_may_change_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(owned(tmp_path)) as database:
        database.path.chmod(0o640)

        def denied(descriptor: int, mode: int) -> None:
            raise PermissionError(1, "Operation not permitted")

        with monkeypatch.context() as patched:
            patched.setattr("stream_lstm.store.open_files.os.fchmod", denied)
            database.verify_files()
        assert log_of(database).stat().st_mode & 0o777 == 0o600


def unowned(folder: Path) -> tuple[Path, OpenFiles, list[int]]:
    """Files as a kill leaves them, which no connection has open."""
    database = owned(folder)
    database.commit(entry(6))
    for end in ("", "-wal", "-shm"):
        shutil.copyfile(f"{database.path}{end}", folder / f"t.db{end}")
    database.close()
    descriptors = [os.open(folder / "t.db", os.O_RDONLY)]
    return folder / "t.db", OpenFiles(folder / "t.db", descriptors), descriptors


def test_a_cut_index_is_noticed(tmp_path: Path) -> None:
    path, files, descriptors = unowned(tmp_path)
    files.verify_all("check")
    os.truncate(f"{path}-shm", 0)
    os.truncate(f"{path}-wal", 100)
    with pytest.raises(StateLost, match=r"t\.db-shm: was cut"):
        files.verify_log("check")
    close_all(descriptors)


def test_a_log_that_another_program_empties_between_two_reads_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, files, descriptors = unowned(tmp_path)
    files.verify_all("check")
    os.truncate(f"{path}-wal", 0)
    found = iter([(4_096, 3, 7), (4_096, 0, 7)])
    monkeypatch.setattr(files, "_read_index", lambda: next(found))
    files.verify_log("check")
    close_all(descriptors)


def test_a_file_system_that_gives_an_open_file_another_number_is_no_fault(tmp_path: Path) -> None:
    _, files, descriptors = unowned(tmp_path)
    files._file = files._file._replace(identity=(0, 0))
    files.verify("check")
    close_all(descriptors)


def test_a_file_replaced_together_with_its_log_keeps_that_log(tmp_path: Path) -> None:
    path, files, descriptors = unowned(tmp_path)
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}{end}", tmp_path / "copy")
        (tmp_path / "copy").rename(f"{path}{end}")
    with pytest.raises(StateLost, match="was replaced by another file") as raised:
        files.verify("check")
    assert "former" not in str(raised.value)
    assert Path(f"{path}-wal").exists()
    close_all(descriptors)


def test_an_error_that_is_not_sqlites_is_not_replaced(tmp_path: Path) -> None:
    path, files, descriptors = unowned(tmp_path)
    path.unlink()
    with pytest.raises(KeyboardInterrupt), written_to(files, "commit"):
        raise KeyboardInterrupt
    close_all(descriptors)


def test_files_opened_to_read_are_not_verified(tmp_path: Path) -> None:
    owned(tmp_path).close()
    with closing(Database.open_read_only(tmp_path / "s.db")) as reader:
        (tmp_path / "s.db").rename(tmp_path / "away")
        reader.verify_files()


def test_a_link_to_the_state_file_is_followed(tmp_path: Path) -> None:
    owned(tmp_path / "real").close()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "real" / "s.db")
    database = opened(link)
    database.commit(entry(6))
    link.unlink()
    with pytest.raises(StateLost, match=r"link\.db: was deleted or moved"):
        database.commit(entry(7))
    database.close()
    assert reopened(tmp_path / "real" / "s.db")[:6] == [1, 2, 3, 4, 5, 6]
