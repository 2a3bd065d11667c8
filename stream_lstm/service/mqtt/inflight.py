"""What we have published and the broker may not have yet: kept until it is known to be there.

Bytes in, bytes out; no socket, no clock. A window holds deliveries by number, says what to write next, and
after a reconnect says all that is unconfirmed again, in order. At QoS 0 nothing is acknowledged, but a
broker handles one connection's packets in order (section 4.6), so the answer to a PINGREQ confirms what was
written before it. At QoS 1 the PUBACKs do, and the broker's Receive Maximum limits what is under way
(section 4.9).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from stream_lstm.service.mqtt import packets
from stream_lstm.service.mqtt.granted import Granted

DELIVERY_BYTES = 128  # what a delivery costs beside its publications
WRITE_BYTES_MAX = 1_048_576  # one write of what is written again
IDS = packets.PACKET_ID_MAX - packets.UNSUBSCRIBE_ID


class AtMostOnce:
    """The window for predictions at QoS 0.

    Args:
        retain: as the operator wants it.

    Attributes:
        confirmed: everything up to this number has reached the broker.
        last: the highest number handed in.
        bytes: what is kept.
        refused_total: publications that the broker does not take, left out.
    """

    def __init__(self, *, retain: bool) -> None:
        self._retain = retain
        self._verdict: Granted | None = None
        self._deliveries: deque[tuple[int, bytes]] = deque()
        self._unsent = 0  # deliveries at the end that were not written on this connection
        self.confirmed = self.last = 0
        self.bytes = 0
        self.refused_total = 0

    def add(self, number: int, publications: Sequence[tuple[str, bytes]]) -> None:
        """Take a delivery; its number is above the last one's, unless there is nothing to publish."""
        if publications or number > self.last:
            self.last = _above(self.last, number)
            joined = packets.publications(publications, retain=self._retain)
            self._deliveries.append((number, joined))
            self._unsent += 1
            self.bytes += DELIVERY_BYTES + len(joined)

    @property
    def idle(self) -> bool:
        """Everything has been written on this connection."""
        return not self._unsent

    def barrier(self) -> int | None:
        """The number that a ping written now would confirm; None if it would confirm nothing."""
        written = len(self._deliveries) - self._unsent
        return self._deliveries[written - 1][0] if written else None

    def outgoing(self) -> bytes:
        """What is to be written next, about `WRITE_BYTES_MAX` at most; empty if nothing is."""
        out: list[bytes] = []
        size = 0
        while self._unsent and size < WRITE_BYTES_MAX:
            out.append(self._fitting(self._deliveries[-self._unsent][1]))
            size += len(out[-1])
            self._unsent -= 1
        return b"".join(out)

    def _fitting(self, joined: bytes) -> bytes:
        """Without what this broker does not take."""
        bytes_max, retain = None, self._retain
        if self._verdict:
            bytes_max, retain = self._verdict.packet_bytes_max, retain and self._verdict.retain_available
        if retain == self._retain and (bytes_max is None or len(joined) <= bytes_max):
            return joined
        joined, left_out = packets.adapted(joined, bytes_max=bytes_max, retain=retain)
        self.refused_total += left_out
        return joined

    def reopen(self, verdict: Granted) -> None:
        """A new connection: all that is unconfirmed is written again."""
        self._unsent = len(self._deliveries)
        self._verdict = verdict

    def acknowledge(self, packet_id: int, *, taken: bool) -> None:
        """Nothing at QoS 0 is acknowledged."""

    def confirm(self, number: int) -> None:
        """A ping written after this delivery was answered."""
        while self._deliveries and self._deliveries[0][0] <= number:
            self.bytes -= DELIVERY_BYTES + len(self._deliveries.popleft()[1])
        self.confirmed = max(self.confirmed, number)

    def resume(self, number: int) -> None:
        """An earlier run ended here."""
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
    duplicate: bool = False  # may have reached this session of ours before

    @property
    def cost(self) -> int:
        return DELIVERY_BYTES + len(self.topic) + len(self.payload)


class AtLeastOnce:
    """The window for predictions at QoS 1; same calls and attributes as `AtMostOnce`."""

    def __init__(self, *, retain: bool) -> None:
        self._retain = retain
        self._verdict: Granted | None = None
        self._waiting: deque[_Publication] = deque()
        self._under_way: dict[int, _Publication] = {}  # by packet id, oldest first
        self._deliveries: deque[_Delivery] = deque()
        self._packet_id = packets.UNSUBSCRIBE_ID
        self.confirmed = self.last = 0
        self.bytes = 0
        self.refused_total = 0

    def add(self, number: int, publications: Sequence[tuple[str, bytes]]) -> None:
        """Take a delivery; its number is above the last one's, unless there is nothing to publish."""
        if publications or number > self.last:
            self.last = _above(self.last, number)
            self._deliveries.append(delivery := _Delivery(number, len(publications)))
            for topic, payload in publications:
                self._waiting.append(publication := _Publication(delivery, topic, payload))
                self.bytes += publication.cost
            self._settle()

    @property
    def idle(self) -> bool:
        """Everything has been written on this connection."""
        return not self._waiting

    def barrier(self) -> int | None:
        """None: a ping confirms nothing at QoS 1."""
        return None

    def outgoing(self) -> bytes:
        """What is to be written next, as far as the broker's Receive Maximum allows (4.9)."""
        quota = min(self._verdict.receive_maximum, IDS) if self._verdict else 0
        out: list[bytes] = []
        size = 0
        while self._waiting and len(self._under_way) < quota and size < WRITE_BYTES_MAX:
            packet = self._send(self._waiting.popleft())
            size += len(packet)
            out.append(packet)
        return b"".join(out)

    def _send(self, publication: _Publication) -> bytes:
        assert self._verdict is not None
        publication.packet_id = publication.packet_id or self._next_id()
        packet = packets.publication(
            publication.topic,
            publication.payload,
            packet_id=publication.packet_id,
            retain=self._retain and self._verdict.retain_available,
            duplicate=publication.duplicate,
        )
        self._under_way[publication.packet_id] = publication
        if self._verdict.packet_bytes_max is not None and len(packet) > self._verdict.packet_bytes_max:
            self.acknowledge(publication.packet_id, taken=False)
            return b""
        return packet

    def _next_id(self) -> int:
        while True:  # ends: fewer than `IDS` are under way
            self._packet_id = self._packet_id % packets.PACKET_ID_MAX + 1
            if self._packet_id > packets.UNSUBSCRIBE_ID and self._packet_id not in self._under_way:
                return self._packet_id

    def reopen(self, verdict: Granted) -> None:
        """A new connection: all that is unconfirmed is written again (4.4), marked as duplicates."""
        self._verdict = verdict
        for publication in self._under_way.values():
            publication.duplicate = verdict.session_present
            if not verdict.session_present:
                publication.packet_id = 0
        self._waiting.extendleft(reversed(self._under_way.values()))
        self._under_way.clear()

    def acknowledge(self, packet_id: int, *, taken: bool) -> None:
        """A PUBACK has come (3.4); one that says no is final, too: the broker would refuse it again."""
        publication = self._under_way.pop(packet_id, None)
        if publication is None:
            return
        self.refused_total += not taken
        self.bytes -= publication.cost
        publication.delivery.unconfirmed -= 1
        self._settle()

    def _settle(self) -> None:
        while self._deliveries and not self._deliveries[0].unconfirmed:
            self.confirmed = self._deliveries.popleft().number

    def confirm(self, number: int) -> None:
        """A ping confirms nothing at QoS 1."""

    def resume(self, number: int) -> None:
        """An earlier run ended here."""
        self.confirmed = self.last = number


InflightWindow = AtMostOnce | AtLeastOnce


def _above(last: int, number: int) -> int:
    if number <= last:
        raise ValueError(f"delivery {number} after {last}")
    return number
