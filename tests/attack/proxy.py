"""TCP proxy between the service and its broker that cuts, stalls and half-closes at random bytes."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable

from tests.attack.record import Observer, Record

READ_BYTES = 65_536
HARM_BYTES = 1, 100_000  # of one direction until it is harmed; each power of ten is as likely
STALL_SECONDS = 0.05, 4.0  # drawn likewise
END_SECONDS = 1.0  # from one side's end of stream to the end of the connection
HARMS = ("reset", "close", "half-close", "stall", "stall", "stall and reset")


class Proxy:
    """Forwards connections, and records what it forwards.

    Args:
        port: of the broker.
        seed: of the harms.

    Attributes:
        harms: how many of each kind were done.
        port: the proxy's own.
    """

    def __init__(self, port: int, record: Record, *, seed: int) -> None:
        self._broker_port = port
        self._record = record
        self._draw = random.Random(seed)
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._trigger: tuple[bool, int, Callable[[], None]] | None = None
        self._harmful = False
        self.harms: Counter[str] = Counter()
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End everything."""
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def harm(self) -> None:
        """Reset the connection, and harm all further ones."""
        self._harmful = True
        self.cut()

    def spare(self) -> None:
        """Do no more harm."""
        self._harmful = False
        for connection in self._open:
            connection.spare()

    @property
    def harmful(self) -> bool:
        """True if new connections are harmed."""
        return self._harmful

    def cut(self) -> None:
        """Reset all connections."""
        for connection in list(self._open):
            connection.reset()

    def after_bytes(self, count: int, call: Callable[[], None], *, up: bool) -> None:
        """Call once, when so many further bytes have been forwarded in this direction."""
        self._trigger = (up, count, call)

    def forget_trigger(self) -> None:
        """Do not call."""
        self._trigger = None

    def until_trigger(self, *, up: bool) -> int | None:
        """Bytes until the call; None: there is none in this direction."""
        return self._trigger[1] if self._trigger and self._trigger[0] == up else None

    def count(self, size: int, *, up: bool) -> None:
        """So many bytes were forwarded."""
        if self._trigger and self._trigger[0] == up:
            _, left, call = self._trigger
            self._trigger = (up, left - size, call)
            if left <= size:
                self._trigger = None
                call()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]
        connection = _Connection(self, Observer(self._record), self._draw)
        self._open.add(connection)
        try:
            await connection.run(reader, writer, self._broker_port)
        except OSError:
            pass
        finally:
            connection.reset()
            self._open.discard(connection)
            self._tasks.discard(task)  # type: ignore[arg-type]


class _Connection:
    """One connection of the service, and its other half to the broker."""

    def __init__(self, proxy: Proxy, observer: Observer, draw: random.Random) -> None:
        self._proxy = proxy
        self._observer = observer
        self._draw = draw
        self._writers: list[asyncio.StreamWriter] = []
        self._harm_up = draw.random() < 0.5
        self._left = int(_spread(draw, *HARM_BYTES)) if proxy.harmful else None

    def spare(self) -> None:
        """Do no harm."""
        self._left = None

    def reset(self) -> None:
        """Reset both halves: what the kernel holds is lost."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        """Forward until both directions have ended."""
        self._writers.append(writer)
        broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", port)
        self._writers.append(broker_writer)
        pumps = {
            asyncio.create_task(self._pump(reader, broker_writer, up=True)),
            asyncio.create_task(self._pump(broker_reader, writer, up=False)),
        }
        _, running = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if running:
            await asyncio.wait(running, timeout=END_SECONDS)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        while some := await reader.read(READ_BYTES):
            while some:
                limits = [len(some)]
                if self._left is not None and up == self._harm_up:
                    limits.append(self._left)
                if (until := self._proxy.until_trigger(up=up)) is not None:
                    limits.append(max(until, 1))
                size = min(limits)
                piece, some = some[:size], some[size:]
                if piece:
                    self._observer.forwarded(piece, up=up)  # first: an answer must not be seen before it
                    writer.write(piece)
                    await writer.drain()
                    self._proxy.count(size, up=up)
                if self._left is not None and up == self._harm_up:
                    self._left -= size
                    if not self._left and await self._harm(writer):
                        return
        writer.write_eof()

    async def _harm(self, writer: asyncio.StreamWriter) -> bool:
        """Do harm; returns True if this direction has ended."""
        self._left = None
        kind = self._draw.choice(HARMS)
        self._proxy.harms[kind] += 1
        if kind.startswith("stall"):
            await asyncio.sleep(_spread(self._draw, *STALL_SECONDS))
        if kind == "half-close":
            writer.write_eof()
        elif kind == "close":
            for each in self._writers:
                each.close()
        elif kind != "stall":
            self.reset()
        return kind != "stall"


def _spread(draw: random.Random, low: float, high: float) -> float:
    """A number of which each power of ten is as likely."""
    return float(low * (high / low) ** draw.random())
