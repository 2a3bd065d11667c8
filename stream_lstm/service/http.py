"""HTTP for machines: `/metrics`, `/healthz` (alive) and `/readyz` (connected, recovered, disk accepts)."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from stream_lstm.errors import SettingsError
from stream_lstm.service import metrics

SHUTDOWN_SECONDS_MAX = 1.0


class HttpServer:
    """Serves until closed.

    Args:
        registry: what `/metrics` shows.
        obstacles: why the service is not ready; empty when it is.
    """

    def __init__(self, registry: CollectorRegistry, obstacles: Callable[[], list[str]]) -> None:
        self._registry = registry
        self._obstacles = obstacles
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            SettingsError: the address cannot be had.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS_MAX)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            hint = "does another service use it? Set http.port"
            raise SettingsError("http", f"cannot listen on {host}:{port}: {error.strerror}; {hint}") from None
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=metrics.page(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, _: web.Request) -> web.Response:
        obstacles = self._obstacles()
        status = "ready" if not obstacles else "not ready"
        return web.json_response({"status": status, "obstacles": obstacles}, status=503 if obstacles else 200)
