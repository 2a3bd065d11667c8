"""HTTP client of a running service's API, on aiohttp.

Without proxy, redirects and cookies, so that the token reaches the given service only. The connection is kept
alive from one request to the next.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from stream_lstm.cli.service_address import ServiceAddress
from stream_lstm.cli.terminal import formatting
from stream_lstm.errors import SettingsError, StreamLstmError

WAIT_SECONDS_MAX = 10.0  # a trade-off: a service under load still answers, one that is gone shows soon
PROBLEM_CHARACTERS_MAX = 300  # of the service's error message: a few lines of a terminal
RESPONSE_BYTES_MAX = 67_108_864  # far above 500 streams, the API's limit; a foreign server may send more
Shape = TypeVar("Shape")


class Unreachable(StreamLstmError):
    """The service does not answer, or not yet: a retry may help."""


class ApiRefused(StreamLstmError):
    """The service answers with an error that a retry does not change."""


class DaemonResolver(AbstractResolver):
    """Name resolution in daemon threads.

    aiohttp's own resolver uses the event loop's executor, and at its exit the interpreter waits for the
    executor's threads. With a name server that does not answer, leaving would take as long as getaddrinfo:
    5 s for each attempt (resolv.conf(5)).
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of a host.

        Raises:
            OSError: the name cannot be resolved.
        """
        loop = asyncio.get_running_loop()
        resolved: asyncio.Future[list[Any]] = loop.create_future()

        def settle(outcome: list[Any] | OSError) -> None:
            if resolved.done():  # cancelled
                return
            if isinstance(outcome, OSError):
                resolved.set_exception(outcome)
            else:
                resolved.set_result(outcome)

        def look_up() -> None:
            outcome: list[Any] | OSError
            try:
                outcome = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            except OSError as error:
                outcome = error
            with suppress(RuntimeError):  # the loop is closed: the program has ended
                loop.call_soon_threadsafe(settle, outcome)

        threading.Thread(target=look_up, name="resolver", daemon=True).start()
        return [
            ResolveResult(
                hostname=host,
                host=f"{address[0]}%{address[3]}" if len(address) > 2 and address[3] else address[0],
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in await resolved
        ]

    async def close(self) -> None:
        """Release nothing: each thread ends with its answer."""


class ApiClient:
    """Client of one service; an async context manager.

    Args:
        address: of the service, with its credentials.
        wait_seconds_max: to connect, and for each read.
        response_bytes_max: longer responses are cut, and their connection is closed.
    """

    def __init__(
        self,
        address: ServiceAddress,
        *,
        wait_seconds_max: float = WAIT_SECONDS_MAX,
        response_bytes_max: int = RESPONSE_BYTES_MAX,
    ) -> None:
        self._address = address
        self._response_bytes_max = response_bytes_max
        headers = {"Accept-Encoding": "identity"}  # a decompressed response could be of any size
        if address.authorization:
            headers["Authorization"] = address.authorization.get_secret_value()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=address.context or True, resolver=DaemonResolver()),
            headers=headers,
            timeout=aiohttp.ClientTimeout(sock_connect=wait_seconds_max, sock_read=wait_seconds_max),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def __aenter__(self) -> ApiClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, shape: type[Shape], **parameters: str | int) -> Shape:
        """Request a resource and decode the response.

        Args:
            path: of the resource.
            shape: type of the response's JSON.
            parameters: of the query string.

        Raises:
            Unreachable: the service does not answer, or is not ready.
            ApiRefused: it denies access, or answers with something that is not of this API.
            SettingsError: it rejects a parameter.
        """
        status, body = await self._request(path + ("?" + urlencode(parameters) if parameters else ""))
        if status != HTTPStatus.OK:
            raise self._error(status, body, path)
        try:
            return msgspec.json.decode(body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiRefused(
                f"{self._address.url} sends a response that this version cannot read: {error}"
            ) from None

    async def _request(self, target: str) -> tuple[int, bytes]:
        address = self._address
        host = address.host.encode("idna").decode()
        url = URL(address._replace(host=host).url + target, encoded=True)
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                return response.status, await self._body(response)
        except aiohttp.ClientConnectorCertificateError as error:
            problem = getattr(error.certificate_error, "verify_message", error.certificate_error)
            raise ApiRefused(f"the certificate of {address.url} is not trusted: {problem}") from None
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise Unreachable(f"{address.url} does not answer: {_reason(error)}") from None

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._response_bytes_max:
                response.close()  # the rest of it must not be read as the next response
                break
        return bytes(body[: self._response_bytes_max])

    def _error(self, status: int, body: bytes, path: str) -> StreamLstmError:
        """The error for a response that is not 200 OK."""
        try:
            content: dict[str, Any] = json.loads(body)
            problem, parameter = str(content["error"]), content.get("parameter")
        except (ValueError, KeyError, TypeError, AttributeError):
            problem, parameter = _phrase(status), None
        problem = formatting.safe(problem[:PROBLEM_CHARACTERS_MAX]).replace(formatting.LEFT_TO_RIGHT_MARK, "")
        url = self._address.url
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return ApiRefused(f"{url} denies access: {problem}; {self._address.hint}")
        if status == HTTPStatus.BAD_REQUEST and parameter:
            return SettingsError(f"--{parameter}", problem.removeprefix(f"{parameter}: "))
        if status == HTTPStatus.NOT_FOUND:
            return ApiRefused(
                f"{url} has no {path}: check that it is a stream-lstm service with http.page = true"
            )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Unreachable(f"{url}: {problem}")
        return ApiRefused(f"{url} answers with status {status}: {problem}")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return ""


def _reason(error: Exception) -> str:
    """Why a request failed, in a few words on one line."""
    if isinstance(error, TimeoutError):
        return "timed out"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, socket.gaierror | ssl.SSLError):
        text = os.strerror(cause.errno)  # asyncio's own text names the address once more
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        text = "it closed the connection without a response"
    elif isinstance(error, aiohttp.ClientResponseError):
        text = f"not an HTTP response: {error.message}"
    else:
        text = str(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)
    return formatting.safe(next(iter(text.splitlines()), "")).lower()
