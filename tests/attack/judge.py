"""The judge: compares what was published with what was predicted; pure.

An event that the broker acknowledged to its sensor must have exactly one `seq`, in the order of publication,
without a gap, and all copies of its prediction must be the same bytes. Counted apart is what the service
cannot help: what a killed broker had acknowledged and lost, and payloads without a time that such a broker
delivered again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from tests.attack.record import Key, Reading, Said


@dataclass
class Evidence:
    """Events and predictions of a run, as publisher, subscriber and proxy recorded them.

    Attributes:
        published: events in order of publication; all acknowledged by the broker.
        repeated: those that the publisher sent more than once, since a connection was lost before the answer.
        unsaved: those that a killed broker had acknowledged and not saved.
        predictions: all bytes of each prediction.
        received: predictions that the subscriber received.
        confirmed: predictions that the broker is known to have read.
        acked: events that the service acknowledged.
        broker_killed: True if the broker was ever killed.
        timed: True if payloads have a time.
    """

    published: Sequence[Reading]
    repeated: set[Reading] = field(default_factory=set)
    unsaved: set[Reading] = field(default_factory=set)
    predictions: dict[Key, set[bytes]] = field(default_factory=dict)
    received: set[Key] = field(default_factory=set)
    confirmed: set[Key] = field(default_factory=set)
    acked: set[Reading] = field(default_factory=set)
    broker_killed: bool = False
    timed: bool = True


@dataclass
class Verdict:
    """Counts of a run; the first four must be 0.

    Attributes:
        missing: events without a prediction, or predictions that did not reach the broker.
        unexpected: predictions of values that were not published.
        doubled: events with more than one `seq`.
        wrong: gaps in `seq`, events out of order, copies with other bytes.
        broker_doubled: events with more than one `seq`, without a time, after a kill of the broker.
        broker_events: events that a killed broker lost: it had acknowledged and not saved them.
        broker_saved: events that a killed broker lost although its file holds them.
        broker_predictions: predictions that a killed broker had read and did not deliver.
        details: of the faults.
    """

    missing: int = 0
    unexpected: int = 0
    doubled: int = 0
    wrong: int = 0
    broker_doubled: int = 0
    broker_events: int = 0
    broker_saved: int = 0
    broker_predictions: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True if the service kept its promises."""
        return not (self.missing or self.unexpected or self.doubled or self.wrong)


def streams_of(predictions: dict[Key, set[bytes]]) -> dict[str, list[tuple[int, float]]]:
    """Number and value of each stream's predictions, in order; the stream by its topic."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for stream, seq in sorted(predictions):
        payload = min(predictions[stream, seq])
        found[stream.partition(":")[0]].append((seq, msgspec.json.decode(payload, type=Said).value))
    return found


def judge(evidence: Evidence) -> Verdict:
    """Judge a run with unique events."""
    verdict = Verdict()
    order: dict[str, dict[float, int]] = defaultdict(dict)
    for stream, value in evidence.published:
        order[stream][value] = len(order[stream])
    found = streams_of(evidence.predictions)
    for stream in {*order, *found}:
        _judge_stream(stream, order[stream], found.get(stream, []), evidence, verdict)
    for key, payloads in evidence.predictions.items():
        if len(payloads) > 1:
            verdict.wrong += 1
            verdict.details.append(f"{key}: {len(payloads)} different copies: {sorted(payloads)[:2]}")
    for key in evidence.predictions.keys() - evidence.received:
        if evidence.broker_killed and key in evidence.confirmed:
            verdict.broker_predictions += 1
        else:
            verdict.missing += 1
            verdict.details.append(f"{key}: published, not received; confirmed: {key in evidence.confirmed}")
    return verdict


def _judge_stream(
    stream: str,
    order: dict[float, int],
    found: list[tuple[int, float]],
    evidence: Evidence,
    verdict: Verdict,
) -> None:
    numbers = [seq for seq, _ in found]
    if numbers != list(range(1, len(numbers) + 1)):
        verdict.wrong += 1
        verdict.details.append(f"{stream}: seq has gaps: {_gaps(numbers)[:5]}")
    counts = Counter(value for _, value in found)
    for value, count in counts.items():
        if value not in order:
            verdict.unexpected += 1
            verdict.details.append(f"{stream}: {value} was never published")
        elif count > 1:
            repeated = (stream, value) in evidence.repeated
            allowed = evidence.broker_killed and not evidence.timed
            verdict.doubled += not allowed
            verdict.broker_doubled += allowed
            places = [seq for seq, other in found if other == value]
            verdict.details.append(f"{stream}: event {value} has seq {places}; sent again: {repeated}")
    first = list(dict.fromkeys(order[value] for _, value in found if value in order))
    inversions = sum(after < before for before, after in pairwise(first))
    if inversions:
        verdict.wrong += inversions
        verdict.details.append(f"{stream}: {inversions} events out of order")
    for value in order.keys() - counts.keys():
        reading = stream, value
        if reading in evidence.acked or not evidence.broker_killed:
            verdict.missing += 1
            verdict.details.append(f"{reading} not predicted; acknowledged: {reading in evidence.acked}")
        elif reading in evidence.unsaved:
            verdict.broker_events += 1
        else:
            verdict.broker_saved += 1
            verdict.details.append(f"{reading} was saved by the broker and never delivered")


def _gaps(numbers: Sequence[int]) -> list[int]:
    return sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
