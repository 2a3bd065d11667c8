"""`stream-lstm watch`: the most anomalous streams of a running service, live, once, or as JSON lines."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import click
import msgspec

from stream_lstm.cli.api_client import ApiClient, Unreachable
from stream_lstm.cli.service_address import ServiceAddress
from stream_lstm.cli.terminal import formatting, screen
from stream_lstm.cli.terminal.events import terminal_events
from stream_lstm.cli.terminal.screen import Screen
from stream_lstm.cli.watch_view import LINES_AROUND, Size, Snapshot, render
from stream_lstm.json_output import in_json
from stream_lstm.service.http.schemas import Overview, Streams
from stream_lstm.service.tasks import run_until_first_ends

LIMIT_DEFAULT = 50  # streams, without --limit and without a terminal's height: two screens of 24 lines
LIMIT_MAX = 500  # streams in one response of the API
RETRY_SECONDS_MAX = 15.0  # a trade-off: a service that is back shows soon, one that is gone costs little
DRAW_SECONDS_MAX = 1.0  # the ages in a frame count seconds


class WatchOptions(NamedTuple):
    """Streams to show.

    Attributes:
        limit: most streams; None: as many as fit.
    """

    search: str
    state: str
    sort: str
    limit: int | None


async def fetch(
    client: ApiClient, options: WatchOptions, limit: int, clock: Callable[[], float] = time.monotonic
) -> Snapshot:
    """Request overview and streams.

    Raises:
        Unreachable, ApiRefused, SettingsError: see `ApiClient.get`.
    """
    overview = await client.get("/api/overview", Overview)
    streams = await client.get(
        "/api/streams",
        Streams,
        search=options.search,
        state=options.state,
        sort=options.sort,
        limit=limit,
    )
    return Snapshot(overview, streams, clock())


def watch(
    address: ServiceAddress, options: WatchOptions, *, seconds: float, once: bool, as_json: bool
) -> None:
    """Show streams until the user leaves.

    Args:
        seconds: between two requests.
        once: show them once; the default without a terminal, unless as JSON.
        as_json: print a line of JSON for each request.

    Raises:
        StreamLstmError: the service denies access; or it does not answer, where it is asked once.
    """
    if as_json:
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_print_json(address, options, seconds=seconds, once=once))
    elif screen.redraws() and not once:
        asyncio.run(_live(address, options, seconds=seconds))
    else:
        asyncio.run(_print_once(address, options))


def retry_seconds(failures: int, seconds: float) -> float:
    """Time until the next request, after so many failures in a row: doubled with each."""
    if not failures:
        return seconds
    return min(max(seconds, 1.0) * 2.0 ** min(failures - 1, 10), RETRY_SECONDS_MAX)


async def _print_once(address: ServiceAddress, options: WatchOptions) -> None:
    async with ApiClient(address) as client:
        snapshot = await fetch(client, options, options.limit or LIMIT_DEFAULT)
    screen.print_lines(render(snapshot, Size(screen.columns()), colour=screen.coloured()))


async def _print_json(address: ServiceAddress, options: WatchOptions, *, seconds: float, once: bool) -> None:
    """Print a line of JSON for each request, and each new problem on standard error, until cancelled."""
    running = asyncio.current_task()
    assert running
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    failures, problem = 0, ""
    async with ApiClient(address) as client:
        while True:
            try:
                snapshot = await fetch(client, options, options.limit or LIMIT_DEFAULT)
                found = {"overview": snapshot.overview, "streams": snapshot.streams}
                click.echo(in_json(msgspec.to_builtins(found)))
                failures, problem = 0, ""
            except Unreachable as error:
                if once:
                    raise
                failures += 1
                if str(error) != problem:
                    click.echo(f"unreachable: {formatting.safe(str(error))}", err=True)
                problem = str(error)
            if once:
                return
            await asyncio.sleep(retry_seconds(failures, seconds))


class Poller:
    """Requests snapshots at an interval.

    Args:
        seconds: between two requests.
        changed: called after each request.
        sleep: waits so many seconds.

    Attributes:
        snapshot: the last one; None before the first.
        problem: why there is no newer one; empty if there is none.
        limit: most streams to request.
    """

    def __init__(
        self,
        client: ApiClient,
        options: WatchOptions,
        seconds: float,
        changed: Callable[[], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._options = options
        self._seconds = seconds
        self._changed = changed
        self._sleep = sleep
        self.snapshot: Snapshot | None = None
        self.problem = ""
        self.limit = options.limit or LIMIT_DEFAULT

    async def run(self) -> None:
        """Request until cancelled.

        Raises:
            ApiRefused, SettingsError: a retry does not help.
        """
        failures = 0
        while True:
            try:
                self.snapshot = await fetch(self._client, self._options, self.limit)
                failures, self.problem = 0, ""
            except Unreachable as error:
                failures, self.problem = failures + 1, str(error)
            self._changed()
            await self._sleep(retry_seconds(failures, self._seconds))


async def _live(address: ServiceAddress, options: WatchOptions, *, seconds: float) -> None:
    """Draw a frame whenever something changes, until the user leaves."""
    changed, leaving = asyncio.Event(), asyncio.Event()
    async with ApiClient(address) as client:
        poller, shown = Poller(client, options, seconds, changed.set), Screen()
        foot = f"by {options.sort}, every {formatting.duration(seconds)}; q quits"
        # The signal handlers are there before the terminal is taken, and until it is given back.
        with terminal_events(shown, changed=changed.set, leave=leaving.set), shown:
            drawing = _draw(shown, poller, options, changed, foot)
            await run_until_first_ends(drawing, poller.run(), leaving.wait())


async def _draw(
    shown: Screen, poller: Poller, options: WatchOptions, changed: asyncio.Event, foot: str
) -> None:
    colour = screen.coloured()
    while True:
        changed.clear()
        columns, lines = screen.size()
        room = max(lines - 1 - LINES_AROUND, 1)
        poller.limit = min(options.limit or room, room, LIMIT_MAX)
        shown.draw(
            render(
                poller.snapshot,
                Size(columns - 1, lines),  # clearing behind the last column would clear that column
                colour=colour,
                problem=poller.problem,
                now=time.monotonic(),
                foot=foot,
            )
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAW_SECONDS_MAX):
                await changed.wait()
