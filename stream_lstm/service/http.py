"""HTTP: `/metrics`, `/healthz` (alive), `/readyz` (connected, recovered, disk accepts), and the live page.

Where a token or a password is set, it is asked for (RFC 6750, RFC 7617); but not for health, which
orchestrators ask without one, and which says no more than that something is wrong.
"""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from stream_lstm.errors import SettingsError
from stream_lstm.service import metrics
from stream_lstm.service.dashboard import Site

SHUTDOWN_SECONDS_MAX = 1.0
HEADER_BYTES_MAX = 8_190  # of a line, and of all headers of one name
OPEN = ("/healthz", "/readyz")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves until closed.

    Args:
        registry: what `/metrics` shows.
        obstacles: why the service is not ready; empty when it is.
        credentials: what the header `Authorization` may say; empty: nobody is asked.
        site: the live page and its API; None: there is none.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        obstacles: Callable[[], list[str]],
        *,
        credentials: Sequence[str] = (),
        site: Site | None = None,
    ) -> None:
        self._credentials = [allowed.encode() for allowed in credentials]
        self._registry = registry
        self._obstacles = obstacles
        self._site = site
        self._runner: web.AppRunner | None = None
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
        runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS_MAX,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )
        await runner.setup()
        site = web.TCPSite(runner, host, port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            hint = "does another service use it? Set http.port"
            raise SettingsError("http", f"cannot listen on {host}:{port}: {error.strerror}; {hint}") from None
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def close(self) -> None:
        """Send away who looks, and stop listening."""
        if self._site:
            await self._site.close()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who may, and have browsers make nothing of what they get."""
        if self._credentials and request.path not in OPEN:
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not any(hmac.compare_digest(given, allowed) for allowed in self._credentials):
                refusal = web.json_response(
                    {"error": "a token or a password is wanted in the header Authorization"}, status=401
                )
                for scheme in ("Bearer", "Basic"):  # a header each: browsers know none but the first in one
                    refusal.headers.add("WWW-Authenticate", f'{scheme} realm="stream-lstm"')
                return refusal
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = self._told(error)
        if not response.prepared:
            response.headers["X-Content-Type-Options"] = "nosniff"
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _told(self, error: web.HTTPException) -> web.Response:
        """An error in words: what there is instead."""
        there_are = [*(("/", "/api/openapi.json") if self._site else ()), "/metrics", *OPEN]
        about = {"error": error.reason.lower(), "see": there_are}
        kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return web.json_response(about, status=error.status, headers=kept)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=metrics.page(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, _: web.Request) -> web.Response:
        obstacles = self._obstacles()
        status = "ready" if not obstacles else "not ready"
        return web.json_response({"status": status, "obstacles": obstacles}, status=503 if obstacles else 200)
