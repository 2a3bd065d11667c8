"""Record of what passed between service and broker, and of the predictions that the subscriber received."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import NamedTuple

import msgspec

from tests.attack import packets
from tests.attack.packets import Packet, Splitter

PREDICTIONS, EVENTS = "predictions/", "a/"

Key = tuple[str, int]  # of a prediction: stream and seq
Reading = tuple[str, float]  # topic and value of an event; unique unless payloads are constant


class Said(msgspec.Struct):
    """The fields of a prediction that identify its event."""

    stream: str
    seq: int
    value: float


class Reported(msgspec.Struct):
    """A payload with fields."""

    v: float


def value_of(payload: bytes) -> float:
    """The value in an event's payload, an object or a bare number."""
    return msgspec.json.decode(payload, type=Reported).v if payload[:1] == b"{" else float(payload)


class Record:
    """Everything seen on the wire.

    Attributes:
        predictions: all bytes that were published for each prediction.
        received: predictions that the subscriber received.
        confirmed: those that the broker is known to have read, as far as the service can know.
        acked: events that the service acknowledged.
        acked_early: how many of these had no prediction before.
        copies: predictions that were published or received more than once, by the same path.
        redelivered: events that the broker sent with the flag DUP.
        served: set while a connection of the service has subscribed.
    """

    def __init__(self, *, unique: bool) -> None:
        self._unique = unique
        self._predicted: set[Reading] = set()
        self.predictions: dict[Key, set[bytes]] = defaultdict(set)
        self.received: set[Key] = set()
        self.confirmed: set[Key] = set()
        self.acked: set[Reading] = set()
        self.acked_early: list[Reading] = []
        self.copies = 0
        self.redelivered = 0
        self.connections = 0
        self.served = asyncio.Event()

    def receive(self, payload: bytes) -> None:
        """The subscriber received a prediction."""
        said = msgspec.json.decode(payload, type=Said)
        key = said.stream, said.seq
        self.copies += key in self.received
        self.received.add(key)
        self.predictions[key].add(payload)

    def publish(self, payload: bytes) -> Key:
        """The service published a prediction."""
        said = msgspec.json.decode(payload, type=Said)
        key = said.stream, said.seq
        self.predictions[key].add(payload)
        self._predicted.add((said.stream.partition(":")[0], said.value))
        return key

    def acknowledge(self, reading: Reading) -> None:
        """The service acknowledged an event."""
        if self._unique:
            self.acked.add(reading)
            if reading not in self._predicted:
                self.acked_early.append(reading)


class _Ping(NamedTuple):
    published: list[Key]  # before this PINGREQ, and after the one before it


class Observer:
    """Reads both directions of one connection of the service, as far as the proxy has forwarded them."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._up, self._down = Splitter(), Splitter()
        self._delivered: dict[int, Reading] = {}  # by packet id
        self._in_flight: dict[int, Key] = {}  # by packet id: predictions of QoS 1
        self._since_ping: list[Key] = []  # predictions of QoS 0
        self._pings: list[_Ping] = []

    def forwarded(self, some: bytes, *, up: bool) -> None:
        """These bytes went on, to the broker (`up`) or to the service."""
        if up:
            for packet in self._up.feed(some):
                self._from_service(packet)
        else:
            for packet in self._down.feed(some):
                self._from_broker(packet)

    def _from_service(self, packet: Packet) -> None:
        if packet.kind == packets.PUBLISH:
            publish = packets.read_publish(packet)
            if publish.topic.startswith(PREDICTIONS):
                key = self._record.publish(publish.payload)
                if publish.packet_id:
                    self._in_flight[publish.packet_id] = key
                else:
                    self._since_ping.append(key)
        elif packet.kind == packets.PUBACK:
            reading = self._delivered.pop(packets.read_puback(packet)[0], None)
            if reading:
                self._record.acknowledge(reading)
        elif packet.kind == packets.PINGREQ:
            self._pings.append(_Ping(self._since_ping))
            self._since_ping = []

    def _from_broker(self, packet: Packet) -> None:
        if packet.kind == packets.PUBLISH:
            publish = packets.read_publish(packet)
            if publish.topic.startswith(EVENTS):
                self._record.redelivered += publish.duplicate
                reading = publish.topic.removeprefix(EVENTS), value_of(publish.payload)
                self._delivered[publish.packet_id] = reading
        elif packet.kind == packets.PUBACK:
            key = self._in_flight.pop(packets.read_puback(packet)[0], None)
            if key:
                self._record.confirmed.add(key)
        elif packet.kind == packets.PINGRESP:
            self._record.confirmed.update(self._pings.pop(0).published)
        elif packet.kind == packets.SUBACK:
            self._record.connections += 1
            self._record.served.set()
