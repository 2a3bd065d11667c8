"""The commands. Each imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from stream_lstm import __version__
from stream_lstm.cli.models import compile_command, convert, train
from stream_lstm.cli.observe import healthcheck, inspect, watch
from stream_lstm.cli.options import (
    CONFIG,
    IN_FILE,
    MODEL,
    OUT_FILE,
    json_option,
    report_error,
    reports_errors,
    require_extra,
)
from stream_lstm.errors import StreamLstmError
from stream_lstm.json_output import in_json

# One BLAS thread: the products are small, and more threads make them slower. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="stream-lstm")
def main() -> None:
    """LSTM predictions for MQTT sensor streams, with exactly-once memory.

    Start with `stream-lstm demo`, then `stream-lstm run --config FILE`.
    """


@main.command()
@CONFIG
@reports_errors
def run(config: Path | None) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    \b
    Example:
      stream-lstm run --config configs/default.toml
      STREAM_LSTM__MQTT__URL=mqtt://broker:1883 stream-lstm run
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(0))  # as process 1 there is no default handler

    import asyncio

    from stream_lstm.service import log
    from stream_lstm.service.app import end, serve
    from stream_lstm.service.settings import load

    settings = load(config)
    log.configure(settings.log.level, settings.log.format)
    code = 0
    try:
        asyncio.run(serve(settings))
    except StreamLstmError as error:
        code = report_error(error)
    end(code)


@main.command()
@click.option("--seconds", type=click.FloatRange(min=1.0), default=60.0, show_default=True, help="Duration.")
@click.option(
    "--forever", is_flag=True, help="Run until Ctrl-C, or until the recordings end after ten minutes."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Factor relative to the recorded time; by default each recording fills the duration.",
)
@click.option(
    "--plain", is_flag=True, help="Print lines instead of a live table (the default without a terminal)."
)
@reports_errors
def demo(seconds: float, forever: bool, speed: float | None, plain: bool) -> None:
    """Run a broker, the service and recorded sensors for a minute. Changes no state of yours.

    \b
    Example:
      stream-lstm demo --seconds 30
    """
    require_extra("demo", "aiomqtt")
    from stream_lstm.demo.run import run_demo

    sys.exit(run_demo(seconds=None if forever else seconds, speed=speed, plain=plain))


@main.command()
@CONFIG
@click.option("--print", "show", is_flag=True, help="Print the effective settings as JSON, secrets masked.")
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    help="Number of streams of the estimate; by default limits.streams_max.",
)
@json_option("Print a JSON object")
@reports_errors
def check(config: Path | None, show: bool, streams: int | None, as_json: bool) -> None:
    """Validate settings and model without connecting; estimate memory and disk.

    \b
    Example:
      stream-lstm check --config configs/default.toml --streams 200000
      stream-lstm check --json
    """
    import json

    from stream_lstm.cli.estimate import estimate
    from stream_lstm.core.overlap import overlapping
    from stream_lstm.service import assembly
    from stream_lstm.service.settings import load, masked

    settings = load(config)
    model = assembly.load_model(settings.model.path)
    assembly.decoder(settings, model)
    assembly.credentials(settings.mqtt)
    if show:
        click.echo(json.dumps(masked(settings), indent=2, default=str))
        return
    needs = estimate(model, streams or settings.limits.streams_max, recent_events=settings.http.events_kept)
    subscriptions = [{"filter": s.source().pattern.filter, "qos": s.qos} for s in settings.subscribe]
    if as_json:
        found = {"settings": "right", "model": model.id, "subscriptions": subscriptions}
        click.echo(in_json(found | {"estimate": needs._asdict()}))
        return
    click.echo(f"settings are valid; model {model.id}")
    for subscription in subscriptions:
        click.echo("  subscribes to {filter} (QoS {qos})".format_map(subscription))
    for one, other in overlapping([str(subscription["filter"]) for subscription in subscriptions]):
        click.echo(
            f"  warning: {one} and {other} overlap: a topic that both match is read by the first, once"
        )
    for line in needs.lines():
        click.echo(f"  {line}")


@main.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@CONFIG
@click.option(
    "--topic", default="sensors/{name}/telemetry", show_default=True, help="{name}: file name without .csv."
)
@click.option("--field", default="value", show_default=True, help="Payload field of the value.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Factor relative to the recorded time; by default without pauses.",
)
@click.option("--straight", is_flag=True, help="Without a broker: print predictions as JSON lines.")
@click.option(
    "--journal", is_flag=True, help="FILES is one state file: replay its journal through the model."
)
@MODEL
@reports_errors
def replay(**options: Any) -> None:
    """Replay CSV recordings (timestamp,value) into a broker or through a model.

    Through a model of several features, a recording has a column of times and one for each feature's name.

    \b
    Example:
      stream-lstm replay pump.csv --speed 60
      stream-lstm replay pump.csv --straight | head
      stream-lstm replay --journal stream_lstm.db
    """
    from stream_lstm.cli.replay import replay as start

    start(**options)


@main.command()
@click.argument("files", nargs=-1, required=True, type=IN_FILE)
@MODEL
@click.option("--time", help="Column of times (ISO 8601 or epoch seconds); by default the first.")
@click.option(
    "--value",
    "values",
    multiple=True,
    help="Column of values; by default every other column. For a model of several features: the column of "
    "each, in their order; by default those of their names.",
)
@click.option("--label", help="Column of a classifying model's classes; by default `label`.")
@click.option("--report", type=OUT_FILE, help="Write a report: one HTML file that needs no network.")
@click.option("--json", "numbers", type=OUT_FILE, help="Write all metrics as JSON.")
@reports_errors
def backtest(
    files: tuple[Path, ...],
    model: Path | None,
    time: str | None,
    values: tuple[str, ...],
    label: str | None,
    report: Path | None,
    numbers: Path | None,
) -> None:
    """Measure the forecast quality on recorded streams, next to simpler forecasts.

    FILES are CSV, or Parquet (extra `parquet`): one column of times; each other column is a stream. For a
    model of several features, each file is one stream. Of a classifying model, rows with a label count.

    \b
    Example:
      stream-lstm backtest pump*.csv --report report.html
      stream-lstm backtest plant.parquet --time ts --value temperature --value pressure
    """
    from stream_lstm.cli.backtest import Columns
    from stream_lstm.cli.backtest import backtest as start
    from stream_lstm.service.assembly import load_model

    start(files, load_model(model), Columns(time, values, label), page=report, numbers=numbers)


@main.command()
@click.argument("file", type=OUT_FILE)
@CONFIG
@click.option("--state", type=IN_FILE, help="State file; by default state.path of the settings.")
@json_option("Print a JSON object")
@reports_errors
def snapshot(file: Path, config: Path | None, state: Path | None, as_json: bool) -> None:
    """Copy the state of a running or stopped service to FILE.

    The copy is consistent, verified and synced to disk.

    \b
    Example:
      stream-lstm snapshot --config configs/default.toml backup.db
      stream-lstm snapshot --json backup.db
    """
    from stream_lstm.service.settings import load
    from stream_lstm.store import snapshot as copies

    of = state or load(config).state.path
    _copied(file, copies.take(of, file), as_json=as_json)


@main.command()
@click.argument("file", type=IN_FILE)
@CONFIG
@click.option("--state", type=OUT_FILE, help="State file to write; by default state.path of the settings.")
@click.option("--replace", is_flag=True, help="Move an existing state file aside.")
@json_option("Print a JSON object")
@reports_errors
def restore(file: Path, config: Path | None, state: Path | None, replace: bool, as_json: bool) -> None:
    """Replace the state of a stopped service with the snapshot FILE.

    Memory is then that of the snapshot: events after it are not in it, and `seq` continues from there.

    \b
    Example:
      stream-lstm restore --config configs/default.toml --replace backup.db
    """
    from stream_lstm.service.settings import load
    from stream_lstm.store import snapshot as copies

    to = state or load(config).state.path
    _copied(to, copies.restore(file, to, replace=replace), as_json=as_json)


def _copied(to: Path, content: Any, *, as_json: bool) -> None:
    """Print the contents of a copy."""
    click.echo(in_json({"file": str(to), **content._asdict()}) if as_json else f"{to}: {content}")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell completion script.

    \b
    Example:
      stream-lstm completion bash > ~/.local/share/bash-completion/completions/stream-lstm
      stream-lstm completion fish > ~/.config/fish/completions/stream-lstm.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made, shell
    click.echo(made(main, {}, "stream-lstm", "_STREAM_LSTM_COMPLETE").source())


@main.command()
@MODEL
@click.option(
    "--batch", "batches", multiple=True, type=click.IntRange(1, 65_536), help="Batch size to measure."
)
@json_option("Print a JSON object")
@reports_errors
def bench(model: Path | None, batches: tuple[int, ...], as_json: bool) -> None:
    """Measure the engine on this machine: microseconds per event, by batch size.

    \b
    Example:
      stream-lstm bench --batch 1 --batch 256
      stream-lstm bench --json
    """
    from stream_lstm.cli.bench import bench as measure

    measure(model, batches or (1, 16, 64, 256, 1024), as_json=as_json)


for command in (watch, inspect, healthcheck, convert, train, compile_command):
    main.add_command(command)


if __name__ == "__main__":
    main()
