"""HTTP server: `/metrics`, `/healthz` (alive), `/readyz` (connected, recovered, disk writable), page, API.

If a token or a password is set, requests need it (RFC 6750, RFC 7617), except for health checks:
orchestrators send none, and the answers say only that something is wrong. If none is set and the server
listens on this machine only, requests must name an allowed host (`allowed_hosts`). The cost of connections is
bounded (`connections`): their number, and the time that one may send or read nothing.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from stream_lstm.errors import SettingsError
from stream_lstm.service.allowed_hosts import AllowedHosts
from stream_lstm.service.http import WebRoutes
from stream_lstm.service.http.connections import HEAD_SECONDS_MAX, HttpConnections
from stream_lstm.service.log import Throttle, logger
from stream_lstm.service.metrics import exporter

SHUTDOWN_SECONDS_MAX = 1.0  # for requests under way; viewers are disconnected before
HEADER_BYTES_MAX = 16_384  # request line or header: a stream's name of 4,096 bytes, each written as %xx
CONNECTIONS_MAX = 128  # unless the caller sets another limit; each takes memory and a file descriptor
IDLE_SECONDS_MAX = 75.0  # between two requests; longer than the keep-alive of usual proxies
STALL_SECONDS_MAX = 20.0  # in which a client reads nothing; then the kernel closes the connection
UNGUARDED = ("/healthz", "/readyz")
# Connections that asyncio accepts before it reads from them: few, so that none is closed unread.
ACCEPTED_AT_ONCE_MAX = 16
# In the kernel's queue, see listen(2): without a place there, a client tries again after a second.
QUEUE_CONNECTIONS_MAX = 4_096
METRICS_SHARE = 0.25  # of the time, for the page of metrics: then many scrapes at once get the same page
# The page loads its own files only, and no site may frame it (https://www.w3.org/TR/CSP3/).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {  # of every response
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "stream-lstm",
    "X-Content-Type-Options": "nosniff",
}
CHALLENGES = ('Bearer realm="stream-lstm"', 'Basic realm="stream-lstm", charset="UTF-8"')
# aiohttp logs a traceback for each request that is no HTTP; clients could fill the log.
SILENT = logging.Logger("aiohttp", logging.CRITICAL + 1)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """HTTP server of the service.

    Args:
        registry: metrics for `/metrics`.
        obstacles: why the service is not ready; empty when it is.
        credentials: accepted values of the header `Authorization`; empty: no authentication.
        hosts: that requests may name; None: any.
        routes: the live page and its API; None: not served.
        connections_max: at once; further ones take the place of those that have waited longest.

    Attributes:
        port: it listens on; 0 before `start`.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        obstacles: Callable[[], list[str]],
        *,
        credentials: Sequence[str] = (),
        hosts: AllowedHosts | None = None,
        routes: WebRoutes | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._credentials = [allowed.encode() for allowed in credentials]
        self._registry = registry
        self._obstacles = obstacles
        self._hosts = hosts
        self._routes = routes
        self._connections = HttpConnections(self._protocol, most=connections_max)
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._throttle = Throttle(time.monotonic)
        self._metrics_page = b""
        self._metrics_until = 0.0  # it is up to date, on the monotonic clock
        self.port = 0

    async def start(self, host: str, port: int, *, context: ssl.SSLContext | None = None) -> None:
        """Listen.

        Args:
            host: address to listen on.
            port: 0: any free port.
            context: for HTTPS; None: plain HTTP.

        Raises:
            SettingsError: it cannot listen on this address.
        """
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        if self._routes:
            app.router.add_routes(self._routes.routes())
        app.on_response_prepare.append(_add_headers)
        app.on_response_prepare.append(self._note_streaming)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=SILENT,
            shutdown_timeout=SHUTDOWN_SECONDS_MAX,
            keepalive_timeout=IDLE_SECONDS_MAX,
            lingering_time=HEAD_SECONDS_MAX,  # no request has a body; one that comes is read and ignored
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
        accept = partial(self._connections.accept, context)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(accept, host, port, backlog=ACCEPTED_AT_ONCE_MAX)
        for listening in self._listener.sockets:
            with socket.fromfd(listening.fileno(), listening.family, listening.type) as same:
                same.listen(QUEUE_CONNECTIONS_MAX)  # for asyncio, `backlog` is both
            # Accepted connections inherit the option, see tcp(7).
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALL_SECONDS_MAX * 1e3))
        self.port = int(self._listener.sockets[0].getsockname()[1])

    def _protocol(self) -> asyncio.Protocol | None:
        """The HTTP protocol of a connection; None if the server is closed."""
        server = self._runner.server if self._runner else None
        return server() if server else None

    async def close(self) -> None:
        """Disconnect viewers and stop listening; a closed server is left as it is."""
        if self._routes:
            await self._routes.close()
        if self._listener:
            self._listener.close()
            self._listener = None
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        self._connections.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the connection as served, and answer errors in JSON."""
        with self._connections.serving(request.transport):
            try:
                return self._rejection(request) or await handler(request)
            except web.HTTPException as error:
                return self._http_error(error)
            except ConnectionError:
                raise
            except Exception:
                if self._throttle.allow("request") is not None:
                    logger.exception("HTTP request failed")
                return web.json_response({"error": "internal error; see the log of the service"}, status=500)

    def _rejection(self, request: web.Request) -> web.Response | None:
        """The response to a request for another host, or without credentials."""
        if request.path not in UNGUARDED:
            if self._hosts and not self._hosts.allows(request.headers.get("Host")):
                error = "this host name is not allowed; add it to http.names"
                return web.json_response({"error": error}, status=421)
            if not self._authorized(request):
                error = "authentication required: send a token or a password in the header Authorization"
                response = web.json_response({"error": error}, status=401)
                for challenge in CHALLENGES:  # a header each: browsers read only the first in a header
                    response.headers.add("WWW-Authenticate", challenge)
                return response
        return None

    async def _note_streaming(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        if not isinstance(response, web.Response):  # the live feed, which goes on
            self._connections.streaming(request.transport)

    def _authorized(self, request: web.Request) -> bool:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")  # any case: RFC 9110, 11.1
        given = f"{scheme.capitalize()} {rest}".encode("utf-8", "surrogateescape")
        found = [hmac.compare_digest(given, allowed) for allowed in self._credentials]
        return any(found) or not found

    def _http_error(self, error: web.HTTPException) -> web.Response:
        """The response to an unknown path or method, with the paths that exist."""
        paths = [*(("/", "/api/openapi.json") if self._routes else ()), "/metrics", *UNGUARDED]
        body = {"error": error.reason.lower(), "see": paths}
        headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return web.json_response(body, status=error.status, headers=headers)

    async def _metrics(self, _: web.Request) -> web.Response:
        begun = time.monotonic()
        if begun >= self._metrics_until:
            self._metrics_page = exporter.page(self._registry)
            self._metrics_until = begun + (time.monotonic() - begun) / METRICS_SHARE
        return web.Response(body=self._metrics_page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, _: web.Request) -> web.Response:
        obstacles = self._obstacles()
        status = "ready" if not obstacles else "not ready"
        return web.json_response({"status": status, "obstacles": obstacles}, status=503 if obstacles else 200)


async def _add_headers(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """Add `HEADERS` to a response; its own take precedence, but for Server, which aiohttp sets."""
    for name, value in HEADERS.items():
        if name == "Server" or name not in response.headers:
            response.headers[name] = value
