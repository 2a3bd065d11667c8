"""Token bucket."""

from __future__ import annotations

import pytest

from stream_lstm.service.token_bucket import TokenBucket


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_fills_with_time_up_to_its_size(clock: Clock) -> None:
    bucket = TokenBucket(2.0, 120.0, clock)
    assert (bucket.take(100), bucket.take(100)) == (100, 20)
    clock.now += 0.75
    assert (bucket.take(5), bucket.take(5)) == (1, 0)
    clock.now += 1e9
    assert bucket.take(1_000) == 120


def test_what_is_overdrawn_is_earned_back_first(clock: Clock) -> None:
    bucket = TokenBucket(0.5, 1.0, clock)
    assert bucket.overdrawn_seconds == 0.0
    bucket.spend(3.0)
    assert (bucket.tokens, bucket.overdrawn_seconds, bucket.take(1)) == (-2.0, 4.0, 0)
    clock.now += 3.0
    assert bucket.overdrawn_seconds == 1.0
    clock.now += 3.0
    assert (bucket.overdrawn_seconds, bucket.take(1)) == (0.0, 1)


def test_a_fraction_of_a_token_is_not_taken(clock: Clock) -> None:
    bucket = TokenBucket(1.0, 1.5, clock)
    assert (bucket.take(2), bucket.tokens) == (1, 0.5)
