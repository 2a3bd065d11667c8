"""Plans: the kinds of worlds, drawn from the seed; some with an emphasis on what is rare otherwise.

An emphasis is there because a mutant (`tests.mutants`) survived too many worlds without it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace


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
        streams_max, batch_events_max: as in the settings.
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
    batch_events_max: int
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
            batch_events_max=draw.choice([1, 8, 8]),
            deaths=draw.randint(0, 6),
            cut_share=draw.choice([0.0, 0.05, 0.3]),
            outages=(draw.choice([0.0, 0.3]), draw.choice([3.0, 30.0])),
            full_share=draw.choice([0.0, 0.0, 0.02]),
            forget_rate=draw.choice([0.0, 0.0, 2.0, 30.0]),
            checkpoint_rate=draw.choice([0.3, 10.0, 60.0]),
            overlap_messages_min=draw.choice([1, 256]),
            window_messages=draw.choice([48, 65_536]),
        )
        emphasis = draw.choice([{}, {}, {}, QUIET_TOPICS, MOSTLY_REJECTED, STREAMS_COME_AND_GO])
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
    "batch_events_max": 1,
    "forget_rate": 20.0,
    "checkpoint_rate": 0.1,
    "poison_share": 0.0,
    "full_share": 0.0,
    "deaths": 12,
}


@dataclass(frozen=True)
class ProcessPlan:
    """What kind of world of the whole process it is.

    Attributes:
        payloads: as in `Plan`; with repeated ones the service is not killed.
        qos: of the subscription.
        publish_qos: of the predictions.
        messages: how many.
        rate: of the messages, a second.
        devices: at most.
        deaths, stops: of the service, at most.
        full_share: probability that a statement finds the disk full.
        cut_share: probability that a write of either side is cut, …
        stop_cut_share: … and at least this while the service stops.
        stall_share: probability that the client's write buffer is full after a write.
        faults_max: of the network and the server, at most.
        restart_share: how often the server restarts.
        latency_seconds: mean time of a write under way.
        server_receive_maximum: publications of QoS 1 that the server takes unacknowledged.
        keeps_ids: True if the server sends again with the same packet ids.
        aims: True to stop only while a message is not acknowledged.
    """

    payloads: str
    qos: int
    publish_qos: int
    messages: int
    rate: float
    devices: int
    deaths: int
    stops: int
    full_share: float
    cut_share: float
    stop_cut_share: float
    stall_share: float
    faults_max: int
    restart_share: float
    latency_seconds: float
    server_receive_maximum: int
    keeps_ids: bool
    aims: bool

    @classmethod
    def drawn(cls, draw: random.Random) -> ProcessPlan:
        """A plan, in half of the worlds with an emphasis."""
        plan = cls(
            payloads=draw.choice(["timed", "distinct", "repeated"]),
            qos=draw.choice([1, 1, 2]),
            publish_qos=draw.choice([0, 0, 1]),
            messages=draw.randint(10, 100),
            rate=draw.choice([20.0, 200.0]),
            devices=draw.randint(1, 6),
            deaths=draw.choice([0, 2, 5]),
            stops=draw.randint(0, 6),
            full_share=draw.choice([0.0, 0.0, 0.02]),
            cut_share=draw.choice([0.0, 0.01, 0.05, 0.2]),
            stop_cut_share=draw.choice([0.0, 0.3]),
            stall_share=draw.choice([0.0, 0.0, 0.1]),
            faults_max=draw.randint(1, 40),
            restart_share=draw.choice([0.0, 0.3]),
            latency_seconds=draw.choice([0.0005, 0.01]),
            server_receive_maximum=draw.choice([2, 20, 65_535]),
            keeps_ids=draw.random() < 0.5,
            aims=draw.random() < 0.5,
        )
        plan = replace(plan, **draw.choice([{}, {}, UNDISTURBED_UNTIL_STOPPED, FORGETFUL_SERVER]))
        return replace(plan, deaths=0) if plan.payloads == "repeated" else plan


UNDISTURBED_UNTIL_STOPPED = {
    "publish_qos": 1,
    "rate": 20.0,
    "deaths": 0,
    "stops": 15,
    "cut_share": 0.0,
    "stop_cut_share": 0.4,
    "restart_share": 0.0,
    "faults_max": 60,
    "full_share": 0.0,
    "aims": True,
}
FORGETFUL_SERVER = {
    "payloads": "timed",
    "rate": 20.0,
    "deaths": 0,
    "stops": 15,
    "cut_share": 0.0,
    "stop_cut_share": 0.4,
    "restart_share": 0.6,
    "faults_max": 60,
    "full_share": 0.0,
    "aims": True,
}
