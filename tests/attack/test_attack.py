"""The judge notices each fault, and a short attack on a real service."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack import packets
from tests.attack.judge import Evidence, Verdict, judge
from tests.attack.packets import Splitter

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = [("d0", 20.5), ("d0", 21.5), ("d0", 22.5)]


def predictions(*values: float) -> dict[tuple[str, int], set[bytes]]:
    """Predictions of these values, by stream and seq from 1."""
    return {
        ("d0:v", seq): {json.dumps({"stream": "d0:v", "seq": seq, "value": value}).encode()}
        for seq, value in enumerate(values, 1)
    }


def judged(*values: float, **evidence: object) -> Verdict:
    found = predictions(*values)
    given = {"received": set(found), "predictions": found, **evidence}
    return judge(Evidence(PUBLISHED, **given))  # type: ignore[arg-type]


def test_every_event_once_and_in_order_is_good() -> None:
    verdict = judged(20.5, 21.5, 22.5)
    assert verdict == Verdict()
    assert verdict.good


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ((20.5, 22.5), Verdict(missing=1)),
        ((20.5, 21.5, 21.5, 22.5), Verdict(doubled=1)),
        ((20.5, 22.5, 21.5), Verdict(wrong=1)),
        ((20.5, 21.5, 22.5, 9.0), Verdict(unexpected=1)),
    ],
)
def test_a_lost_doubled_moved_or_invented_event_is_noticed(
    values: tuple[float, ...], counts: Verdict
) -> None:
    verdict = judged(*values)
    counts.details = verdict.details
    assert verdict == counts
    assert not verdict.good


def test_copies_with_other_bytes_and_a_gap_in_seq_are_noticed() -> None:
    found = predictions(20.5, 21.5, 22.5)
    found["d0:v", 2].add(b'{"stream": "d0:v", "seq": 2, "value": 21.5, "more": 1}')
    assert judged(predictions=found, received=set(found)).wrong == 1
    found = predictions(20.5, 21.5, 22.5)
    found["d0:v", 4] = found.pop(("d0:v", 3))
    assert judged(predictions=found, received=set(found)).wrong == 1


def test_an_event_that_a_killed_broker_lost_counts_for_the_service_only_if_it_had_acknowledged_it() -> None:
    lost = PUBLISHED[1]
    unsaved = judged(20.5, 22.5, broker_killed=True, unsaved={lost})
    assert (unsaved.missing, unsaved.broker_events, unsaved.broker_saved) == (0, 1, 0)
    saved = judged(20.5, 22.5, broker_killed=True)
    assert (saved.missing, saved.broker_events, saved.broker_saved) == (0, 0, 1)
    assert judged(20.5, 22.5, broker_killed=True, unsaved={lost}, acked={lost}).missing == 1


def test_a_prediction_that_was_not_received_counts_for_a_killed_broker_only_if_it_was_confirmed() -> None:
    found = predictions(20.5, 21.5, 22.5)
    key = "d0:v", 3
    received = set(found) - {key}
    assert judged(predictions=found, received=received, broker_killed=True).missing == 1
    assert judged(predictions=found, received=received, confirmed={key}).missing == 1
    excused = judged(predictions=found, received=received, confirmed={key}, broker_killed=True)
    assert (excused.missing, excused.broker_predictions) == (0, 1)


def test_a_doubled_event_is_excused_only_without_a_time_and_after_a_kill_of_the_broker() -> None:
    values = 20.5, 21.5, 21.5, 22.5
    assert judged(*values, broker_killed=True).doubled == 1
    assert judged(*values, timed=False).doubled == 1
    assert judged(*values, broker_killed=True, timed=False).broker_doubled == 1


def test_packets_are_read_from_pieces_of_any_size() -> None:
    stream = b"".join(
        [
            packets.publish("a/d0", b"21.5", 7, duplicate=True),
            packets.puback(300),
            packets.publish("a/" + "x" * 200, b"1", 65_535),
        ]
    )
    for size in range(1, len(stream) + 1):
        splitter = Splitter()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        first, second, third = [packet for piece in pieces for packet in splitter.feed(piece)]
        assert packets.read_publish(first) == ("a/d0", b"21.5", 7, True)
        assert packets.read_puback(second) == (300, 0)
        assert packets.read_publish(third)[2:] == (65_535, False)


def test_two_kills_and_cuts_lose_and_double_nothing() -> None:
    command = "--payload unique --qos 1 --kill service --kills 2 --cuts --rate 200 --streams 7"
    result = subprocess.run(
        [sys.executable, "-m", "tests.attack", *command.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "unique q1 service cuts" in result.stdout
