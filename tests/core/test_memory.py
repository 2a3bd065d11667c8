"""Memories: streams are admitted, evicted and restored with their own records."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numpy.typing import NDArray

from stream_lstm.core.memory import Memories
from stream_lstm.core.trackers.interval import WIDTH_MAX
from stream_lstm.errors import PayloadError
from tests.core.models import KINDS, description

ROWS = 4
PLAUSIBLE = (("interval", "width"), ("interval", "spread"), ("anomaly", "tail"), ("anomaly", "shape"))


def memories_of(keys: str, *, numbers: Sequence[int] = (1, 2, 3)) -> Memories:
    """Memories in which each of these streams has had events."""
    memories = Memories(description(), rows_max=9)
    rows = np.array([memories.add(key, n) for key, n in zip(keys, numbers, strict=False)])
    write(memories, rows, np.arange(1, len(rows) + 1))
    return memories


def write(memories: Memories, rows: NDArray[np.intp], seq: Any) -> None:
    """Let streams have had so many events; what lies within limits that exclude 0 is 1."""
    memories.states["seq"][rows] = seq
    targets = memories.states["targets"]
    for tracker, name in PLAUSIBLE:
        targets[tracker][name][rows] = 1.0


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
                self.memories.add(key, 1)
            return
        if len(self.known) == ROWS:
            with pytest.raises(PayloadError) as caught:
                self.memories.add(key, 1)
            assert caught.value.reason == "streams_max"
            return
        row = np.array([self.memories.add(key, ord(key))])
        assert self.memories.column("seq", row) == 0
        write(self.memories, row, seq)
        self.known[key] = seq

    @precondition(lambda self: self.known)
    @rule(pick=st.integers(0, 99))
    def evict(self, pick: int) -> None:
        key = sorted(self.known)[pick % len(self.known)]
        self.on_disk[key] = self.memories.remove(key)
        del self.known[key]

    @rule(pick=st.integers(0, 99))
    def restore(self, pick: int) -> None:
        keys = sorted(set(self.on_disk) - set(self.known))
        if keys and len(self.known) < ROWS:
            key = keys[pick % len(keys)]
            row = self.memories.restore(key, ord(key), self.on_disk[key])
            self.known[key] = int(self.memories.states["seq"][row])

    @invariant()
    def every_stream_has_its_own_record(self) -> None:
        assert len(self.memories) == len(self.known)
        for key, seq in self.known.items():
            assert key in self.memories
            (row,) = self.memories.rows([key])
            assert row is not None
            assert self.memories.key(row) == key
            assert self.memories.ids[row] == ord(key)
            assert self.memories.states["seq"][row] == seq
        assert self.memories.rows(["unknown"]) == [None]
        self.memories.validate()


TestMemories = MemoriesAgainstADict.TestCase
TestMemories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_many_streams_are_restored_at_once_with_their_records() -> None:
    first = memories_of("abc", numbers=(5, 6, 7))
    rows = np.array([1, 2, 3])
    second = Memories(description(), rows_max=3)
    again = second.restore_all(list("abc"), np.array([5, 6, 7]), b"".join(first.records(rows)))
    assert second.records(again) == first.records(rows)
    assert second.keys(again.tolist()) == list("abc")
    assert second.ids[again].tolist() == [5, 6, 7]
    with pytest.raises(ValueError, match="in one piece"):
        second.restore_all(["d"], np.array([8]), first.records(rows)[0])


def test_names_are_a_live_view_of_the_keys_by_row() -> None:
    memories = memories_of("ab")
    names = memories.names
    memories.add("c", 3)
    memories.remove("a")
    assert list(names) == [None, None, "b", "c"]


def test_a_free_row_has_no_key() -> None:
    with pytest.raises(KeyError):
        Memories(description(), rows_max=1).key(0)


def test_a_column_of_nested_records_is_found_by_its_path() -> None:
    memories = memories_of("ab")
    memories.states["targets"]["accuracy"]["coverage"][2] = 0.5
    rows = np.array([2, 1])
    assert memories.column("targets.accuracy.coverage", rows).tolist() == [[0.5], [0.0]]
    assert memories.target_column("accuracy.coverage", rows).tolist() == [[0.5], [0.0]]
    classes = Memories(description(**KINDS["classes"]), rows_max=1)
    assert classes.target_column("accuracy.coverage", np.array([1])).shape == (1, 0)


def width(memories: Memories) -> NDArray[np.float64]:
    column: NDArray[np.float64] = memories.states["targets"]["interval"]["width"][1]
    return column


BREACHES: list[tuple[str, Callable[[Memories], object]]] = [
    ("keys and rows differ", lambda m: m._row_of.update(a=2)),
    ("two rows have the same stream", lambda m: m.ids.put(2, 1)),
    ("a row has a stream and no key", lambda m: m.ids.put(4, 9)),
    ("the list of free rows is wrong", lambda m: m._free.append(2)),
    ("a free row is not blank", lambda m: m.states["seq"].put(0, 1)),
    ("a number of events is negative", lambda m: m.states["seq"].put(1, -1)),
    ("a record without events is not blank", lambda m: m.states["seq"].put(1, 0)),
    ("scale.mean is not finite", lambda m: m.states["scale"]["mean"][1].fill(np.nan)),
    ("scale.variance lies outside its limits", lambda m: m.states["scale"]["variance"][1].fill(-1.0)),
    (
        "targets.interval.width lies outside its limits",
        lambda m: m.states["targets"]["interval"]["width"][1].fill(WIDTH_MAX + 1.0),
    ),
    ("an LTM is not finite", lambda m: m.states["ltm"][1].fill(np.inf)),
    ("an STM lies outside ±1", lambda m: m.states["stm"][1].fill(1.5)),
]


@pytest.mark.parametrize(("message", "breach"), BREACHES)
def test_a_breach_of_an_invariant_is_noticed(
    message: str, breach: Callable[[Memories], object], made: dict[type, deque[Any]]
) -> None:
    memories = memories_of("abc")
    memories.remove("c")
    memories.validate()
    breach(memories)
    with pytest.raises(AssertionError, match=message):
        memories.validate()
    made[Memories].clear()
