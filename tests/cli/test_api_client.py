"""API client against servers on this machine: requests, kinds of responses, and failures to connect."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream_lstm.cli import service_address
from stream_lstm.cli.api_client import ApiClient, ApiRefused, DaemonResolver, Unreachable
from stream_lstm.errors import SettingsError
from tests.brokers import free_port

Response = tuple[int, bytes]


class Small(msgspec.Struct):
    number: int


class Server(HTTPServer):
    """Sends the given responses in order, and records requests and connections."""

    responses: list[Response]
    requests: list[tuple[str, str | None]]
    headers: dict[str, str]
    connections: int = 0
    hang_up: bool = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing of a client that leaves."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        status, body = self.server.responses.pop(0)
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        self.server.headers = dict(self.headers)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Set-Cookie", "a=b")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.hang_up

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    """Starts a server that sends the given responses."""
    started: list[tuple[Server, threading.Thread]] = []

    def start(*responses: Response, hang_up: bool = False) -> Server:
        made = Server(("127.0.0.1", 0), Handler)
        made.responses, made.requests, made.hang_up = list(responses), [], hang_up
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        started.append((made, thread))
        return made

    yield start
    for made, thread in started:
        made.shutdown()
        made.server_close()
        thread.join()


def client(port: int, token: Path | None = None, scheme: str = "http", **limits: Any) -> ApiClient:
    return ApiClient(service_address.from_url(f"{scheme}://127.0.0.1:{port}", token), **limits)


async def test_requests_carry_token_and_parameters_over_one_connection(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    serving = server((200, b'{"number": 1}'), (200, b'{"number": 2, "newer": []}'))
    async with client(serving.server_port, tmp_path / "token") as api:
        assert (await api.get("/api/x", Small)).number == 1
        assert (await api.get("/api/x", Small, search="a b&c", limit=3)).number == 2
    assert serving.requests == [("/api/x", "Bearer t0ken"), ("/api/x?search=a+b%26c&limit=3", "Bearer t0ken")]
    assert serving.connections == 1
    assert "Cookie" not in serving.headers
    assert serving.headers["Accept-Encoding"] == "identity"


async def test_a_connection_that_the_server_closed_is_replaced(server: Callable[..., Server]) -> None:
    serving = server(*[(200, b'{"number": 1}')] * 2, hang_up=True)
    async with client(serving.server_port) as api:
        for _ in range(2):
            assert (await api.get("/", Small)).number == 1
    assert serving.connections == 2
    assert serving.requests == [("/", None)] * 2


async def test_no_proxy_is_used(server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with client(server((200, b'{"number": 1}')).server_port) as api:
        assert (await api.get("/", Small)).number == 1


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (200, b"what?", ApiRefused, "sends a response that this version cannot read"),
        (200, b'{"number": "1"}', ApiRefused, "sends a response that this version cannot read"),
        (200, b"\xff", ApiRefused, "sends a response that this version cannot read"),
        (
            401,
            b'{"error": "a token is wanted"}',
            ApiRefused,
            "denies access: a token is wanted; give its token",
        ),
        (403, b"", ApiRefused, "denies access: forbidden"),
        (400, b'{"error": "sort: must be x", "parameter": "sort"}', SettingsError, "--sort: must be x"),
        (400, b'{"error": "no"}', ApiRefused, "status 400: no"),
        (404, b"[]", ApiRefused, "has no /api/x: check that"),
        (302, b"", ApiRefused, "status 302"),
        (
            421,
            b'{"error": "not known here by that name"}',
            ApiRefused,
            "status 421: not known here by that name",
        ),
        (418, b"\xff", ApiRefused, "status 418"),
        (599, b"3", Unreachable, ": "),
        (503, b'{"error": "\\u001b[2Jgone"}', Unreachable, r": \x1b[2Jgone"),
        (500, b"", Unreachable, "internal server error"),
        (
            503,
            b'{"error": "memory is being restored", "parameter": null}',
            Unreachable,
            "memory is being restored",
        ),
    ],
)
async def test_an_error_response_becomes_the_error_of_its_cause(
    server: Callable[..., Server], status: int, body: bytes, kind: type[Exception], words: str
) -> None:
    serving = server((status, body))
    async with client(serving.server_port) as api:
        with pytest.raises(kind, match=re.escape(words)) as caught:
            await api.get("/api/x", Small)
    assert isinstance(caught.value, kind)
    assert len(serving.requests) == 1  # a redirect is not followed


async def test_a_service_that_does_not_answer_is_unreachable() -> None:
    async with client(free_port()) as api:
        with pytest.raises(Unreachable, match=r":\d+ does not answer: connection refused$"):
            await api.get("/", Small)
    with socket.socket() as silent:  # accepts connections and sends nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with client(silent.getsockname()[1], wait_seconds_max=0.05) as api:
            with pytest.raises(Unreachable, match=r"does not answer: timed out$"):
                await api.get("/", Small)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-what\r\n\r\n", "not an http response: "),
        (b"", "it closed the connection without a response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", ""),
    ],
)
async def test_a_server_that_does_not_speak_http_is_unreachable(answer: bytes, words: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    foreign = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with foreign, client(foreign.sockets[0].getsockname()[1]) as api:
        with pytest.raises(Unreachable, match=f"does not answer: {words}") as caught:
            await api.get("/", Small)
    assert str(caught.value).isprintable()


async def test_a_server_that_does_not_speak_tls_is_unreachable(server: Callable[..., Server]) -> None:
    async with client(server().server_port, scheme="https") as api:
        with pytest.raises(Unreachable, match="does not answer"):
            await api.get("/", Small)


async def test_a_response_is_read_up_to_a_limit_and_its_connection_closed(
    server: Callable[..., Server],
) -> None:
    serving = server((200, b'{"number": 1}' + b" " * 10_000_000), (200, b'{"number": 2}'))
    async with client(serving.server_port, response_bytes_max=13) as api:
        assert (await api.get("/", Small)).number == 1
        assert (await api.get("/", Small)).number == 2
    assert serving.connections == 2  # the rest of the first response is not the second


async def test_a_host_name_is_resolved(server: Callable[..., Server]) -> None:
    port = server((200, b'{"number": 1}')).server_port
    async with ApiClient(service_address.from_url(f"http://localhost:{port}", None)) as api:
        assert (await api.get("/", Small)).number == 1


async def test_a_host_name_that_does_not_resolve_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    async with ApiClient(service_address.from_url("http://plant.example", None)) as api:
        with pytest.raises(Unreachable, match="does not answer: name or service not known"):
            await api.get("/", Small)


def test_leaving_does_not_wait_for_a_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def wait(*_: Any) -> Any:
        assert answers.wait(20.0)
        return []

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(DaemonResolver().resolve("plant.example"), 0.05)

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    begun = time.monotonic()
    asyncio.run(leave())
    assert time.monotonic() - begun < 10.0
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "resolver")
    assert thread.daemon
    answers.set()
    thread.join()  # its answer to the closed loop does no harm
