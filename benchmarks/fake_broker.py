"""Fake broker: sends to one client faster than a broker could, and counts what comes back.

Frames are encoded beforehand and sent as fast as the client's acknowledgements (QoS 1) or its predictions
(QoS 0) allow. Packets from the client are only counted, and pings answered. The client's own speed is the
limit.
"""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass

import mqtt5

from benchmarks.load import PIECE_BYTES, Frames, Stalled
from stream_lstm.service.mqtt.framing import frame_bytes

TIMEOUT_SECONDS = 60.0  # without progress; far beyond a start or a checkpoint of the service
PUBLISH, PUBACK, PINGREQ = 0x3, 0x4, 0xC  # section 2.1.2
PONG = mqtt5.PingRespPacket().write()
_GRANTED = (
    mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE,
    mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE,
    mqtt5.SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE,
)


@dataclass
class Fed:
    """Result of one feed."""

    seconds: float  # from the first event to the last prediction and acknowledgement
    predictions: int


class FakeBroker:
    """Fake broker for one client, on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._unread = self._out = b""
        self._pongs = 0
        self.predictions = self.acknowledged = 0

    def accept(self) -> None:
        """Accept the client's connection and subscription."""
        self._listening.settimeout(TIMEOUT_SECONDS)
        self._socket, _ = self._listening.accept()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        content = b""
        while True:
            while not (size := frame_bytes(content)) or size > len(content):
                content += self._socket.recv(65_536)
            packet, content = mqtt5.read(memoryview(content))[0], content[size:]
            if isinstance(packet, mqtt5.ConnectPacket):
                self._socket.sendall(mqtt5.ConnAckPacket().write())
            elif isinstance(packet, mqtt5.SubscribePacket):
                granted = [_GRANTED[int(f.max_qos)] for f in packet.topic_filters]
                self._socket.sendall(mqtt5.SubAckPacket(packet.packet_id, reason_codes=granted).write())
                break
        self._unread = content
        self._socket.setblocking(False)

    def feed(self, frames: Frames, *, qos: int, window: int) -> Fed:
        """Send all frames, and wait for a prediction of each.

        Args:
            window: events that may be unacknowledged at QoS 1, without a prediction at QoS 0.
        """
        self.predictions = self.acknowledged = 0
        begun, sent = time.monotonic(), 0
        while True:
            done = min(self.acknowledged, self.predictions) if qos else self.predictions
            if done >= frames.count:
                return Fed(time.monotonic() - begun, self.predictions)
            if not self._out:  # whole packets, so that a ping response never falls inside one
                limit = min(frames.count, done + window, sent + PIECE_BYTES // frames.size)
                self._out = PONG * self._pongs + bytes(frames.part(sent, limit))
                self._pongs, sent = 0, limit
            readable, writable, _ = select.select(
                [self._socket], [self._socket] if self._out else [], [], TIMEOUT_SECONDS
            )
            if not readable and not writable:
                raise Stalled(f"{done} of {frames.count} events")
            if readable:
                self._count()
            if writable:
                self._out = self._out[self._socket.send(self._out) :]

    def _count(self) -> None:
        content = self._unread + self._socket.recv(1 << 20)
        at, end = 0, len(content)
        while at + 4 <= end or (at + 2 <= end and content[at + 1] == 0):
            kind, size = content[at] >> 4, content[at + 1]
            after = at + 2 + size
            if size > 127:  # a variable byte integer of two bytes; no packet here is longer (section 1.5.5)
                after = at + 3 + (size & 127 | content[at + 2] << 7)
            if after > end:
                break
            if kind == PUBLISH:
                self.predictions += 1
            elif kind == PUBACK:
                self.acknowledged += 1
            elif kind == PINGREQ:
                self._pongs += 1
            at = after
        self._unread = content[at:]

    def close(self) -> None:
        """Close the connection and the listener."""
        self._socket.close()
        self._listening.close()
