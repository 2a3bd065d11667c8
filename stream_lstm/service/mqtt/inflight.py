"""Publications in flight: windows that keep them until the broker has them, and write them again.

Bytes in, bytes out; no socket, no clock. A window holds deliveries by number, encodes what to write next, and
after a reconnect encodes all unconfirmed publications again, in order. QoS 0 has no acknowledgements, but a
broker handles the packets of one connection in order (section 4.6), so a PINGRESP confirms everything written
before its PINGREQ. At QoS 1 the PUBACKs confirm, and the broker's Receive Maximum limits the publications in
flight (section 4.9).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from stream_lstm.service.broker import Publication
from stream_lstm.service.mqtt import packets
from stream_lstm.service.mqtt.granted import Granted

DELIVERY_OVERHEAD_BYTES = 128  # an estimate of the memory of a delivery beside its publications
WRITE_BYTES_MAX = (
    1_048_576  # of one write after a reconnect: the unconfirmed publications are not copied at once
)
PACKET_IDS = packets.PACKET_ID_MAX - packets.UNSUBSCRIBE_ID  # ids left for publications


class Qos0Window:
    """Window of publications at QoS 0.

    Args:
        retain: True to publish retained messages, where the broker supports them.

    Attributes:
        confirmed: everything up to this number has reached the broker.
        last: highest number added.
        bytes: size of the unconfirmed publications.
        refused_total: publications dropped because the broker does not accept them.
    """

    def __init__(self, *, retain: bool) -> None:
        self._retain = retain
        self._granted: Granted | None = None
        self._deliveries: deque[tuple[int, bytes]] = deque()
        self._unsent = 0  # deliveries at the end not yet written on this connection
        self.confirmed = self.last = 0
        self.bytes = 0
        self.refused_total = 0

    def add(self, number: int, publications: Sequence[Publication]) -> None:
        """Add a delivery; its number must be above the last one's, unless it has no publications."""
        if publications or number > self.last:
            self.last = _checked(number, self.last)
            joined = packets.publications(publications, retain=self._retain)
            self._deliveries.append((number, joined))
            self._unsent += 1
            self.bytes += DELIVERY_OVERHEAD_BYTES + len(joined)

    @property
    def idle(self) -> bool:
        """True if everything has been written on this connection."""
        return not self._unsent

    def barrier(self) -> int | None:
        """The number that a PINGREQ written now would confirm; None if there is nothing to confirm."""
        written = len(self._deliveries) - self._unsent
        return self._deliveries[written - 1][0] if written else None

    def outgoing(self) -> bytes:
        """The bytes to write next, about `WRITE_BYTES_MAX` at most; empty if there are none."""
        out: list[bytes] = []
        size = 0
        while self._unsent and size < WRITE_BYTES_MAX:
            out.append(self._adapted(self._deliveries[-self._unsent][1]))
            size += len(out[-1])
            self._unsent -= 1
        return b"".join(out)

    def _adapted(self, joined: bytes) -> bytes:
        """Without what this broker does not accept."""
        bytes_max, retain = None, self._retain
        if self._granted:
            bytes_max, retain = self._granted.packet_bytes_max, retain and self._granted.retain_available
        if retain == self._retain and (bytes_max is None or len(joined) <= bytes_max):
            return joined
        joined, dropped = packets.adapted(joined, bytes_max=bytes_max, retain=retain)
        self.refused_total += dropped
        return joined

    def reopen(self, granted: Granted) -> None:
        """Begin a connection: all unconfirmed publications are to be written again."""
        self._unsent = len(self._deliveries)
        self._granted = granted

    def acknowledge(self, packet_id: int, *, accepted: bool) -> None:
        """Do nothing: QoS 0 has no acknowledgements."""

    def confirm(self, number: int) -> None:
        """Confirm everything up to this number: a PINGREQ written after it was answered."""
        while self._deliveries and self._deliveries[0][0] <= number:
            self.bytes -= DELIVERY_OVERHEAD_BYTES + len(self._deliveries.popleft()[1])
        self.confirmed = max(self.confirmed, number)

    def resume(self, number: int) -> None:
        """Continue the numbers of an earlier run, all confirmed up to this one."""
        self.confirmed = self.last = number


@dataclass(slots=True)
class _Delivery:
    number: int
    unconfirmed: int


@dataclass(slots=True)
class _Publication:
    delivery: _Delivery
    topic: str
    payload: bytes
    packet_id: int = 0  # 0: none yet
    duplicate: bool = False  # may have been sent before in this session

    @property
    def cost_bytes(self) -> int:
        return DELIVERY_OVERHEAD_BYTES + len(self.topic) + len(self.payload)


class Qos1Window:
    """Window of publications at QoS 1; methods and attributes as in `Qos0Window`."""

    def __init__(self, *, retain: bool) -> None:
        self._retain = retain
        self._granted: Granted | None = None
        self._waiting: deque[_Publication] = deque()
        self._in_flight: dict[int, _Publication] = {}  # by packet id, oldest first
        self._deliveries: deque[_Delivery] = deque()
        self._packet_id = packets.UNSUBSCRIBE_ID
        self.confirmed = self.last = 0
        self.bytes = 0
        self.refused_total = 0

    def add(self, number: int, publications: Sequence[Publication]) -> None:
        """Add a delivery; its number must be above the last one's, unless it has no publications."""
        if publications or number > self.last:
            self.last = _checked(number, self.last)
            self._deliveries.append(delivery := _Delivery(number, len(publications)))
            for topic, payload in publications:
                self._waiting.append(publication := _Publication(delivery, topic, payload))
                self.bytes += publication.cost_bytes
            self._update_confirmed()

    @property
    def idle(self) -> bool:
        """True if everything has been written on this connection."""
        return not self._waiting

    def barrier(self) -> int | None:
        """None: PUBACKs confirm at QoS 1, not a PINGRESP."""
        return None

    def outgoing(self) -> bytes:
        """The bytes to write next, as far as the broker's Receive Maximum allows (4.9)."""
        quota = min(self._granted.receive_maximum, PACKET_IDS) if self._granted else 0
        out: list[bytes] = []
        size = 0
        while self._waiting and len(self._in_flight) < quota and size < WRITE_BYTES_MAX:
            packet = self._send(self._waiting.popleft())
            size += len(packet)
            out.append(packet)
        return b"".join(out)

    def _send(self, publication: _Publication) -> bytes:
        assert self._granted is not None
        publication.packet_id = publication.packet_id or self._next_id()
        packet = packets.publication(
            publication.topic,
            publication.payload,
            packet_id=publication.packet_id,
            retain=self._retain and self._granted.retain_available,
            duplicate=publication.duplicate,
        )
        self._in_flight[publication.packet_id] = publication
        if self._granted.packet_bytes_max is not None and len(packet) > self._granted.packet_bytes_max:
            self.acknowledge(publication.packet_id, accepted=False)
            return b""
        return packet

    def _next_id(self) -> int:
        while True:  # terminates: fewer than `PACKET_IDS` are in flight
            self._packet_id = self._packet_id % packets.PACKET_ID_MAX + 1
            if self._packet_id > packets.UNSUBSCRIBE_ID and self._packet_id not in self._in_flight:
                return self._packet_id

    def reopen(self, granted: Granted) -> None:
        """Begin a connection: all unconfirmed publications are to be written again (4.4), as duplicates."""
        self._granted = granted
        for publication in self._in_flight.values():
            publication.duplicate = granted.session_present
            if not granted.session_present:
                publication.packet_id = 0
        self._waiting.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()

    def acknowledge(self, packet_id: int, *, accepted: bool) -> None:
        """Handle a PUBACK (3.4); one that refuses is final, too: the broker would refuse it again."""
        publication = self._in_flight.pop(packet_id, None)
        if publication is None:
            return
        self.refused_total += not accepted
        self.bytes -= publication.cost_bytes
        publication.delivery.unconfirmed -= 1
        self._update_confirmed()

    def _update_confirmed(self) -> None:
        while self._deliveries and not self._deliveries[0].unconfirmed:
            self.confirmed = self._deliveries.popleft().number

    def confirm(self, number: int) -> None:
        """Do nothing: a PINGRESP confirms nothing at QoS 1."""

    def resume(self, number: int) -> None:
        """Continue the numbers of an earlier run, all confirmed up to this one."""
        self.confirmed = self.last = number


InflightWindow = Qos0Window | Qos1Window


def _checked(number: int, last: int) -> int:
    if number <= last:
        raise ValueError(f"delivery number {number} is not above the last one, {last}")
    return number
