"""The journal: entries without a gap, trimmed only as far as recovery, the dedup window and history allow."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.errors import StateCorrupt
from stream_lstm.store import meta
from stream_lstm.store.database import Database
from stream_lstm.store.journal import TRIM_ENTRIES_MAX, WindowEntries
from tests.store.entries import alter, entry, filled, numbers, opened, read_all


@pytest.mark.parametrize("number", [0, 1, 3, 7])
def test_an_entry_that_does_not_follow_the_last_one_is_rejected(tmp_path: Path, number: int) -> None:
    database = opened(tmp_path / "s.db")
    database.commit(entry(1))
    with pytest.raises(ValueError, match=f"entry {number} does not follow entry 1"):
        database.commit(entry(number))
    database.close()


def test_the_journal_is_trimmed_up_to_the_entry_that_every_record_reflects(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db", window_messages=0)
    for number in range(1, 11):
        database.commit(entry(number, digests=0))
    assert database.trim(6) == 6
    assert numbers(database) == [7, 8, 9, 10]
    assert database.horizon == 7
    assert database.trim(6) == 0
    assert database.trim(10) == 3
    assert numbers(database) == [10]
    database.close()
    again = opened(tmp_path / "s.db")
    assert again.horizon == 11
    again.close()


def test_the_predictions_of_trimmed_entries_count_as_published(tmp_path: Path) -> None:
    database = filled(tmp_path / "s.db")
    database.trim(5)
    database.close()
    database = opened(tmp_path / "s.db")
    assert (database.published_through, database.last_entry) == (5, 5)
    database.close()


def test_entries_of_the_dedup_window_are_kept(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db", window_messages=5)
    for number in range(1, 11):
        database.commit(entry(number, digests=2 * (number % 2)))
    database.trim(10)
    assert numbers(database) == [5, 6, 7, 8, 9, 10]
    database.close()
    again = opened(tmp_path / "s.db", window_messages=5)
    again.commit(entry(11, digests=2))
    again.trim(10)
    assert numbers(again) == [7, 8, 9, 10, 11]
    again.close()
    narrower = opened(tmp_path / "s.db", window_messages=2)
    narrower.trim(10)
    assert numbers(narrower) == [11]
    narrower.close()


@given(counts=st.lists(st.integers(0, 5), max_size=20), messages_min=st.integers(0, 20))
def test_the_dedup_window_holds_the_fewest_newest_entries_with_enough_messages(
    counts: list[int], messages_min: int
) -> None:
    kept = [(number, messages) for number, messages in enumerate(counts, 1) if messages]
    appended = WindowEntries(messages_min)
    for number, messages in enumerate(counts, 1):
        appended.append(number, messages)
    appended.validate(kept)
    fewest = [
        number
        for n, (number, _) in enumerate(kept)
        if sum(messages for _, messages in kept[n + 1 :]) < messages_min
    ]
    assert appended.first == WindowEntries(messages_min, reversed(kept)).first == min(fewest, default=None)


def test_history_is_kept_for_its_time_and_size(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db", window_messages=0)
    for number in range(1, 11):
        database.commit(entry(number, digests=0, times=np.full(3, 100.0 * number)))
    assert database.trim(10, before=400.0, bytes_max=10**9) == 3
    assert numbers(database)[0] == 4
    assert database.trim(10, before=400.0, bytes_max=300) > 0
    assert numbers(database)[-1] == 10
    database.close()


def test_a_long_journal_is_trimmed_in_parts(tmp_path: Path) -> None:
    database = opened(tmp_path / "s.db", window_messages=0, fsync=False)
    for number in range(1, TRIM_ENTRIES_MAX + 12):
        database.commit(entry(number, events=0, digests=0))
    removed = []
    while count := database.trim(database.last_entry):
        removed.append(count)
    assert removed == [TRIM_ENTRIES_MAX, 10]
    database.close()


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE journal SET blob = zeroblob(99) WHERE number = 2", "journal entry 2 does not match"),
        ("UPDATE journal SET number = 9 WHERE number = 5", "journal entry 9 does not match"),
        ("DELETE FROM journal WHERE number = 3", "journal entry 3 is missing"),
        ("DELETE FROM journal WHERE number < 3", "has entries 3 to 5, and recovery needs those from 1 on"),
        ("UPDATE journal SET number = number - 2", "journal entry 3 does not match"),
        ("UPDATE journal SET time = time + 1 WHERE number = 2", "entry 2 does not match its columns"),
        ("UPDATE journal SET messages = 3 WHERE number = 4", "entry 4 does not match its columns"),
        ("UPDATE journal SET messages = 0 WHERE number = 5", "entry 5 does not match its columns"),
    ],
)
def test_damage_to_an_entry_is_found(tmp_path: Path, statement: str, problem: str) -> None:
    filled(tmp_path / "s.db").close()
    alter(tmp_path / "s.db", statement)
    with pytest.raises(StateCorrupt, match=problem):
        read_all(tmp_path / "s.db")


@pytest.mark.damaged
def test_an_empty_journal_is_found_where_recovery_needs_entries(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database.trim(2)
    alter(tmp_path / "s.db", "DELETE FROM journal")
    with pytest.raises(StateCorrupt, match="has no entry, and recovery needs those from 3 on"):
        opened(tmp_path / "s.db")


def test_a_reader_opens_the_file_as_it_is_at_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trimmed between two reads, the journal seemed to lack the entries from the horizon on."""
    with closing(opened(tmp_path / "s.db", window_messages=0)) as owner:
        for number in range(1, 6):
            owner.commit(entry(number))
        read = meta.read

        def slow(*arguments: Any) -> meta.Meta:
            noted = read(*arguments)
            if not owner.trim(4):
                raise AssertionError("nothing was trimmed")
            return noted

        with monkeypatch.context() as patch:
            patch.setattr("stream_lstm.store.meta.read", slow)
            reader = Database.open_read_only(tmp_path / "s.db")
        with closing(reader):
            assert (reader.horizon, reader.last_entry) == (1, 5)
            assert numbers(reader) == [5]


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM journal WHERE number = 3", r"entries \[1, 2, 4, 5\] are not 2 to 5"),
        ("DELETE FROM journal WHERE number = 5", r"entries \[1, 2, 3, 4\] are not 2 to 5"),
        ("DELETE FROM journal WHERE number < 3", "horizon 1 is not from 3 to 6"),
        ("DELETE FROM journal", "horizon 1 is not from 6 to 6"),
        ("UPDATE journal SET messages = 3 WHERE number = 5", "does not hold the newest 5 entries"),
        ("UPDATE journal SET messages = 0 WHERE number = 1", "does not hold the newest 4 entries"),
    ],
)
def test_validate_notices_rows_that_break_an_invariant(tmp_path: Path, statement: str, problem: str) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database._connection.execute(statement)
        with pytest.raises(AssertionError, match=problem):
            database._journal.validate()


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("last_entry", 4, r"entries \[1, 2, 3, 4, 5\] are not 0 to 4"),
        ("horizon", 0, "horizon 0 is not from 1 to 6"),
        ("horizon", 7, "horizon 7 is not from 1 to 6"),
        ("published_through", 6, "published through 6 of 5"),
        ("published_through", -1, "published through -1 of 5"),
        ("acked_through", 6, "acknowledged through 6 of 5"),
        ("acked_through", -1, "acknowledged through -1 of 5"),
        ("closed_cleanly", True, "closed before the last entry"),
    ],
)
def test_validate_notices_numbers_that_break_an_invariant(
    tmp_path: Path, name: str, value: Any, problem: str
) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        setattr(database._journal, name, value)
        with pytest.raises(AssertionError, match=problem):
            database._journal.validate()


@pytest.mark.damaged
def test_validate_notices_entries_before_the_first(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database._connection.execute("UPDATE journal SET number = 0 WHERE number = 5")
        database._journal.last_entry = 4
        with pytest.raises(AssertionError, match="horizon 1 is not from 0 to 5"):
            database._journal.validate()


@pytest.mark.damaged
def test_validate_notices_a_wrong_count_of_the_dedup_window(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database._journal._window._messages += 1
        with pytest.raises(AssertionError, match="counts 11 messages of 10"):
            database._journal.validate()


@pytest.mark.damaged
def test_validate_notices_a_dedup_window_with_too_many_entries(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database._journal._window._messages_min = 3
        with pytest.raises(AssertionError, match="does not hold the newest 2 entries"):
            database._journal.validate()


def test_a_reader_has_no_dedup_window(tmp_path: Path) -> None:
    filled(tmp_path / "s.db").close()
    with closing(Database.open_read_only(tmp_path / "s.db")) as reader:
        assert reader._journal._window.first is None
        reader.validate()
