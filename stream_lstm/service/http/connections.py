"""HTTP connections: a limit on their number, time limits of a request's arrival, and which one gives way.

A client that sends half a request, or reads no response, holds a place for as long as it can. So at the limit
no connection is refused: the one that has waited longest is closed, and a health check is always answered.
Viewers of the live feed, whose number has a limit of its own, keep their places.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

from stream_lstm.service.log import Throttle, logger

# From a request's first byte, or a new connection's start, to its end: a slow network takes one.
HEAD_SECONDS_MAX = 5.0
HANDSHAKE_SECONDS_MAX = 10.0  # of TLS, likewise, with the round trips of certificates
Handler = Callable[[], asyncio.Protocol | None]


class HttpConnections:
    """Accepted connections.

    Args:
        handler: makes the HTTP protocol of a connection; None: close it.
        most: connections at once.
    """

    def __init__(self, handler: Handler, *, most: int) -> None:
        self.handler = handler
        self._most = most
        # In the order in which they give way: of their start, or of their last complete request or response.
        # So a new request is answered long before its connection is the first.
        self._order: dict[HttpConnection, None] = {}
        self._serving: set[HttpConnection] = set()
        self._streaming: set[HttpConnection] = set()
        self._throttle = Throttle(time.monotonic)

    def accept(self, context: ssl.SSLContext | None) -> HttpConnection:
        """The protocol of an accepted connection, for `loop.create_server`.

        Args:
            context: for HTTPS; None: plain HTTP.
        """
        return HttpConnection(self, context)

    def close(self) -> None:
        """Close all connections at once."""
        for connection in [*self._order, *self._streaming]:
            connection.drop()

    def add(self, connection: HttpConnection) -> None:
        """Add an accepted connection; at the limit, another one is closed."""
        if len(self._order) + len(self._streaming) >= self._most:
            victim = next(iter(self._order), connection)
            self.remove(victim)
            victim.drop()
            if self._throttle.allow("limit") is not None:
                logger.warning("%d HTTP connections: those that have waited longest are closed", self._most)
        self._order[connection] = None

    def remove(self, connection: HttpConnection) -> None:
        """Remove a closed connection; one that was removed is ignored."""
        self._order.pop(connection, None)
        self._serving.discard(connection)
        self._streaming.discard(connection)

    def is_waiting(self, connection: HttpConnection) -> bool:
        """True if no request of this connection is being answered."""
        return connection not in self._serving and connection not in self._streaming

    @contextmanager
    def serving(self, transport: asyncio.BaseTransport | None) -> Iterator[None]:
        """A request of this connection is complete, and is answered in the block."""
        connection = _of(transport)
        if connection is None or connection not in self._order:  # closed meanwhile
            yield
            return
        self._put_last(connection)
        self._serving.add(connection)
        connection.complete()
        try:
            yield
        finally:
            if not self.is_waiting(connection):
                self.remove(connection)
                self._put_last(connection)

    def streaming(self, transport: asyncio.BaseTransport | None) -> None:
        """The response that this connection is sent has no end; within `serving`."""
        connection = _of(transport)
        if connection and connection in self._serving:
            self.remove(connection)
            self._streaming.add(connection)

    def _put_last(self, connection: HttpConnection) -> None:
        self._order.pop(connection, None)
        self._order[connection] = None


def _of(transport: asyncio.BaseTransport | None) -> HttpConnection | None:
    """The connection of a request's transport; None if it is closed."""
    found = transport.get_protocol() if transport else None
    return found if isinstance(found, HttpConnection) else None


class HttpConnection(asyncio.Protocol):
    """One accepted connection: passes on what the HTTP protocol needs, after TLS if there is any."""

    def __init__(self, connections: HttpConnections, context: ssl.SSLContext | None) -> None:
        self._connections = connections
        self._context = context
        self._protocol: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._early = bytearray()  # received together with the end of the handshake
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is established."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        if self._context is None:
            self._begin(self._transport)
        else:
            self._transport.pause_reading()  # until TLS reads
            self._handshake = asyncio.create_task(self._secure(self._transport, self._context))

    async def _secure(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        """Establish TLS."""
        loop = asyncio.get_running_loop()
        secured = None
        with suppress(OSError):  # the peer's fault; asyncio has closed the transport
            secured = await loop.start_tls(
                transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS_MAX
            )
        if secured is None:
            self._connections.remove(self)
            return
        self._begin(secured)
        if self._early and self._protocol:
            self.data_received(bytes(self._early))
            self._early.clear()

    def _begin(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._protocol = self._connections.handler()
        if self._protocol is None:
            self.drop()
            return
        self._protocol.connection_made(transport)
        self._expect_request()

    def _expect_request(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS_MAX, self._expire)

    def _expire(self) -> None:
        if self._connections.is_waiting(self):
            self.drop()
        else:  # for its response; the bytes were of the next request
            self._expect_request()

    def complete(self) -> None:
        """A request is complete."""
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def drop(self) -> None:
        """Close at once; what was not sent is lost."""
        if self._transport:
            self._transport.abort()

    # Callbacks of asyncio.

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if self._protocol is None:
            self._early += data
            return
        if self._deadline is None:
            self._expect_request()
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        return self._protocol.eof_received() if self._protocol else None

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        if self._protocol:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The client has read."""
        if self._protocol:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self.complete()
        self._connections.remove(self)
        if self._protocol:
            self._protocol.connection_lost(exc)
