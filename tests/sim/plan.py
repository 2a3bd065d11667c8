"""Plans of worlds: what kind of sensors, broker and disk one has, drawn from its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Plan:
    """What kind of world it is.

    Attributes:
        payloads: "timed", with a time; "distinct", without one; or "repeated", without one and equal now and
            then, as of a room that stays at 21.5.
        repeated_payloads: number of different ones.
        repeated_share: of the messages.
        poison_share: of messages that are rejected.
        devices: at most.
        deaths: of the process, at most.
        cut_share: probability that a write is cut.
        outages: share of the cuts after which there is no connection for a while, and the rate of their ends.
        full_share: probability that a statement finds the disk full.
        forget_rate: how often all written streams are forgotten, a second.
        checkpoint_rate: a second.
        overlap_messages_min: `pipeline.OVERLAP_MESSAGES_MIN`.
        window_messages: kept by trimming; the broker has at most 24 in flight.
    """

    payloads: str
    repeated_payloads: int
    repeated_share: float
    poison_share: float
    devices: int
    streams_max: int
    deaths: int
    cut_share: float
    outages: tuple[float, float]
    full_share: float
    forget_rate: float
    checkpoint_rate: float
    overlap_messages_min: int
    window_messages: int

    @classmethod
    def drawn(cls, draw: random.Random) -> Plan:
        """A plan, in half of the worlds with an emphasis on what is rare otherwise."""
        plan = cls(
            payloads=draw.choice(["timed", "distinct", "repeated"]),
            repeated_payloads=draw.choice([1, 2]),
            repeated_share=draw.choice([0.5, 0.9]),
            poison_share=draw.choice([0.05, 0.05, 0.4]),
            devices=draw.choice([1, 2, 5, 9, 30]),
            streams_max=draw.choice([1, 2, 4, 50]),
            deaths=draw.randint(0, 6),
            cut_share=draw.choice([0.0, 0.05, 0.3]),
            outages=(draw.choice([0.0, 0.3]), draw.choice([3.0, 30.0])),
            full_share=draw.choice([0.0, 0.0, 0.02]),
            forget_rate=draw.choice([0.0, 0.0, 2.0, 30.0]),
            checkpoint_rate=draw.choice([0.3, 10.0, 60.0]),
            overlap_messages_min=draw.choice([1, 256]),
            window_messages=draw.choice([48, 65_536]),
        )
        emphasis: dict[str, Any] = draw.choice(
            [{}, {}, {}, QUIET_TOPICS, MOSTLY_REJECTED, STREAMS_COME_AND_GO]
        )
        return replace(plan, **emphasis)


QUIET_TOPICS = {"payloads": "repeated", "repeated_payloads": 1, "repeated_share": 0.9, "devices": 30}
MOSTLY_REJECTED = {
    "poison_share": 0.95,
    "cut_share": 0.3,
    "outages": (0.6, 3.0),
    "checkpoint_rate": 60.0,
    "deaths": 6,
}
STREAMS_COME_AND_GO = {
    "devices": 3,
    "streams_max": 1,
    "forget_rate": 100.0,
    "checkpoint_rate": 0.1,
    "poison_share": 0.0,
    "full_share": 0.0,
    "deaths": 20,
}
