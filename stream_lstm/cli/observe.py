"""The commands that look at a service and at what it remembers: `watch`, `inspect`, `healthcheck`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stream_lstm.cli.options import CONFIG, IN_FILE, OUT_FILE, json_option, reports_errors
from stream_lstm.errors import SettingsError
from stream_lstm.json_output import in_json

# As the API has them; held against it by a test, since to ask it here would take numpy for a `--help`.
STATES = ("all", "odd", "stale", "cold", "worse")
SORTS = ("odd", "name", "error", "seen", "events", "covered")
LIMIT_MAX = 500
STATE_SORTS = ("entered", "name", "error", "seen", "events", "covered")


@click.command()
@CONFIG
@click.option("--url", help="Another service: http://host:port or https://host:port.")
@click.option("--token-file", type=OUT_FILE, help="Its token, for --url.")
@click.option(
    "--limit", type=click.IntRange(1, LIMIT_MAX), help="How many streams at most; as many as fit if left out."
)
@click.option("--search", default="", help="Only streams whose name holds this text, in any case.")
@click.option(
    "--state", type=click.Choice(STATES), default="all", show_default=True, help="Only such streams."
)
@click.option(
    "--sort", type=click.Choice(SORTS), default="odd", show_default=True, help="What is listed first."
)
@click.option(
    "--every",
    type=click.FloatRange(0.2, 3_600.0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Look again after so long.",
)
@click.option("--once", is_flag=True, help="Show it once (the default without a terminal).")
@json_option("A JSON object a look, with the API's `overview` and `streams`")
@reports_errors
def watch(**options: Any) -> None:
    """Show the oddest streams of a running service, live.

    Which service: the one that runs with these settings on this machine, or that of --url. `next` is the
    prediction, give or take half its interval; `odd` how odd a stream is, or still is from the last minutes;
    `error` its mean error by that of "same as last time", of late. Leave with q or Ctrl-C.

    \b
    Example:
      stream-lstm watch --config configs/default.toml
      stream-lstm watch --state stale --sort seen --once
      stream-lstm watch --url https://plant.example:8080 --token-file token.txt
      stream-lstm watch --json --every 10
    """
    from stream_lstm.cli import api_client
    from stream_lstm.cli.watch import WatchOptions
    from stream_lstm.cli.watch import watch as start
    from stream_lstm.service.settings import load

    url, token_file = options["url"], options["token_file"]
    if url is None and token_file is not None:
        raise SettingsError("--token-file", "goes with --url; the settings have a token of their own")
    place = (
        api_client.of_settings(load(options["config"]).http)
        if url is None
        else api_client.of_url(url, token_file)
    )
    start(
        api_client.ApiClient(place),
        WatchOptions(options["search"], options["state"], options["sort"], options["limit"]),
        seconds=options["every"],
        once=options["once"],
        as_json=options["as_json"],
    )


@click.command()
@click.argument("path", required=False, type=IN_FILE)
@CONFIG
@click.option("--stream", help="One stream: all that is remembered of it.")
@click.option("--largest", is_flag=True, help="With --stream: the units of the largest LTM first.")
@click.option("--search", default="", help="Only streams whose name holds this text, in any case.")
@click.option(
    "--sort",
    type=click.Choice(STATE_SORTS),
    default="entered",
    show_default=True,
    help="What is listed first.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many streams are listed."
)
@json_option("A JSON object a stream")
@reports_errors
def inspect(path: Path | None, config: Path | None, **options: Any) -> None:
    """Show the streams in a state file, or one stream's memory; a running service is not disturbed.

    What is shown is the last checkpoint's; a running service is ahead of it. `error` is the mean error of the
    last hundreds of events by that of "same as last time", `covered` the share of values inside their
    interval (0.9 is meant).

    \b
    Example:
      stream-lstm inspect stream_lstm.db
      stream-lstm inspect stream_lstm.db --search pump --sort error --limit 10
      stream-lstm inspect stream_lstm.db --stream sensors/pump7/telemetry:temperature
      stream-lstm inspect stream_lstm.db --json | head
    """
    from stream_lstm.cli.inspect import InspectOptions
    from stream_lstm.cli.inspect import inspect as look
    from stream_lstm.service.settings import load

    if path and not config:
        look(path, InspectOptions(model=None, **options))
        return
    settings = load(config)
    look(path or settings.state.path, InspectOptions(model=settings.model.path, **options))


@click.command()
@CONFIG
@click.option("--ready", is_flag=True, help="Also: connected, memory restored, and the disk accepts.")
@json_option("The service's answer as a JSON object")
@reports_errors
def healthcheck(config: Path | None, ready: bool, as_json: bool) -> None:
    """Ask the service that runs with these settings how it fares; exit code 0 says that it is well.

    \b
    Example:
      stream-lstm healthcheck --config configs/default.toml --ready
      stream-lstm healthcheck --ready --json
    """
    from stream_lstm.cli.healthcheck import Unhealthy, ask
    from stream_lstm.service.settings import load

    http = load(config).http
    if not http.enabled:
        raise SettingsError("http.enabled", "is false: there is nobody to ask")
    try:
        answer = ask(http, ready=ready)
    except Unhealthy as error:
        if as_json and error.answer:
            click.echo(in_json(error.answer))
        raise
    click.echo(in_json(answer) if as_json else answer["status"])
