"""The page's and the API's place in the HTTP server: paths, headers, and what goes wrong in which status."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from stream_lstm.service.http import parameters, schemas
from stream_lstm.service.http.api import ENDPOINTS, LIVE, Api, Endpoint
from stream_lstm.service.http.context import HttpContext
from stream_lstm.service.http.cpu_budget import BudgetExhausted
from stream_lstm.service.http.live_feed import TooManyViewers
from stream_lstm.service.http.openapi import document
from stream_lstm.service.http.static import files
from stream_lstm.service.http.stream_detail import UnknownStream

JSON = "application/json"
RETRY_MS = 1_000  # of a viewer who has lost us
WRITE_SECONDS_MAX = 20.0  # who takes nothing for so long is let go
REQUEST_SECONDS = 2e-4  # what HTTP itself takes for one; measured
Answerer = Callable[..., Awaitable[Any]]


class WebRoutes:
    """Serves the page and the API, once there is something to look at."""

    def __init__(self) -> None:
        self._api: Api | None = None
        self._why_not = "memory is being restored"
        self._document: bytes = b""

    def open(self, view: HttpContext) -> None:
        """There is a line to look at now."""
        self._api = Api(view)

    async def close(self) -> None:
        """Send everybody away, and answer no more."""
        api, self._api = self._api, None
        if api:
            self._why_not = "the service is stopping"
            await api.close()

    def routes(self) -> list[web.RouteDef]:
        """Everything that is served; all of it with GET."""
        out = [
            web.get("/", partial(self._file, "index.html")),
            web.get("/static/{name}", self._static),
            web.get("/api", self._description),
            web.get("/api/openapi.json", self._description),
            web.get(LIVE.path, self._live, allow_head=False),
        ]
        for name, endpoint in ENDPOINTS.items():
            out.append(web.get(endpoint.path, partial(self._answer, endpoint, name)))
        return out

    async def _static(self, request: web.Request) -> web.Response:
        return await self._file(request.match_info["name"], request)

    async def _file(self, name: str, request: web.Request) -> web.Response:
        file = files().get(name)
        if file is None:
            return _problem(404, f"there is no file {name[:100]!r}")
        headers = {"Content-Type": file.kind, "ETag": file.tag, "Cache-Control": "no-cache"}
        headers["Vary"] = "Accept-Encoding"
        if request.headers.get("If-None-Match") == file.tag:
            return web.Response(status=304, headers=headers)
        if file.squeezed and "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=file.squeezed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=file.content, headers=headers)

    async def _description(self, request: web.Request) -> web.Response:
        if not self._document:
            self._document = msgspec.json.format(msgspec.json.encode(document()))
        return web.Response(body=self._document, content_type=JSON)

    async def _answer(self, endpoint: Endpoint, name: str, request: web.Request) -> web.Response:
        """Answer a question, or say why not."""
        try:
            wanted = parameters.read(endpoint.parameters, request.query)
            api = self._there(wanted)
            await api.budget.afford()
            self._there(wanted)  # still, after having waited
            answerer: Answerer = getattr(api, name)
            told = await answerer(**wanted)
        except Exception as error:
            return _refusal(error)
        with api.budget.spending():
            body = msgspec.json.encode(told)
        api.budget.spend(REQUEST_SECONDS)
        return web.Response(body=body, content_type=JSON)

    def _there(self, wanted: dict[str, Any]) -> Api:
        """Who answers.

        Raises:
            Closed: nobody, yet or any more.
            asked.Wrong: there is no such layer.
        """
        if self._api is None:
            raise NotServing(self._why_not)
        if wanted.get("layer", 0) >= self._api.layers:
            raise parameters.InvalidParameter("layer", f"the model has {self._api.layers}, counted from 0")
        return self._api

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """Tell what is new, until either side leaves."""
        try:
            wanted = parameters.read(LIVE.parameters, request.query)
            api = self._there(wanted)
            await api.budget.afford()
            feed = self._there(wanted).feed
            viewer = feed.join(wanted["name"] or None, layer=wanted["layer"])
        except Exception as error:
            return _refusal(error)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        try:
            await response.prepare(request)
            await response.write(b"retry: %d\n\n" % RETRY_MS)
            while news := await viewer.fetch():
                async with asyncio.timeout(WRITE_SECONDS_MAX):
                    await response.write(news)
        except ConnectionError:
            pass  # it has left
        except TimeoutError:  # it takes nothing: nor would it take the end
            if request.transport:
                request.transport.abort()
        finally:
            feed.leave(viewer)
        return response


class NotServing(Exception):
    """There is nothing to look at."""


def _refusal(error: Exception) -> web.Response:
    """What went wrong, in the status that says whose fault it is."""
    if isinstance(error, parameters.InvalidParameter):
        return _problem(400, str(error), parameter=error.parameter)
    if isinstance(error, UnknownStream):
        return _problem(404, f"there is no stream {error.args[0][:200]!r}", parameter="name")
    if isinstance(error, NotServing):
        return _problem(503, str(error), retry=1)
    if isinstance(error, TooManyViewers):
        return _problem(503, "as many look as http.viewers_max lets in", retry=10)
    if isinstance(error, BudgetExhausted):
        return _problem(503, str(error), retry=int(error.seconds) + 1)
    raise error


def _problem(
    status: int, error: str, *, parameter: str | None = None, retry: int | None = None
) -> web.Response:
    headers = {} if retry is None else {"Retry-After": str(retry)}
    body = msgspec.json.encode(schemas.Problem(error, parameter))
    return web.Response(status=status, body=body, content_type=JSON, headers=headers)
