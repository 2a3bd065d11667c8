"""Back-off, with the random draws and the clock under control."""

from __future__ import annotations

from random import Random
from typing import Any

from stream_lstm.service.mqtt.backoff import Backoff


class FixedRandom(Random):
    """Draws always the same share of a range."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def uniform(self, a: float, b: float) -> float:
        return a + self.share * (b - a)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def backoff(share: float, clock: Any = None) -> Backoff:
    return Backoff(
        seconds_min=1.0,
        seconds_max=30.0,
        refused_seconds_min=30.0,
        random=FixedRandom(share),
        clock=clock or Clock(),
    )


def test_waits_double_up_to_the_limit() -> None:
    waits = backoff(1.0)
    assert [waits.failed() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_jitter_is_full() -> None:
    assert [backoff(share).failed() for share in (0.0, 0.25, 1.0)] == [0, 0.25, 1]
    jittered = Backoff(
        seconds_min=1.0, seconds_max=30.0, refused_seconds_min=30.0, random=Random(7), clock=Clock()
    )
    drawn = [jittered.failed() for _ in range(300)][5:]
    assert 0 <= min(drawn) < 1
    assert 29 < max(drawn) <= 30
    assert 13 < sum(drawn) / len(drawn) < 17


def test_only_a_connection_that_lasts_resets_the_waits() -> None:
    clock = Clock()
    waits = backoff(1.0, clock)
    assert [waits.failed() for _ in range(3)] == [1, 2, 4]
    waits.connected()
    clock.now += 29.9
    assert waits.failed() == 8
    waits.connected()
    clock.now += 30.0
    assert waits.failed() == 1
    clock.now += 1_000.0  # not connected in between
    assert waits.failed() == 2


def test_a_lasting_refusal_waits_at_least_the_set_time() -> None:
    assert backoff(0.0).failed(lasting=True) == 30
    assert backoff(1.0).failed(lasting=True) == 60
    quick = Backoff(
        seconds_min=1.0, seconds_max=90.0, refused_seconds_min=30.0, random=FixedRandom(0.0), clock=Clock()
    )
    assert quick.failed(lasting=True) == 90
