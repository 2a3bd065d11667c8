"""A simulated MQTT 5 server: reads and writes bytes, and keeps the session of its one client.

It sends again what is not acknowledged, with the same packet ids and DUP flags or, as some brokers do,
without them. Standard: MQTT 5.0, sections 3.1.4 (CONNECT), 4.3 (QoS), 4.4 (delivery again), 4.9 (Receive
Maximum).
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mqtt5
from mqtt5 import PublishPacket, QoS

from stream_lstm.service.broker import Publication
from stream_lstm.service.mqtt.framing import frame_bytes
from tests.sim.judge import Wrong
from tests.sim.network import Wire

EVENTS = "s/"  # what the topics of events begin with


@dataclass
class Sent:
    """A message for the client.

    Attributes:
        number: in the order in which the sensors published.
        again: True if it was sent before.
        released: True at QoS 2 once its PUBREC has come: it is not sent again.
        follows: True if it was sent for the first time on this connection, behind an acknowledgement.
    """

    number: int
    topic: str
    payload: bytes
    qos: int
    again: bool = False
    released: bool = False
    follows: bool = False


class Server:
    """The server, which outlives all clients and connections.

    Args:
        keeps_ids: True to send again with the same packet ids and with the DUP flag.
        receive_maximum: publications of QoS 1 that it accepts unacknowledged.

    Attributes:
        up: False while it is restarting.
        session: True once the client has subscribed.
        published: publications of the service, in the order in which they were read.
        in_flight: messages sent and not acknowledged, by packet id.
        unsure: payloads by topic that a client may take for sent again, see `Peer`.
    """

    def __init__(
        self, draw: random.Random, faults: Counter[str], *, keeps_ids: bool, receive_maximum: int
    ) -> None:
        self.draw = draw
        self.faults = faults
        self.keeps_ids = keeps_ids
        self.receive_maximum = receive_maximum
        self.up = True
        self.session = False
        self.client_id = ""
        self.subscriptions: dict[str, int] = {}
        self.retained: dict[str, PublishPacket] = {}
        self.queue: deque[Sent] = deque()
        self.in_flight: dict[int, Sent] = {}
        self.published: list[Publication] = []
        self.unsure: set[tuple[str, bytes]] = set()
        self.peer: Peer | None = None
        self._acknowledged: list[Sent] = []  # since the state was last saved
        self._next_id = 0

    @property
    def done(self) -> bool:
        """True if every message was sent and acknowledged."""
        return not (self.queue or self.in_flight)

    def accept(self, wire: Wire) -> Peer:
        """A connection begins."""
        return Peer(self, wire)

    def publish(self, number: int, topic: str, payload: bytes, qos: int) -> None:
        """A sensor's message."""
        self.queue.append(Sent(number, topic, payload, qos))
        self.unsure.add((topic, payload))
        if self.peer:
            self.peer.send_messages()

    def next_id(self) -> int:
        """A packet id that is not in use."""
        while True:
            self._next_id = self._next_id % 200 + 1  # few, so that a mistaken one meets another message
            if self._next_id not in self.in_flight:
                return self._next_id

    def acknowledge(self, packet_id: int) -> Sent | None:
        """The client has acknowledged a message; returns it."""
        message = self.in_flight.pop(packet_id, None)
        if message:
            self._acknowledged.append(message)
        return message

    def save(self) -> None:
        """Write the state to disk: a crash forgets no acknowledgement before."""
        self._acknowledged.clear()

    def crash(self, *, forgets: bool) -> None:
        """End all connections.

        Args:
            forgets: the acknowledgements since the state was last saved are lost.
        """
        self.up = False
        self.faults["broker restart"] += 1
        if self.peer:
            self.peer.wire.cut_off()
            self.peer.lost()
        if forgets and self._acknowledged:
            self.faults["forgotten acknowledgement"] += len(self._acknowledged)
            lost = sorted([*self._acknowledged, *self.in_flight.values()], key=lambda sent: sent.number)
            for message in lost:
                message.again, message.released = True, False
            self.queue.extendleft(reversed(lost))
            self.in_flight.clear()
        self._acknowledged.clear()

    def route(self, packet: PublishPacket) -> None:
        """Keep a publication of the client, and pass it on where it has subscribed to it itself."""
        self.published.append((packet.topic, bytes(packet.payload)))
        if packet.retain:
            self.retained[packet.topic] = packet
        if self.peer and packet.topic in self.subscriptions:
            self.peer.send_plain(packet, retain=False)


class Peer:
    """The server's end of a connection.

    An equal message of the same sensor is certain not to count as a duplicate once the client knows that the
    server has the acknowledgement of the last one. It knows by the answer to a ping behind the
    acknowledgement of a message that was sent for the first time, after another of this connection had been
    acknowledged. Until then the payload is in `Server.unsure`.
    """

    def __init__(self, server: Server, wire: Wire) -> None:
        self.wire = wire
        self._server = server
        self._received = b""
        self._will: Any = None
        self._receive_max = 0
        self._serving = self._ended = False
        self._acknowledged = 0
        self._settled: list[tuple[str, bytes]] = []  # acknowledged, and known so by the next ping's answer
        self._pending: list[tuple[str, bytes]] = []  # acknowledged, and not yet followed by a fresh one

    def receive(self, content: bytes) -> None:
        """Read bytes, unless the connection has ended here."""
        self._received += b"" if self._ended else content
        while (size := frame_bytes(self._received)) and size <= len(self._received):
            frame, self._received = self._received[:size], self._received[size:]
            packet = mqtt5.read(memoryview(frame))[0]
            _ACTIONS[type(packet)](self, packet)

    def send(self, *packets: Any, then: Callable[[], None] | None = None) -> None:
        """Write packets."""
        self.wire.to_client.write(b"".join(packet.write() for packet in packets), then)

    def send_plain(self, packet: PublishPacket, *, retain: bool) -> None:
        """Write a message at QoS 0."""
        properties = packet.user_properties
        self.send(PublishPacket(packet.topic, packet.payload, retain=retain, user_properties=properties))

    def send_messages(self) -> None:
        """Write messages, as far as the client's Receive Maximum allows."""
        server = self._server
        while self._serving and server.queue and len(server.in_flight) < self._receive_max:
            message = server.queue.popleft()
            packet_id = server.next_id()
            message.follows = not message.again and self._acknowledged > 0
            self._write(packet_id, message)

    def _write(self, packet_id: int, message: Sent) -> None:
        server = self._server
        server.faults["redelivered message"] += message.again
        duplicate = message.again and server.keeps_ids
        server.in_flight[packet_id] = message
        self.send(
            PublishPacket(
                message.topic,
                message.payload,
                qos=QoS(message.qos),
                packet_id=packet_id,
                duplicate=duplicate,
            )
        )
        message.again = True

    def lost(self) -> None:
        """The connection has ended without DISCONNECT, or after it."""
        server, self._ended = self._server, True
        if server.peer is self:
            server.peer = None
        if self._will:
            will, self._will = self._will, None
            properties = will.user_properties
            server.route(
                PublishPacket(will.topic, will.payload, retain=will.retain, user_properties=properties)
            )

    # Packets of the client.

    def _connect(self, packet: Any) -> None:
        server = self._server
        if server.session and packet.client_id != server.client_id:
            raise Wrong(f"the service has become {packet.client_id}, and left its session")
        server.client_id = packet.client_id
        if server.peer:
            older = server.peer
            older.send(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER))
            older.wire.end_by_server()
            older.lost()
        server.peer, self._will, self._receive_max = self, packet.will, packet.receive_max
        self.send(mqtt5.ConnAckPacket(session_present=server.session, receive_max=server.receive_maximum))
        held, server.in_flight = server.in_flight, {}
        for packet_id, message in held.items():
            message.follows = False
            if message.released:
                server.in_flight[packet_id] = message
                self.send(mqtt5.PubRelPacket(packet_id))
            else:
                self._write(packet_id if server.keeps_ids else server.next_id(), message)
        self._serving = server.session
        self.send_messages()

    def _subscribe(self, packet: Any) -> None:
        server, granted = self._server, []
        for entry in packet.topic_filters:
            server.subscriptions[entry.pattern] = int(entry.max_qos)
            granted.append(mqtt5.SubAckReasonCode(int(entry.max_qos)))
        self.send(mqtt5.SubAckPacket(packet.packet_id, granted))
        for entry in packet.topic_filters:
            if entry.pattern in server.retained:
                self.send_plain(server.retained[entry.pattern], retain=True)
        server.session = self._serving = True
        self.send_messages()

    def _publish(self, packet: Any) -> None:
        if packet.qos == QoS.AT_LEAST_ONCE:
            self.send(mqtt5.PubAckPacket(packet.packet_id))
        self._server.route(packet)

    def _puback(self, packet: Any) -> None:
        self.wire.acknowledged.discard(packet.packet_id)
        self._note(self._server.acknowledge(packet.packet_id))
        self.send_messages()

    def _pubrec(self, packet: Any) -> None:
        self.wire.acknowledged.discard(packet.packet_id)
        message = self._server.in_flight.get(packet.packet_id)
        if message and not message.released:
            message.released = True
            self._note(message)
        self.send(mqtt5.PubRelPacket(packet.packet_id))

    def _pubcomp(self, packet: Any) -> None:
        self._server.acknowledge(packet.packet_id)
        self.send_messages()

    def _note(self, message: Sent | None) -> None:
        if message:
            self._acknowledged += 1
            self._pending.append((message.topic, message.payload))
            if message.follows:
                self._settled += self._pending
                self._pending.clear()

    def _ping(self, _: Any) -> None:
        settled, self._settled = self._settled, []
        self.send(mqtt5.PingRespPacket(), then=lambda: self._server.unsure.difference_update(settled))

    def _disconnect(self, _: Any) -> None:
        self._will = None

    def _unsubscribe(self, packet: Any) -> None:
        self.send(mqtt5.UnsubAckPacket(packet.packet_id, [mqtt5.UnsubAckReasonCode(0)]))


_ACTIONS: dict[type, Callable[[Peer, Any], None]] = {
    mqtt5.ConnectPacket: Peer._connect,
    mqtt5.SubscribePacket: Peer._subscribe,
    mqtt5.UnsubscribePacket: Peer._unsubscribe,
    PublishPacket: Peer._publish,
    mqtt5.PubAckPacket: Peer._puback,
    mqtt5.PubRecPacket: Peer._pubrec,
    mqtt5.PubCompPacket: Peer._pubcomp,
    mqtt5.PingReqPacket: Peer._ping,
    mqtt5.DisconnectPacket: Peer._disconnect,
}
