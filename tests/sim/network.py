"""A simulated network between the service and its broker: bytes come late, in pieces, and up to a cut."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stream_lstm.service.mqtt.framing import frame_bytes

PUBACK, PUBREC = 4, 5  # MQTT 5.0, section 2.1.2
STEP = 1e-9  # seconds between two pieces that would arrive at once: their order is kept


class Stream:
    """Bytes one way, in order.

    Args:
        wire: that it is part of.
        arrived: receives the bytes.
    """

    def __init__(self, wire: Wire, arrived: Callable[[bytes], None]) -> None:
        self._wire = wire
        self._arrived = arrived
        self._due = 0.0
        self._held: deque[tuple[bytes, Callable[[], None] | None]] = deque()  # arrived, and not read yet
        self.under_way: deque[tuple[bytes, Callable[[], None] | None]] = deque()
        self.paused = self.cut = False

    def write(self, content: bytes, then: Callable[[], None] | None = None) -> None:
        """Send bytes, and call `then` when the last of them has been read."""
        draw, network = self._wire.network.draw, self._wire.network
        if self.cut or not content:
            return
        if network.fails(network.cut_share):
            at = draw.choice(_boundaries(content)) if draw.random() < 0.5 else draw.randint(0, len(content))
            network.faults["cut within a write"] += 1
            self._send(content[:at], then if at == len(content) else None)
            self.cut = True
            self._wire.cut_off(one_way=True)
            return
        at = draw.randint(1, len(content)) if draw.random() < 0.2 else len(content)
        self._send(content[:at], None if at < len(content) else then)
        self._send(content[at:], then)

    def _send(self, piece: bytes, then: Callable[[], None] | None) -> None:
        if piece:
            network = self._wire.network
            loop = asyncio.get_running_loop()
            delay_seconds = network.draw.expovariate(1.0 / network.latency_seconds)
            self._due = max(self._due + STEP, loop.time() + delay_seconds)
            self.under_way.append((piece, then))
            loop.call_at(self._due, self._arrive)

    def _arrive(self) -> None:
        if self.under_way and not self._wire.gone:
            self._held.append(self.under_way.popleft())
            self.read()

    def read(self) -> None:
        """Pass on what has arrived, unless reading is paused."""
        while self._held and not self.paused:
            piece, then = self._held.popleft()
            self._arrived(piece)
            if then and not self._wire.closed:
                then()

    def lose(self) -> None:
        """Carry nothing more, and lose the end of what is under way; the timers of the rest still stand."""
        self.cut = True
        content = b"".join(piece for piece, _ in self.under_way)
        keeps = self._wire.network.draw.randint(0, len(content))
        kept: deque[tuple[bytes, Callable[[], None] | None]] = deque()
        for piece, then in self.under_way:
            if keeps > 0:
                kept.append((piece[:keeps], then if keeps >= len(piece) else None))
            keeps -= len(piece)
        self.under_way = kept

    def flush(self) -> None:
        """Deliver at once all that is under way."""
        self._held += self.under_way
        self.under_way.clear()
        self.read()


class Wire(asyncio.Transport):
    """One connection; the client's end is the transport, the server's end is `peer`.

    Attributes:
        cut: True if nothing more is carried, one way or both.
        closed: True if the client has closed its end, and reads no more.
        acknowledged: packet ids of acknowledgements that the client has written and the server has not read.
        gone: True if the client's process has ended.
    """

    def __init__(self, network: Network, protocol: Any) -> None:
        super().__init__()
        self.network = network
        self.protocol = protocol
        self.cut = self.gone = False
        self.closed = False
        self.acknowledged: set[int] = set()
        self.peer = network.server.accept(self)
        self.to_server = Stream(self, self.peer.receive)
        self.to_client = Stream(self, self._read)

    def _read(self, content: bytes) -> None:
        while content and not self.closed:
            space = self.protocol.get_buffer(-1)
            piece = content[: len(space)]
            space[: len(piece)] = piece
            self.protocol.buffer_updated(len(piece))
            content = content[len(piece) :]

    # Calls of the client, as of any transport.

    def write(self, data: Any) -> None:
        if self.closed or self.to_server.cut:
            return
        self._note_acknowledgements(bytes(data))
        self.to_server.write(bytes(data))
        draw = self.network.draw
        if self.network.fails(self.network.stall_share):
            self.network.faults["full write buffer"] += 1
            self.protocol.pause_writing()
            asyncio.get_running_loop().call_later(draw.expovariate(20.0), self._resume_writing)

    def _note_acknowledgements(self, content: bytes) -> None:
        for start in _boundaries(content)[:-1]:
            if content[start] >> 4 in (PUBACK, PUBREC):
                self.acknowledged.add(int.from_bytes(content[start + 2 : start + 4], "big"))

    def _resume_writing(self) -> None:
        if not (self.closed or self.gone):
            self.protocol.resume_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Any limit will do."""

    def pause_reading(self) -> None:
        self.to_client.paused = True

    def resume_reading(self) -> None:
        self.to_client.paused = False
        asyncio.get_running_loop().call_soon(self.to_client.read)

    def close(self) -> None:
        if not self.closed:
            self._end(None)
            if not self.cut:  # behind what is still under way
                asyncio.get_running_loop().call_at(self.to_server._due + STEP, self._lose_client)

    def abort(self) -> None:
        if not self.closed:
            self.to_server.lose()
            self._end(None)
            asyncio.get_running_loop().call_at(self.to_server._due + STEP, self._lose_client)

    # Faults.

    def cut_off(self, *, one_way: bool = False) -> None:
        """Carry nothing more; each end notices later, or the client only by its keep-alive.

        Args:
            one_way: True if the other way may stay open until then.
        """
        if self.cut:
            return
        self.cut = True
        loop, draw = asyncio.get_running_loop(), self.network.draw
        for stream in (self.to_server, self.to_client):
            if not stream.cut and not (one_way and draw.random() < 0.5):
                stream.lose()
        if draw.random() < 0.9:
            error = draw.choice([None, ConnectionResetError("reset by peer")])
            loop.call_later(self.network.notice_seconds(), self._end, error)
        else:
            self.network.faults["silent connection"] += 1
        loop.call_later(self.network.notice_seconds(), self._lose_client)

    def end_by_server(self) -> None:
        """The server has closed its end."""
        if not self.cut:
            self.cut = self.to_server.cut = self.to_client.cut = True
            self.to_server.under_way.clear()
            asyncio.get_running_loop().call_at(self.to_client._due + STEP, self._end, None)

    def _end(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)

    def _lose_client(self) -> None:
        if not self.gone:
            self.peer.lost()


def _boundaries(content: bytes) -> list[int]:
    """Where the packets of a write begin, and where the last one ends."""
    found = [0]
    while found[-1] < len(content):
        found.append(found[-1] + frame_bytes(content[found[-1] : found[-1] + 5]))
    return found


class Network:
    """Connections of one service process after the other to one server.

    Args:
        cut_share: probability that a write, of either side, is cut within it.
        stall_share: probability that the client's write buffer is full after a write.
        latency_seconds: mean time under way.
        faults_max: number of faults, so that a world ends.

    Attributes:
        server: to connect to.
        calm: True: no faults from now on.
    """

    server: Any

    def __init__(
        self,
        draw: random.Random,
        faults: Counter[str],
        *,
        cut_share: float,
        stall_share: float,
        latency_seconds: float,
        faults_max: int,
    ) -> None:
        self.draw = draw
        self.faults = faults
        self.cut_share = cut_share
        self.stall_share = stall_share
        self.latency_seconds = latency_seconds
        self.calm = False
        self._faults_left = faults_max
        self._wires: list[Wire] = []
        self._last: Wire | None = None

    def fails(self, share: float) -> bool:
        """True with this probability, as long as there are faults left."""
        if self.calm or not self._faults_left or self.draw.random() >= share:
            return False
        self._faults_left -= 1
        return True

    @contextmanager
    def worse(self, cut_share: float) -> Iterator[None]:
        """Cut with this probability at least, meanwhile."""
        usual, self.cut_share = self.cut_share, max(self.cut_share, cut_share)
        try:
            yield
        finally:
            self.cut_share = usual

    def notice_seconds(self) -> float:
        """Time after which an end notices a cut: behind the bytes that still arrive."""
        return self.latency_seconds * 20.0 + self.draw.expovariate(10.0)

    async def connect(self, protocol_factory: Callable[[], Any]) -> tuple[Wire, Any]:
        """What `loop.create_connection` does."""
        await asyncio.sleep(self.draw.expovariate(1.0 / self.latency_seconds))
        if not self.server.up:
            raise ConnectionRefusedError("connection refused")
        protocol = protocol_factory()
        wire = self._last = Wire(self, protocol)
        self._wires.append(wire)
        protocol.connection_made(wire)
        return wire, protocol

    def cut_off(self) -> None:
        """Cut the connections that there are."""
        self.faults["cut while idle"] += 1
        for wire in self._wires:
            wire.cut_off()

    def end_process(self, *, killed: bool) -> set[int]:
        """End the client's process: the kernel sends what was written, or the machine died and it does not.

        Returns:
            Packet ids of acknowledgements on the last connection that the server has not read.
        """
        for wire in self._wires:
            wire.cut = wire.to_server.cut = wire.to_client.cut = True
        for wire in self._wires:
            if killed:
                wire.to_server.lose()
            wire.to_server.flush()
            wire.peer.lost()
            wire.gone = True
        self._wires.clear()
        return self._last.acknowledged if self._last else set()
