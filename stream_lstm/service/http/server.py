"""HTTP: `/metrics`, `/healthz` (alive), `/readyz` (connected, recovered, disk accepts), and the live page.

Where a token or a password is set, it is asked for (RFC 6750, RFC 7617); but not for health, which
orchestrators ask without one, and which says no more than that something is wrong. Where nobody is asked, and
only this machine is served, it must be asked for by a name that is ours (`hosts`). What connections cost is
bounded: how many there are, and how long one says or takes nothing.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from stream_lstm.errors import SettingsError
from stream_lstm.service.allowed_hosts import AllowedHosts
from stream_lstm.service.http import WebRoutes
from stream_lstm.service.log import Throttle, logger
from stream_lstm.service.metrics import exporter

SHUTDOWN_SECONDS_MAX = 1.0
HEADER_BYTES_MAX = 16_384  # of a line: a stream's name of 4,096 bytes, each as %xx; and of a header
CONNECTIONS_MAX = 128
IDLE_SECONDS_MAX = 75.0  # without a whole request; longer than proxies keep theirs
TAKEN_SECONDS_MAX = 20.0  # who takes nothing for so long is let go
HANDSHAKE_SECONDS_MAX = 10.0
OPEN = ("/healthz", "/readyz")
# A page loads what lies beside it, and nothing else; nobody may frame it (https://www.w3.org/TR/CSP3/).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALWAYS = {  # on whatever is answered
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "stream-lstm",
    "X-Content-Type-Options": "nosniff",
}
SCHEMES = ('Bearer realm="stream-lstm"', 'Basic realm="stream-lstm", charset="UTF-8"')
QUIET = logging.Logger("aiohttp", logging.CRITICAL + 1)  # a traceback for each request that is no HTTP
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves until closed.

    Args:
        registry: what `/metrics` shows.
        obstacles: why the service is not ready; empty when it is.
        credentials: what the header `Authorization` may say; empty: nobody is asked.
        hosts: by which names it may be asked for; None: by any.
        site: the live page and its API; None: there is none.
        connections_max: at once; more are not let in.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        obstacles: Callable[[], list[str]],
        *,
        credentials: Sequence[str] = (),
        hosts: AllowedHosts | None = None,
        site: WebRoutes | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._credentials = [allowed.encode() for allowed in credentials]
        self._registry = registry
        self._obstacles = obstacles
        self._hosts = hosts
        self._site = site
        self._connections_max = connections_max
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._throttle = Throttle(time.monotonic)
        self.port = 0

    async def start(self, host: str, port: int, *, context: ssl.SSLContext | None = None) -> None:
        """Listen, with TLS if there is a context.

        Raises:
            SettingsError: the address cannot be had.
        """
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        if self._site:
            app.router.add_routes(self._site.routes())
        app.on_response_prepare.append(_guarded)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=QUIET,
            shutdown_timeout=SHUTDOWN_SECONDS_MAX,
            keepalive_timeout=IDLE_SECONDS_MAX,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )
        await runner.setup()
        self._runner = runner
        try:
            await self._listen(host, port, context)
        except OSError as error:
            await self.close()
            hint = "does another service use it? Set http.port"
            raise SettingsError("http", f"cannot listen on {host}:{port}: {error.strerror}; {hint}") from None

    async def _listen(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        patience = HANDSHAKE_SECONDS_MAX if context else None
        self._listener = await asyncio.get_running_loop().create_server(
            self._meet, host, port, ssl=context, ssl_handshake_timeout=patience
        )
        for (
            listening
        ) in self._listener.sockets:  # and so for every connection that comes in by it, see tcp(7)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(TAKEN_SECONDS_MAX * 1e3))
        self.port = int(self._listener.sockets[0].getsockname()[1])

    def _meet(self) -> asyncio.Protocol:
        """Who talks to a connection that comes in."""
        server = self._runner.server if self._runner else None
        if server is None or len(server.connections) >= self._connections_max:
            return _Refusing()
        return server()

    async def close(self) -> None:
        """Send away who looks, and stop listening."""
        if self._site:
            await self._site.close()
        if self._listener:
            self._listener.close()
            self._listener = None
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who may, and tell what goes wrong in JSON."""
        if request.path not in OPEN:
            if self._hosts and not self._hosts.allows(request.headers.get("Host")):
                error = "this is not known here by that name; http.names lets it in"
                return web.json_response({"error": error}, status=421)
            if not self._may(request):
                error = "a token or a password is wanted in the header Authorization"
                refusal = web.json_response({"error": error}, status=401)
                for scheme in SCHEMES:  # a header each: browsers know none but the first in one
                    refusal.headers.add("WWW-Authenticate", scheme)
                return refusal
        try:
            return await handler(request)
        except web.HTTPException as error:
            return self._told(error)
        except ConnectionError:
            raise
        except Exception:
            if self._throttle.allow("stumbled") is not None:
                logger.exception("a question over HTTP could not be answered")
            return web.json_response({"error": "something is wrong here; the log says what"}, status=500)

    def _may(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        found = [hmac.compare_digest(given, allowed) for allowed in self._credentials]
        return any(found) or not found

    def _told(self, error: web.HTTPException) -> web.Response:
        """An error in words: what there is instead."""
        there_are = [*(("/", "/api/openapi.json") if self._site else ()), "/metrics", *OPEN]
        about = {"error": error.reason.lower(), "see": there_are}
        kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return web.json_response(about, status=error.status, headers=kept)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=exporter.page(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, _: web.Request) -> web.Response:
        obstacles = self._obstacles()
        status = "ready" if not obstacles else "not ready"
        return web.json_response({"status": status, "obstacles": obstacles}, status=503 if obstacles else 200)


class _Refusing(asyncio.Protocol):
    """Closes a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def _guarded(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """Have browsers make nothing of what they get but what it is."""
    for name, value in ALWAYS.items():
        if name == "Server" or name not in response.headers:
            response.headers[name] = value
