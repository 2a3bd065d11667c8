"""Recovery: what it reads of the state file beside the records."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from stream_lstm.service.state import recovery
from tests.store.entries import entry, filled, opened


def test_the_messages_of_the_dedup_window_are_read_oldest_first(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "s.db")) as database:
        database.trim(3)
    with closing(opened(tmp_path / "s.db")) as database:
        found = recovery.load(database)
    assert (found.last_entry, found.published_through, found.acked_through) == (5, 4, 3)
    assert (found.horizon, found.next_stream_id) == (4, 4)
    assert np.array_equal(found.window[:, :2], np.concatenate([entry(n).digests for n in range(1, 6)]))
    assert found.window[:, 2].tolist() == [n for n in range(1, 6) for _ in entry(n).digests]


def test_a_new_state_file_has_no_messages(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "s.db")) as database:
        found = recovery.load(database)
    assert found[:5] == (0, 0, 0, 1, 1)
    assert found.window.shape == (0, 3)
