"""Rows of memory: admitted, evicted, restored, never mixed up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_lstm.core.memory import Memories
from stream_lstm.errors import PayloadError
from tests.core.models import description

ROWS = 4


class MemoriesAgainstADict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.memories = Memories(description(), rows_max=ROWS)
        self.known: dict[str, int] = {}  # what each stream's record holds as seq
        self.on_disk: dict[str, bytes] = {}

    @rule(key=st.sampled_from("abcdefgh"), seq=st.integers(1, 2**62))
    def admit_and_write(self, key: str, seq: int) -> None:
        if key in self.known:
            with pytest.raises(ValueError, match="already"):
                self.memories.admit(key, 1)
            return
        if len(self.known) == ROWS:
            with pytest.raises(PayloadError) as caught:
                self.memories.admit(key, 1)
            assert caught.value.reason == "streams_max"
            return
        row = np.array([self.memories.admit(key, ord(key))])
        record = self.memories.take(row)
        assert record["seq"] == 0
        record["seq"] = seq
        self.memories.put(row, record)
        self.known[key] = seq

    @precondition(lambda self: self.known)
    @rule(pick=st.integers(0, 99))
    def evict(self, pick: int) -> None:
        key = sorted(self.known)[pick % len(self.known)]
        self.on_disk[key] = self.memories.evict(key)
        del self.known[key]

    @rule(pick=st.integers(0, 99))
    def restore(self, pick: int) -> None:
        keys = sorted(set(self.on_disk) - set(self.known))
        if keys and len(self.known) < ROWS:
            key = keys[pick % len(keys)]
            row = self.memories.restore(key, ord(key), self.on_disk[key])
            self.known[key] = int(self.memories.take(np.array([row]))["seq"][0])

    @invariant()
    def every_stream_has_its_own_record(self) -> None:
        assert len(self.memories) == len(self.known)
        for key, seq in self.known.items():
            assert key in self.memories
            (row,) = self.memories.rows([key])
            assert row is not None
            assert self.memories.key(row) == key
            assert self.memories.ids[row] == ord(key)
            assert self.memories.take(np.array([row]))["seq"][0] == seq
        assert self.memories.rows(["nobody"]) == [None]


TestMemories = MemoriesAgainstADict.TestCase
TestMemories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_many_are_restored_at_once_as_they_were() -> None:
    first = Memories(description(), rows_max=9)
    rows = np.array([first.admit(key, n) for n, key in enumerate("abc", 5)])
    record = first.take(rows)
    record["seq"] = [1, 2, 3]
    first.put(rows, record)
    second = Memories(description(), rows_max=3)
    again = second.restore_all(list("abc"), np.array([5, 6, 7]), b"".join(first.records(rows)))
    assert second.records(again) == first.records(rows)
    assert second.keys(again.tolist()) == list("abc")
    assert second.ids[again].tolist() == [5, 6, 7]
    with pytest.raises(ValueError, match="in one piece"):
        second.restore_all(["d"], np.array([8]), first.records(rows)[0])


def test_nobody_has_no_key() -> None:
    with pytest.raises(KeyError):
        Memories(description(), rows_max=1).key(0)
