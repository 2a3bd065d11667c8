"""`stream-lstm watch`: the oddest streams of a running service; live, once, or as JSON lines."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple

import click
import msgspec

from stream_lstm.cli.api_client import ApiClient, Unreachable
from stream_lstm.cli.terminal import formatting, screen
from stream_lstm.cli.terminal.screen import Screen
from stream_lstm.cli.watch_view import AROUND, Size, Snapshot, picture
from stream_lstm.json_output import in_json
from stream_lstm.service.http.schemas import Overview, Streams

LIMIT = 50  # where nothing else is said, and there is no terminal's height
LIMIT_MAX = 500  # that the API gives at once
AGAIN_SECONDS_MAX = 15.0  # between two attempts while the service is away
LEAVE_SECONDS_MAX = 0.2
DRAW_SECONDS = 1.0  # ages are counted on, whether or not there is an answer


class WatchOptions(NamedTuple):
    """Which streams.

    Attributes:
        limit: how many; None: as many as there is room for.
    """

    search: str
    state: str
    sort: str
    limit: int | None


def look(client: ApiClient, wanted: WatchOptions, limit: int) -> Snapshot:
    """Ask once.

    Raises:
        Away, Refused, SettingsError: see `ApiClient.ask`.
    """
    overview = client.ask("/api/overview", Overview)
    streams = client.ask(
        "/api/streams",
        Streams,
        search=wanted.search,
        state=wanted.state,
        sort=wanted.sort,
        limit=limit,
    )
    return Snapshot(overview, streams, time.monotonic())


def watch(client: ApiClient, wanted: WatchOptions, *, seconds: float, once: bool, as_json: bool) -> None:
    """Show what is asked for until the user leaves.

    Args:
        seconds: between two looks.
        once: show it once; so it is without a terminal, too, unless it is JSON.
        as_json: a line of JSON a look.

    Raises:
        StreamLstmError: there is no service, if it is to be shown once; or it does not let us in.
    """
    if screen.there() and not once and not as_json:
        _live(client, wanted, seconds=seconds)
        return
    try:
        if as_json:
            _lines(client, wanted, seconds=seconds, once=once)
        else:
            seen = look(client, wanted, wanted.limit or LIMIT)
            screen.say(picture(seen, Size(screen.columns()), colour=screen.coloured()))
    finally:
        client.close()


def again(failures: int, seconds: float) -> float:
    """How long to wait after so many failures in a row."""
    return (
        seconds if not failures else min(max(seconds, 1.0) * 2.0 ** min(failures - 1, 10), AGAIN_SECONDS_MAX)
    )


def _lines(client: ApiClient, wanted: WatchOptions, *, seconds: float, once: bool) -> None:
    """A line of JSON a look; what is wrong goes to standard error, once each time it is something new."""
    previous = signal.signal(signal.SIGTERM, _leave)
    failures, said = 0, ""
    try:
        while True:
            try:
                seen = look(client, wanted, wanted.limit or LIMIT)
                told = msgspec.to_builtins({"overview": seen.overview, "streams": seen.streams})
                click.echo(in_json(told))
                failures, said = 0, ""
            except Unreachable as error:
                if once:
                    raise
                failures += 1
                if str(error) != said:
                    click.echo(f"away: {formatting.safe(str(error))}", err=True)
                said = str(error)
            if once:
                return
            time.sleep(again(failures, seconds))
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, previous)


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class Poller:
    """Looks again and again in a thread of its own, so that a slow answer holds up no key and no signal.

    Args:
        tell: called when there is something new.

    Attributes:
        seen: the last look.
        unreachable: why there is none that is newer, if so.
        failed: what ended it.
        limit: how many streams are asked for.
    """

    def __init__(
        self, client: ApiClient, wanted: WatchOptions, seconds: float, tell: Callable[[], None]
    ) -> None:
        self._client = client
        self._wanted = wanted
        self._seconds = seconds
        self._tell = tell
        self._stopped = threading.Event()
        self.seen: Snapshot | None = None
        self.unreachable = ""
        self.failed: Exception | None = None
        self.limit = wanted.limit or LIMIT
        self._thread = threading.Thread(target=self._run, name="looker", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; who waits for an answer is given a moment, and no more."""
        self._stopped.set()
        self._thread.join(LEAVE_SECONDS_MAX)

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                self.seen = look(self._client, self._wanted, self.limit)
                failures, self.unreachable = 0, ""
            except Unreachable as error:
                failures, self.unreachable = failures + 1, str(error)
            except Exception as error:  # whatever it is, it is told where it can be
                self.failed = error
                self._stopped.set()
            self._tell()
            self._stopped.wait(again(failures, self._seconds))
        self._client.close()


def _live(client: ApiClient, wanted: WatchOptions, *, seconds: float) -> None:
    """A picture that is drawn again whenever something is new."""
    colour = screen.coloured()
    foot = f"by {wanted.sort}, every {formatting.lasting(seconds)}; q leaves"
    with Screen() as shown:
        looker = Poller(client, wanted, seconds, shown.wake)
        looker.start()
        try:
            going = True
            while going:
                if looker.failed:
                    raise looker.failed
                columns, lines = screen.size()
                size = Size(columns - 1, lines)  # to clear behind the last column would clear that column
                room = max(lines - 1 - AROUND, 1)
                looker.limit = min(wanted.limit or room, room, LIMIT_MAX)
                now = time.monotonic()
                shown.draw(
                    picture(looker.seen, size, colour=colour, away=looker.unreachable, now=now, foot=foot)
                )
                going = shown.wait(DRAW_SECONDS)
        finally:
            looker.stop()
