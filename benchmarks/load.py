"""Load generator: sensors and a reader of predictions on raw sockets, in one thread.

Frames are encoded beforehand and all of one length, so that any range of them is one slice. The generator's
cost per message is small beside the broker's.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator

import mqtt5

from stream_lstm.service.mqtt.framing import frame_bytes

SEQ_FROM = 1_000_000_000  # ten digits for every event of a run, so that all payloads have one length
PIECE_BYTES = 65_536  # of one write; acknowledgements are read in between
TIMEOUT_SECONDS = 60.0  # without progress; far beyond a start of the service
PUBACK_BYTES = 4  # MQTT 5, section 3.4: success has neither reason code nor properties


class Stalled(Exception):
    """A measurement made no progress for too long."""


def topic(event: int, topics: int) -> str:
    """Topic of an event; the sensors take turns."""
    return f"sensors/{_sensor(event, topics)}/telemetry"


def _sensor(event: int, topics: int) -> str:
    return f"s{event % topics:0{max(4, len(str(topics - 1)))}}"


def payload(event: int, topics: int, now: int, size: int = 0) -> bytes:
    """JSON with three readings, about 100 bytes, or about `size` if that is more."""
    more = f',"note":"{"x" * (size - 100)}"' if size > 100 else ""
    temperature = 21.0 + 0.01 * ((event * 7919) % 97)
    return (
        f'{{"id":"{_sensor(event, topics)}","seq":{SEQ_FROM + event},"t":{now},'
        f'"temp":{temperature:.2f},"hum":45.2,"vib":0.0123,"ok":true{more}}}'
    ).encode()


class Frames:
    """Encoded PUBLISH packets of the events `start` to `start + count`.

    Args:
        qos: 0 or 1.
        payload_bytes: approximate size; at least about 100.
    """

    def __init__(self, start: int, count: int, *, topics: int, qos: int, payload_bytes: int = 0) -> None:
        now = time.time_ns()
        self.count = count
        self.bytes = b"".join(
            mqtt5.PublishPacket(
                topic(n, topics),
                payload(n, topics, now, payload_bytes),
                qos=mqtt5.QoS(qos),
                packet_id=n % 65_535 + 1 if qos else None,
            ).write()
            for n in range(start, start + count)
        )
        self.size = len(self.bytes) // count
        assert self.size * count == len(self.bytes)

    def part(self, start: int, end: int) -> memoryview:
        """Frames from `start` to before `end`."""
        return memoryview(self.bytes)[start * self.size : end * self.size]


class Client:
    """MQTT connection to a broker on 127.0.0.1."""

    def __init__(self, port: int, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self.socket.sendall(mqtt5.ConnectPacket(name, clean_start=True, keep_alive=0).write())
        self._expect(mqtt5.ConnAckPacket)

    def subscribe(self, pattern: str) -> None:
        """Subscribe at QoS 0."""
        filters = [mqtt5.TopicFilter(pattern, max_qos=mqtt5.QoS.AT_MOST_ONCE)]
        self.socket.sendall(mqtt5.SubscribePacket(1, filters).write())
        self._expect(mqtt5.SubAckPacket)

    def _expect(self, kind: type) -> None:
        end = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < end:
            if any(isinstance(packet, kind) for packet in self.packets()):
                return
        raise Stalled(kind.__name__)

    def packets(self) -> Iterator[mqtt5.Packet]:
        """Receive once and decode the complete packets."""
        content = self._unread + self.socket.recv(1 << 20)
        while (size := frame_bytes(content)) and size <= len(content):
            yield mqtt5.read(memoryview(content))[0]
            content = content[size:]
        self._unread = content

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


class Sensors(Client):
    """Publisher of events; at QoS 1 with at most `window` of them unacknowledged."""

    def __init__(self, port: int, *, window: int) -> None:
        super().__init__(port, "sensors")
        self.socket.setblocking(False)
        self._window = window
        self._acknowledged_bytes = 0

    def send(
        self,
        frames: Frames,
        *,
        qos: int,
        rate: float | None = None,
        beside: Callable[[], None] = lambda: None,
        times: list[float] | None = None,
        reader: Client | None = None,
    ) -> float:
        """Publish all frames and wait for the broker's acknowledgements.

        Args:
            rate: events per second; None is as fast as the broker takes them.
            beside: called whenever the reader may have packets.
            times: receives the time at which each event was sent.

        Returns:
            Start time, on the monotonic clock.
        """
        begun = time.monotonic()
        sent = written = 0  # events that may go out; bytes that have
        first = self._acknowledged_bytes
        while True:
            acknowledged = (self._acknowledged_bytes - first) // PUBACK_BYTES if qos else sent
            done = written == len(frames.bytes) and acknowledged >= frames.count
            if done:
                return begun
            limit = frames.count if rate is None else int((time.monotonic() - begun) * rate) + 1
            limit = min(limit, frames.count, acknowledged + self._window if qos else frames.count)
            if times is not None:
                times.extend([time.monotonic()] * (limit - len(times)))
            sent = max(sent, limit)
            pending = sent * frames.size - written
            self._wait(pending > 0, reader, 0.0002 if rate else 0.1)
            if pending:
                written += self._write(frames.bytes, written, min(pending, PIECE_BYTES))
            beside()

    def _wait(self, writing: bool, reader: Client | None, seconds: float) -> None:
        reading = [self.socket, *([reader.socket] if reader else [])]
        readable, _, _ = select.select(reading, [self.socket] if writing else [], [], seconds)
        if self.socket in readable:
            content = self.socket.recv(1 << 18)
            assert content, "the broker closed the connection"
            self._acknowledged_bytes += len(content)

    def _write(self, content: bytes, start: int, count: int) -> int:
        try:
            return self.socket.send(memoryview(content)[start : start + count])
        except BlockingIOError:
            return 0
