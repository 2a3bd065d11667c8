"""Overlapping subscriptions: found, and one publication is counted once however its copies come."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_lstm.core import overlap as module
from stream_lstm.core.codec.topics import Pattern
from stream_lstm.core.overlap import CopyCounter, overlap, overlapping


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/b", "a/b/c", False),
        ("#", "a/b", True),
        ("#", "$SYS/a", False),
        ("+/a", "$SYS/a", False),
        ("$SYS/#", "$SYS/a", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/+", "a", False),
        ("+/b", "a/+", True),
        ("+/b", "a/+/c", False),
        ("+/b/#", "a/+", True),
        ("a/+/#", "a", False),
        ("$share/g/a/#", "a/b", True),
        ("$share/g/a", "$share/h/a", True),
        ("a//b", "a/+/b", True),
    ],
)
def test_filters_that_overlap_are_found_both_ways(one: str, other: str, found: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is found


LEVEL = st.sampled_from(["a", "b", "", "$x", "+"])
FILTER = st.builds(
    lambda levels, end: "/".join([*levels, *end]),
    st.lists(LEVEL, min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
)
TOPIC = st.builds("/".join, st.lists(st.sampled_from(["a", "b", "", "$x", "c"]), min_size=1, max_size=5))


@given(FILTER, FILTER, TOPIC)
def test_no_topic_matches_two_filters_that_do_not_overlap(one: str, other: str, topic: str) -> None:
    if Pattern(one or "a").match(topic) is not None and Pattern(other or "a").match(topic) is not None:
        assert overlap(one or "a", other or "a")


def test_pairs_are_found_in_order() -> None:
    assert overlapping(["a/#", "b", "+/c"]) == [("a/#", "+/c")]
    assert overlapping(["a"]) == []


def events(counter: CopyCounter, copies: list[tuple[int, tuple[int, ...]]]) -> int:
    """How many of these messages (digest, identifiers) of one topic are events."""
    return sum(not counter.is_copy(7, digest, identifiers) for digest, identifiers in copies)


@given(st.lists(st.integers(0, 2), max_size=30), st.integers(1, 4), st.randoms(use_true_random=False))
def test_publications_are_counted_once_in_any_order_of_their_copies(
    published: list[int], subscriptions: int, draw: random.Random
) -> None:
    copies = [(digest, (n,)) for digest in published for n in range(1, subscriptions + 1)]
    draw.shuffle(copies)
    assert events(CopyCounter(), copies) == len(published)


def test_a_broker_that_sends_one_copy_with_all_identifiers_is_counted_once_for_each() -> None:
    assert events(CopyCounter(), [(1, (1, 2)), (1, (1, 2)), (2, (2, 1))]) == 3


def test_topics_are_told_apart() -> None:
    counter = CopyCounter()
    assert [counter.is_copy(topic, 1, (n,)) for topic in (1, 2) for n in (1, 2)] == [False, True] * 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MESSAGES_MAX", 2)
    counter = CopyCounter()
    assert events(counter, [(1, (1,)), (2, (1,)), (1, (2,)), (3, (1,))]) == 3  # the third is a copy
    assert events(counter, [(1, (1,)), (2, (2,))]) == 2  # 2 was forgotten, 1 not
