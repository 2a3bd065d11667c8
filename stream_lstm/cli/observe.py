"""The commands `watch`, `inspect` and `healthcheck`: a running service, and its state file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stream_lstm.cli.options import CONFIG, IN_FILE, OUT_FILE, json_option, reports_errors
from stream_lstm.errors import SettingsError
from stream_lstm.json_output import in_json

# The choices of the API, which a test compares: to import them here would import numpy for `--help`.
STATES = ("all", "anomalous", "stale", "cold", "worse")
SORTS = ("anomaly", "name", "error", "seen", "events", "covered")
LIMIT_MAX = 500  # of the API
STATE_SORTS = ("entered", "name", "error", "seen", "events", "covered")


class Choice(click.Choice):  # type: ignore[type-arg] # generic from click 8.2 on
    """A choice that also accepts old names, which help and completion do not list.

    Args:
        choices: the names.
        old: old names and the names in their place.
    """

    def __init__(self, choices: tuple[str, ...], old: dict[str, str]) -> None:
        super().__init__(choices)
        self._old = old

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Replace an old name."""
        return str(super().convert(self._old.get(value, value), param, ctx))


@click.command()
@CONFIG
@click.option("--url", help="Address of another service: http://host:port or https://host:port.")
@click.option("--token-file", type=OUT_FILE, help="File with its token, for --url.")
@click.option(
    "--limit", type=click.IntRange(1, LIMIT_MAX), help="Most streams to list; by default as many as fit."
)
@click.option("--search", default="", help="List only streams whose name holds this text, in any case.")
@click.option(
    "--state",
    type=Choice(STATES, {"odd": "anomalous"}),
    default="all",
    show_default=True,
    help="List only streams in this state.",
)
@click.option(
    "--sort", type=Choice(SORTS, {"odd": "anomaly"}), default="anomaly", show_default=True, help="Sort key."
)
@click.option(
    "--every",
    type=click.FloatRange(0.2, 3_600.0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Interval between two requests.",
)
@click.option("--once", is_flag=True, help="Print the list once (the default without a terminal).")
@json_option("Print a JSON object for each request, with the API's `overview` and `streams`")
@reports_errors
def watch(**options: Any) -> None:
    """List the most anomalous streams of a running service, live.

    The service is the one that runs with these settings on this machine, or that of --url. `next` is the
    prediction ± half the width of its interval; `anomaly` the score of the last event, or a higher one of
    the last minutes, decayed; `error` the recent error relative to the last-value forecast (1.0 is no
    better). q or Ctrl-C quits.

    \b
    Example:
      stream-lstm watch --config configs/default.toml
      stream-lstm watch --state stale --sort seen --once
      stream-lstm watch --url https://plant.example:8080 --token-file token.txt
      stream-lstm watch --json --every 10
    """
    from stream_lstm.cli import service_address
    from stream_lstm.cli.watch import WatchOptions
    from stream_lstm.cli.watch import watch as run
    from stream_lstm.service.settings import load

    url, token_file = options["url"], options["token_file"]
    if url is None and token_file is not None:
        raise SettingsError("--token-file", "goes with --url; the settings name a token file of their own")
    run(
        service_address.from_settings(load(options["config"]).http)
        if url is None
        else service_address.from_url(url, token_file),
        WatchOptions(options["search"], options["state"], options["sort"], options["limit"]),
        seconds=options["every"],
        once=options["once"],
        as_json=options["as_json"],
    )


@click.command()
@click.argument("path", required=False, type=IN_FILE)
@CONFIG
@click.option("--stream", help="Show one stream in detail.")
@click.option("--largest", is_flag=True, help="With --stream: sort its units by the size of their LTM.")
@click.option("--search", default="", help="List only streams whose name holds this text, in any case.")
@click.option(
    "--sort",
    type=click.Choice(STATE_SORTS),
    default="entered",
    show_default=True,
    help="Sort key.",
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Most streams to list.")
@json_option("Print a JSON object for each stream")
@reports_errors
def inspect(path: Path | None, config: Path | None, **options: Any) -> None:
    """Show the streams in a state file, or one stream's memory.

    A running service is not disturbed; it is ahead of the file, which holds the last checkpoint. `error` is
    the mean error of the last hundreds of events relative to the last-value forecast (1.0 is no better),
    `covered` the share of values inside their prediction interval (nominal: 0.9).

    \b
    Example:
      stream-lstm inspect stream_lstm.db
      stream-lstm inspect stream_lstm.db --search pump --sort error --limit 10
      stream-lstm inspect stream_lstm.db --stream sensors/pump7/telemetry:temperature
      stream-lstm inspect stream_lstm.db --json | head
    """
    from stream_lstm.cli.inspect import InspectOptions
    from stream_lstm.cli.inspect import inspect as run
    from stream_lstm.service.settings import load

    if path and not config:
        run(path, InspectOptions(model=None, **options))
        return
    settings = load(config)
    run(path or settings.state.path, InspectOptions(model=settings.model.path, **options))


@click.command()
@CONFIG
@click.option("--ready", is_flag=True, help="Also check that it is connected, recovered, and can write.")
@json_option("Print the service's answer as a JSON object")
@reports_errors
def healthcheck(config: Path | None, ready: bool, as_json: bool) -> None:
    """Check the health of a running service; exit code 0 means healthy.

    \b
    Example:
      stream-lstm healthcheck --config configs/default.toml --ready
      stream-lstm healthcheck --ready --json
    """
    from stream_lstm.cli.healthcheck import Unhealthy, ask
    from stream_lstm.service.settings import load

    http = load(config).http
    if not http.enabled:
        raise SettingsError("http.enabled", "is false: the service has no health check")
    try:
        answer = ask(http, ready=ready)
    except Unhealthy as error:
        if as_json and error.answer:
            click.echo(in_json(error.answer))
        raise
    click.echo(in_json(answer) if as_json else answer["status"])
