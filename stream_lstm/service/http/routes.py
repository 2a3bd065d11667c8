"""Routes of the live page and the API: paths, headers, and the status of each error."""

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
RECONNECT_MS = 1_000  # after which a viewer that lost the feed reconnects; the page is stale until then
WRITE_SECONDS_MAX = 20.0  # then a viewer that reads nothing is disconnected: long enough for a slow network
REQUEST_SECONDS = 2e-4  # processor time of HTTP itself for a request, measured; no meter sees it
FILE_NAME_MAX = 100  # characters of a missing file's name that the error repeats
# Retry-After: recovery and stopping take seconds; a viewer's place becomes free when a tab is closed.
NOT_SERVING_RETRY_SECONDS = 1
TOO_MANY_VIEWERS_RETRY_SECONDS = 10
Method = Callable[..., Awaitable[Any]]


class NotServing(Exception):
    """The service is starting or stopping."""


class WebRoutes:
    """Handlers of the live page and the API; the API answers 503 until `open` and after `close`."""

    def __init__(self) -> None:
        self._api: Api | None = None
        self._reason = "memory is being recovered"
        self._document: bytes = b""

    def open(self, context: HttpContext) -> None:
        """Serve the API of a running service."""
        self._api = Api(context)

    async def close(self) -> None:
        """Disconnect all viewers and stop answering."""
        api, self._api = self._api, None
        if api:
            self._reason = "the service is stopping"
            await api.close()

    def routes(self) -> list[web.RouteDef]:
        """All routes; each for GET only, and HEAD except for the live feed."""
        out = [
            web.get("/", partial(self._file, "index.html")),
            web.get("/static/{name}", self._static),
            web.get("/api", self._openapi),
            web.get("/api/openapi.json", self._openapi),
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
            return _problem(404, f"file {name[:FILE_NAME_MAX]!r} does not exist")
        headers = {"Content-Type": file.content_type, "ETag": file.etag, "Cache-Control": "no-cache"}
        headers["Vary"] = "Accept-Encoding"
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=304, headers=headers)
        if file.compressed and "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=file.compressed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=file.content, headers=headers)

    async def _openapi(self, request: web.Request) -> web.Response:
        if not self._document:
            self._document = msgspec.json.format(msgspec.json.encode(document()))
        return web.Response(body=self._document, content_type=JSON)

    async def _answer(self, endpoint: Endpoint, name: str, request: web.Request) -> web.Response:
        """Answer a request to an endpoint."""
        try:
            values = parameters.parse(endpoint.parameters, request.query)
            api = self._serving(values)
            await api.budget.acquire()
            self._serving(values)  # the service may have stopped meanwhile
            method: Method = getattr(api, name)
            answer = await method(**values)
        except Exception as error:
            return _error_response(error)
        with api.budget.charged():
            body = msgspec.json.encode(answer)
        api.budget.spend(REQUEST_SECONDS)
        return web.Response(body=body, content_type=JSON)

    def _serving(self, values: dict[str, Any]) -> Api:
        """The API, if it can answer a request with these parameters.

        Raises:
            NotServing: the service is starting or stopping.
            InvalidParameter: the model has no such layer.
        """
        if self._api is None:
            raise NotServing(self._reason)
        if values.get("layer", 0) >= self._api.layers:
            problem = f"must be less than the model's number of layers, {self._api.layers}"
            raise parameters.InvalidParameter("layer", problem)
        return self._api

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """Send the live feed until either side disconnects."""
        try:
            values = parameters.parse(LIVE.parameters, request.query)
            api = self._serving(values)
            await api.budget.acquire()
            feed = self._serving(values).feed
            viewer = feed.join(values["name"] or None, layer=values["layer"])
        except Exception as error:
            return _error_response(error)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        try:
            await response.prepare(request)
            await response.write(b"retry: %d\n\n" % RECONNECT_MS)
            while messages := await viewer.receive():
                async with asyncio.timeout(WRITE_SECONDS_MAX):
                    await response.write(messages)
        except ConnectionError:
            pass  # the viewer has disconnected
        except TimeoutError:  # the viewer reads nothing, so it would not read the end of the response either
            if request.transport:
                request.transport.abort()
        finally:
            feed.leave(viewer)
        return response


def _error_response(error: Exception) -> web.Response:
    """The response to an error: 400 and 404 for the client's, 503 for a temporary one; others are raised."""
    if isinstance(error, parameters.InvalidParameter):
        return _problem(400, str(error), parameter=error.parameter)
    if isinstance(error, UnknownStream):
        return _problem(404, str(error), parameter="name")
    if isinstance(error, NotServing):
        return _problem(503, str(error), retry_seconds=NOT_SERVING_RETRY_SECONDS)
    if isinstance(error, TooManyViewers):
        problem = "the live feed has as many viewers as http.viewers_max allows"
        return _problem(503, problem, retry_seconds=TOO_MANY_VIEWERS_RETRY_SECONDS)
    if isinstance(error, BudgetExhausted):
        return _problem(503, str(error), retry_seconds=int(error.seconds) + 1)
    raise error


def _problem(
    status: int, error: str, *, parameter: str | None = None, retry_seconds: int | None = None
) -> web.Response:
    headers = {} if retry_seconds is None else {"Retry-After": str(retry_seconds)}
    body = msgspec.json.encode(schemas.Problem(error, parameter))
    return web.Response(status=status, body=body, content_type=JSON, headers=headers)
