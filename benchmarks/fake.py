"""A broker that is none: feeds one client faster than any broker could, and counts what comes back.

Frames made beforehand go out as fast as the client's acknowledgements (QoS 1) or its socket (QoS 0) let them;
of what comes in, packets are only counted, and pings answered. So the client's own speed is what is seen.
"""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass

import mqtt5

from benchmarks.load import PIECE_BYTES, Dried, Frames
from stream_lstm.service.mqtt.framing import frame_bytes

PATIENCE_SECONDS = 60.0
PUBLISH, PUBACK, PINGREQ = 0x3, 0x4, 0xC  # section 2.1.2
PONG = mqtt5.PingRespPacket().write()
_GRANTED = (
    mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE,
    mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE,
    mqtt5.SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE,
)


@dataclass
class Fed:
    """What a client did with what it was fed."""

    seconds: float  # from the first event to the last prediction and acknowledgement
    predictions: int


class Fake:
    """Listens for one client."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._rest = self._out = b""
        self._pongs = 0
        self.predictions = self.acknowledged = 0

    def greet(self) -> None:
        """Let the client connect and subscribe."""
        self._listening.settimeout(PATIENCE_SECONDS)
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
        self._rest = content
        self._socket.setblocking(False)

    def feed(self, frames: Frames, *, qos: int, window: int) -> Fed:
        """Send all frames, and wait for a prediction of each.

        Args:
            window: so many may be unacknowledged at QoS 1, unpredicted at QoS 0.
        """
        self.predictions = self.acknowledged = 0
        begun, sent = time.monotonic(), 0
        while True:
            back = min(self.acknowledged, self.predictions) if qos else self.predictions
            if back >= frames.count:
                return Fed(time.monotonic() - begun, self.predictions)
            if not self._out:  # whole packets, so that an answer to a ping never comes within one
                limit = min(frames.count, back + window, sent + PIECE_BYTES // frames.size)
                self._out = PONG * self._pongs + bytes(frames.part(sent, limit))
                self._pongs, sent = 0, limit
            readable, writable, _ = select.select(
                [self._socket], [self._socket] if self._out else [], [], PATIENCE_SECONDS
            )
            if not readable and not writable:
                raise Dried(f"{back} of {frames.count} events")
            if readable:
                self._count()
            if writable:
                self._out = self._out[self._socket.send(self._out) :]

    def _count(self) -> None:
        content = self._rest + self._socket.recv(1 << 20)
        at, end = 0, len(content)
        while at + 4 <= end or (at + 2 <= end and content[at + 1] == 0):
            kind, size = content[at] >> 4, content[at + 1]
            after = at + 2 + size
            if size > 127:  # nothing here is longer than two bytes can say
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
        self._rest = content[at:]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._listening.close()
