"""Whom `watch` asks, with what, and what each kind of answer means; no answer breaks it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream_lstm.cli import api_client
from stream_lstm.cli.api_client import ApiClient, ApiRefused, Unreachable
from stream_lstm.errors import SettingsError
from stream_lstm.service.settings import HttpSettings
from tests.brokers import free_port

Reply = tuple[int, bytes]


class Small(msgspec.Struct):
    number: int


class Server(HTTPServer):
    """Answers what it is told to, and remembers what it was asked."""

    replies: list[Reply]
    asked: list[tuple[str, str | None]]
    connections: int = 0
    hang_up: bool = False


class Answerer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        status, body = self.server.replies.pop(0)
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.hang_up

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    """Starts a server that gives these answers, one after the other."""
    started: list[tuple[Server, threading.Thread]] = []

    def start(*replies: Reply, hang_up: bool = False) -> Server:
        made = Server(("127.0.0.1", 0), Answerer)
        made.replies, made.asked, made.hang_up = list(replies), [], hang_up
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        started.append((made, thread))
        return made

    yield start
    for made, thread in started:
        made.shutdown()
        made.server_close()
        thread.join()


def of(server: Server, token: Path | None = None) -> ApiClient:
    return ApiClient(api_client.of_url(f"http://127.0.0.1:{server.server_port}", token))


def test_an_answer_of_the_right_shape(server: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    serving = server((200, b'{"number": 1}'), (200, b'{"number": 2, "newer": []}'))
    asking = of(serving, tmp_path / "token")
    assert asking.ask("/api/x", Small).number == 1
    assert asking.ask("/api/x", Small, search="a b&c", limit=3).number == 2
    asking.close()
    assert serving.asked == [("/api/x", "Bearer t0ken"), ("/api/x?search=a+b%26c&limit=3", "Bearer t0ken")]
    assert serving.connections == 1


def test_a_connection_that_ended_meanwhile_is_made_anew(server: Callable[..., Server]) -> None:
    serving = server(*[(200, b'{"number": 1}')] * 2, hang_up=True)
    asking = of(serving)
    for _ in range(2):
        assert asking.ask("/", Small).number == 1
    asking.close()
    assert serving.connections == 2
    assert serving.asked == [("/", None)] * 2


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (200, b"what?", ApiRefused, "answers as no service of this version does"),
        (200, b'{"number": "1"}', ApiRefused, "answers as no service of this version does"),
        (200, b"\xff", ApiRefused, "answers as no service of this version does"),
        (
            401,
            b'{"error": "a token is wanted"}',
            ApiRefused,
            "does not let us in: a token is wanted; give its token",
        ),
        (403, b"", ApiRefused, "does not let us in: forbidden"),
        (400, b'{"error": "sort: must be x", "parameter": "sort"}', SettingsError, "--sort: must be x"),
        (400, b'{"error": "no"}', ApiRefused, "status 400: no"),
        (404, b"[]", ApiRefused, "has no /api/x: is http.page false there"),
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
def test_other_answers(
    server: Callable[..., Server], status: int, body: bytes, kind: type[Exception], words: str
) -> None:
    asking = of(server((status, body)))
    with pytest.raises(kind, match=re.escape(words)) as caught:
        asking.ask("/api/x", Small)
    assert isinstance(caught.value, kind)
    asking.close()


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable, match="does not answer: connection refused"):
        ApiClient(api_client.of_url(f"http://127.0.0.1:{free_port()}", None)).ask("/", Small)
    monkeypatch.setattr(api_client, "SECONDS_MAX", 0.05)
    with socket.socket() as silent:  # it listens, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(Unreachable, match="does not answer: timed out"):
            ApiClient(api_client.of_url(f"http://127.0.0.1:{silent.getsockname()[1]}", None)).ask("/", Small)


def test_no_http_there(server: Callable[..., Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as strange:

        def answer() -> None:
            with strange.accept()[0] as connection:
                connection.recv(1_000)
                connection.sendall(b"SSH-2.0-what\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unreachable, match="does not answer"):
            ApiClient(api_client.of_url(f"http://127.0.0.1:{strange.getsockname()[1]}", None)).ask("/", Small)
        thread.join()
    plain = server((200, b""))
    with pytest.raises(Unreachable, match="does not answer"):
        ApiClient(api_client.of_url(f"https://127.0.0.1:{plain.server_port}", None)).ask("/", Small)


def test_a_body_that_is_too_long_is_not_read_to_its_end(
    server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_client, "ANSWER_BYTES_MAX", 10)
    asking = of(server((200, b'{"number": 1}' + b" " * 1_000)))
    with pytest.raises(ApiRefused):
        asking.ask("/", Small)
    assert asking._connection is None  # what is left on it is no answer to the next question


@pytest.mark.parametrize(
    ("url", "port", "said"),
    [
        ("http://plant", 80, "http://plant:80"),
        ("https://plant.example/", 443, "https://plant.example:443"),
        ("https://[::1]:8443", 8443, "https://[::1]:8443"),
        ("http://127.0.0.1:8080", 8080, "http://127.0.0.1:8080"),
    ],
)
def test_addresses(url: str, port: int, said: str) -> None:
    place = api_client.of_url(url, None)
    assert (place.port, place.url, place.authorization) == (port, said, None)


@pytest.mark.parametrize(
    "url",
    [
        *("plant:8080", "ftp://plant", "http://", "http://plant/api", "http://plant?x=1", "http://plant#x"),
        *("", "http://me:secret@plant", "http://plant:99999", "http://[::1", "http://plant:x"),
        *("http://me:secret@plant/api", "http://a..b", "http://" + "a" * 70),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^--url: ") as caught:
        api_client.of_url(url, None)
    assert "secret" not in str(caught.value)


def test_a_token_that_is_none(tmp_path: Path) -> None:
    for content in (b"", b"one\ntwo\n", b"a\x00b", b"\xff\xfe"):
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(SettingsError, match=r"^--token-file: ") as caught:
            api_client.of_url("http://x", tmp_path / "token")
        assert "two" not in str(caught.value)
    with pytest.raises(SettingsError, match=r"^--token-file: .* cannot be read"):
        api_client.of_url("http://x", tmp_path / "none")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"enabled": False}, "http.enabled: is false"),
        ({"page": False}, "http.page: is false"),
        ({"port": 0}, "http.port: is 0.* --url"),
        ({"cert_file": "none.pem"}, "http.cert_file: none.pem cannot be used: No such file"),
        ({"cert_file": __file__}, "http.cert_file: .* holds no certificate in PEM"),
        ({"token": "a\nb"}, "http.token_file: holds more than one line"),
    ],
)
def test_settings_by_which_nobody_can_be_asked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        api_client.of_settings(HttpSettings(**changes))


def test_a_certificate_that_is_damaged_is_named(tmp_path: Path) -> None:
    for content in ("what?", "TWlu"):
        (tmp_path / "c.pem").write_text(
            f"-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n"
        )
        with pytest.raises(SettingsError, match=r"http.cert_file: .* cannot be used"):
            api_client.of_settings(HttpSettings(cert_file=tmp_path / "c.pem"))


def test_the_service_of_our_settings_is_on_this_machine() -> None:
    place = api_client.of_settings(HttpSettings(host="0.0.0.0", port=8081, username="me", password="x"))  # type: ignore[arg-type]
    assert place.url == "http://127.0.0.1:8081"
    assert place.authorization is not None
    assert place.authorization.get_secret_value() == "Basic bWU6eA=="
    assert "bWU6eA" not in repr(place)
    assert api_client.of_settings(HttpSettings(host="::")).url == "http://[::1]:8080"
