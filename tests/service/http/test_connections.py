"""HTTP connections: half requests and slow readers give way, and a health check is always answered."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from prometheus_client import CollectorRegistry

from stream_lstm.service.http import connections as module
from stream_lstm.service.http import server as http_server
from stream_lstm.service.http.connections import HttpConnection, HttpConnections
from stream_lstm.service.http.server import HttpServer
from tests.service.http.harness import open_harness, serve, until

HALF = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: "
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER_SECONDS_MAX = 30.0  # before: 76 s; far above what a busy machine adds
FILES = 8_192


@pytest.fixture
def many_files() -> Iterator[None]:
    """Allow as many open files as the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"no more than {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def attackers(port: int, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Connections that send this and read nothing; they are opened without waiting for the server."""
    sockets = []
    for _ in range(count):
        sockets.append(socket.socket())
        sockets[-1].setblocking(False)
        sockets[-1].connect_ex(("127.0.0.1", port))
    sending = [one for one in sockets if not send(one, sent)]
    try:
        yield sending
    finally:
        for one in sockets:
            one.close()


def send(one: socket.socket, content: bytes) -> bool:
    """Send; false while it cannot."""
    try:
        return one.send(content) > 0
    except BlockingIOError:
        return False
    except OSError:  # closed by the server
        return True


async def ask(port: int, sent: bytes = LAST, *, context: ssl.SSLContext | None = None) -> tuple[bytes, float]:
    """The answer to a request on a new connection, and how long it took, seconds."""
    begun = time.monotonic()
    name = "localhost" if context else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    writer.write(sent)
    found = await reader.read()
    writer.close()
    return found, time.monotonic() - begun


async def closed(reader: asyncio.StreamReader) -> bool:
    """True if the server closes the connection soon."""
    try:
        async with asyncio.timeout(2.0):
            return await reader.read() is not None
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("sent", [HALF, METRICS], ids=["half requests", "slow readers"])
@pytest.mark.parametrize("count", [300, 3_000])
async def test_a_health_check_is_answered_beside_many_slow_clients(
    sent: bytes, count: int, many_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server.exporter, "page", lambda _: b"x" * 100_000)
    async with serve(None) as client:
        with attackers(client.server.port, count, sent) as sending:
            for _ in range(10):
                found, took = await ask(client.server.port)
                assert b'{"status": "alive"}' in found
                assert took < ANSWER_SECONDS_MAX
                sending[:] = [one for one in sending if not send(one, sent)]


@pytest.mark.parametrize("sent", [b"", HALF, HEALTH + HALF], ids=["nothing", "half", "half of the second"])
async def test_a_request_must_be_complete_in_time_however_it_trickles(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS_MAX", 0.3)
    async with serve(None) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
        for part in (HEALTH, HALF) if sent.startswith(HEALTH) else (sent,):
            writer.write(part)
            await asyncio.sleep(0.05)
        reading = asyncio.create_task(closed(reader))
        while not reading.done():
            writer.write(b"a" if sent else b"")
            await asyncio.sleep(0.05)
        assert reading.result()
        writer.close()


async def test_a_connection_may_rest_between_two_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS_MAX", 0.1)
    async with serve(None) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
        for _ in range(2):
            writer.write(HEALTH)
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 OK")
            await asyncio.sleep(0.3)
        writer.close()


async def test_a_body_that_does_not_come_holds_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS_MAX", 0.2)
    async with serve(None) as client:
        sent = b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nxxx"
        found, took = await ask(client.server.port, sent)
        assert found.startswith(b"HTTP/1.1 200 OK")
        assert took < ANSWER_SECONDS_MAX


async def test_the_connection_that_has_waited_longest_gives_way(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(None, connections_max=3) as client:
        streams = [await asyncio.open_connection("127.0.0.1", client.server.port) for _ in range(3)]
        streams[1][1].write(HALF)
        streams[0][1].write(HEALTH)
        await streams[0][0].readuntil(b"}")  # so it waits since then
        for n in (1, 2, 0):
            streams.append(await asyncio.open_connection("127.0.0.1", client.server.port))
            assert await closed(streams[n][0])
        assert b"alive" in (await ask(client.server.port))[0]
        for _, writer in streams:
            writer.close()
    assert [record.getMessage() for record in caplog.records] == [
        "3 HTTP connections: those that have waited longest are closed"
    ]


async def test_viewers_of_the_live_feed_keep_their_places(
    tmp_path: Path, many_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS_MAX", 0.2)
    async with (
        open_harness(tmp_path / "s.db") as harness,
        serve(harness.context, connections_max=2) as client,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
        writer.write(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"event: overview")
        writer.write(b"GET /he")  # begins the next request
        with attackers(client.server.port, 50, HALF):
            assert b"alive" in (await ask(client.server.port))[0]
            await asyncio.sleep(0.5)
            await reader.readuntil(b"event: overview")
        writer.close()


class FakeTransport:
    """Transport that notes its end."""

    def __init__(self, protocol: HttpConnection) -> None:
        self._protocol = protocol
        self.aborted = False

    def get_protocol(self) -> HttpConnection:
        return self._protocol

    def abort(self) -> None:
        self.aborted = True

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


async def test_without_one_that_waits_longer_the_new_connection_is_closed() -> None:
    """The limit on viewers is lower; should it not be, they stay."""
    connections = HttpConnections(asyncio.Protocol, most=1)
    accepted = [connections.accept(None) for _ in range(3)]
    transports = [FakeTransport(connection) for connection in accepted]
    accepted[0].connection_made(cast(asyncio.Transport, transports[0]))
    with connections.serving(cast(asyncio.Transport, transports[0])):
        connections.streaming(cast(asyncio.Transport, transports[0]))
        accepted[1].connection_made(cast(asyncio.Transport, transports[1]))
    assert [transport.aborted for transport in transports] == [False, True, False]
    for connection in accepted[:2]:
        connection.connection_lost(None)
    accepted[2].connection_made(cast(asyncio.Transport, transports[2]))
    assert not transports[2].aborted
    with connections.serving(cast(asyncio.Transport, transports[0])):  # lost before its request was read
        connections.streaming(cast(asyncio.Transport, transports[0]))
    with connections.serving(None):
        pass
    connections.close()
    assert transports[2].aborted
    accepted[2].connection_lost(None)


async def test_a_request_that_takes_long_gives_way_to_new_ones() -> None:
    connections = HttpConnections(asyncio.Protocol, most=2)
    accepted = [connections.accept(None) for _ in range(3)]
    transports = [cast(asyncio.Transport, FakeTransport(connection)) for connection in accepted]
    for connection, transport in zip(accepted[:2], transports, strict=False):
        connection.connection_made(transport)
    with connections.serving(transports[1]), connections.serving(transports[0]):
        accepted[2].connection_made(transports[2])
        assert [transport.aborted for transport in cast(Any, transports)] == [False, True, False]
    for connection in accepted:
        connection.connection_lost(None)


async def test_a_connection_to_a_server_that_is_closed_is_closed() -> None:
    connections = HttpConnections(lambda: None, most=2)
    connection = connections.accept(None)
    transport = FakeTransport(connection)
    connection.connection_made(cast(asyncio.Transport, transport))
    assert transport.aborted
    for event in (connection.eof_received, connection.pause_writing, connection.resume_writing):
        assert event() is None
    connection.connection_lost(None)


CA = trustme.CA()


@asynccontextmanager
async def encrypted(most: int) -> AsyncIterator[tuple[HttpServer, ssl.SSLContext]]:
    """A server of HTTPS, and a client's context."""
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    CA.issue_cert("localhost").configure_cert(ours)
    CA.configure_trust(theirs)
    server = HttpServer(CollectorRegistry(), list, connections_max=most)
    await server.start("127.0.0.1", 0, context=ours)
    yield server, theirs
    await server.close()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["nothing", "half a handshake"])
async def test_a_health_check_is_answered_beside_many_half_handshakes(sent: bytes, many_files: None) -> None:
    async with encrypted(100) as (server, context):
        with attackers(server.port, 300, sent) as sending:
            for _ in range(5):
                found, took = await ask(server.port, context=context)
                assert b'{"status": "alive"}' in found
                assert took < ANSWER_SECONDS_MAX
                sending[:] = [one for one in sending if not send(one, sent)]


async def test_a_handshake_must_be_complete_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS_MAX", 0.1)
    async with encrypted(100) as (server, _):
        assert await ask(server.port, b"\x16\x03\x01") == (b"", pytest.approx(0.1, abs=2.0))


async def test_a_failed_handshake_frees_its_place() -> None:
    async with encrypted(100) as (server, context):
        for _ in range(3):
            await ask(server.port, HEALTH)  # no TLS
            with pytest.raises(ssl.SSLError):
                await ask(server.port, context=ssl.create_default_context())  # does not trust us
        await until(lambda: not server._connections._order)
        assert b"alive" in (await ask(server.port, context=context))[0]


async def test_bytes_that_come_with_the_end_of_the_handshake_are_read() -> None:
    """As when a client sends its request at once: TLS is established in a task, which may run later."""
    async with encrypted(100) as (server, context):
        for _ in range(20):
            raw = socket.create_connection(("127.0.0.1", server.port))
            raw.setblocking(True)

            def talk(raw: socket.socket = raw) -> bytes:
                with context.wrap_socket(raw, server_hostname="localhost") as secured:
                    secured.sendall(LAST)
                    return b"".join(iter(lambda: secured.recv(4_096), b""))

            assert b"alive" in await asyncio.to_thread(talk)


async def test_a_server_is_closed_while_handshakes_are_under_way() -> None:
    async with encrypted(100) as (server, _):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await until(lambda: server._connections._order)
        writer.close()
