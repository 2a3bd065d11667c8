"""The command line. Every command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from stream_lstm import __version__
from stream_lstm.cli.models import convert, train
from stream_lstm.cli.observe import healthcheck, inspect, watch
from stream_lstm.cli.options import CONFIG, IN_FILE, MODEL, OUT_FILE, json_option, reports_errors
from stream_lstm.json_output import in_json

# One BLAS thread: the products are small, and more threads make them slower. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="stream-lstm")
def main() -> None:
    """A memory for every sensor: LSTM predictions over MQTT; what it remembers counts each event once.

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
    import asyncio

    from stream_lstm.service import log
    from stream_lstm.service.app import serve
    from stream_lstm.service.settings import load

    settings = load(config)
    log.configure(settings.log.level, settings.log.format)
    asyncio.run(serve(settings))


@main.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long to show it.")
@click.option("--forever", is_flag=True, help="Until Ctrl-C, or the recordings' end after ten minutes.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Times faster than recorded; left out: each recording fills the time.",
)
@click.option("--plain", is_flag=True, help="Lines instead of a live table (the default without a terminal).")
@reports_errors
def demo(seconds: float, forever: bool, speed: float | None, plain: bool) -> None:
    """Real recorded sensors, a broker and the service, for a minute. Touches no state of yours.

    \b
    Example:
      stream-lstm demo --seconds 30
    """
    from stream_lstm.demo.show import show

    sys.exit(show(seconds=None if forever else seconds, speed=speed, plain=plain))


@main.command()
@CONFIG
@click.option("--print", "show", is_flag=True, help="Print the settings in force as JSON, secrets masked.")
@click.option("--streams", type=click.IntRange(min=1), help="Estimate what so many streams need.")
@json_option("One JSON object")
@reports_errors
def check(config: Path | None, show: bool, streams: int | None, as_json: bool) -> None:
    """Check settings and model without connecting; estimate memory and disk.

    \b
    Example:
      stream-lstm check --config configs/default.toml --streams 200000
      stream-lstm check --json
    """
    import json

    from stream_lstm.cli.estimate import estimate
    from stream_lstm.service import assembly
    from stream_lstm.service.settings import load, masked

    settings = load(config)
    model = assembly.load_model(settings.model.path)
    assembly.decoder(settings, model)
    assembly.client_options(settings)
    if show:
        click.echo(json.dumps(masked(settings), indent=2, default=str))
        return
    needs = estimate(model, streams or settings.limits.streams_max, recent_events=settings.http.events_kept)
    subscriptions = [{"filter": s.source().pattern.filter, "qos": s.qos} for s in settings.subscribe]
    if as_json:
        found = {"settings": "right", "model": model.id, "subscriptions": subscriptions}
        click.echo(in_json(found | {"estimate": needs._asdict()}))
        return
    click.echo(f"settings are right; model {model.id}")
    for subscription in subscriptions:
        click.echo("  subscribes to {filter} (QoS {qos})".format_map(subscription))
    for line in needs.lines():
        click.echo(f"  {line}")


@main.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@CONFIG
@click.option("--topic", default="sensors/{name}/telemetry", show_default=True, help="{name}: of the file.")
@click.option("--field", default="value", show_default=True, help="The number's name in the payload.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Times faster than recorded; left out: at once.",
)
@click.option("--straight", is_flag=True, help="No broker: predictions as JSON lines on standard output.")
@click.option("--journal", is_flag=True, help="The file is a state file: predict its journal once more.")
@MODEL
@reports_errors
def replay(**options: Any) -> None:
    """Replay CSV recordings (timestamp,value) into the broker, or straight through a model.

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
@click.option("--time", help="The column of times (ISO 8601 or epoch); the first if left out.")
@click.option("--value", "values", multiple=True, help="A column of values; every other one if left out.")
@click.option("--report", type=OUT_FILE, help="Write a page to look at: one HTML file, no network needed.")
@click.option("--json", "numbers", type=OUT_FILE, help="Write all figures as JSON.")
@reports_errors
def backtest(
    files: tuple[Path, ...],
    model: Path | None,
    time: str | None,
    values: tuple[str, ...],
    report: Path | None,
    numbers: Path | None,
) -> None:
    """Say how good the predictions for recorded streams would have been, beside simpler methods.

    FILES are CSV, or Parquet (extra `parquet`): a column of times, and each other column a stream.

    \b
    Example:
      stream-lstm backtest pump*.csv --report report.html
      stream-lstm backtest plant.parquet --time ts --value temperature --value pressure
    """
    from stream_lstm.cli.backtest import backtest as start
    from stream_lstm.service.assembly import load_model

    start(files, load_model(model), time=time, values=values, page=report, numbers=numbers)


@main.command()
@click.argument("file", type=OUT_FILE)
@CONFIG
@click.option("--state", type=IN_FILE, help="The state file; the settings' state.path if left out.")
@json_option("One JSON object")
@reports_errors
def snapshot(file: Path, config: Path | None, state: Path | None, as_json: bool) -> None:
    """Copy the state of a running (or stopped) service to FILE: consistent, checked, and on disk at the end.

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
@click.option("--state", type=OUT_FILE, help="The state file to make; the settings' state.path if left out.")
@click.option("--replace", is_flag=True, help="Move a state that is there aside.")
@json_option("One JSON object")
@reports_errors
def restore(file: Path, config: Path | None, state: Path | None, replace: bool, as_json: bool) -> None:
    """Put the snapshot FILE in the place of a stopped service's state.

    Memory is then that of the snapshot: what came after it is not known, and `seq` goes on from there.

    \b
    Example:
      stream-lstm restore --config configs/default.toml --replace backup.db
    """
    from stream_lstm.service.settings import load
    from stream_lstm.store import snapshot as copies

    to = state or load(config).state.path
    _copied(to, copies.restore(file, to, replace=replace), as_json=as_json)


def _copied(to: Path, content: Any, *, as_json: bool) -> None:
    """Say what is in a copy that was made."""
    click.echo(in_json({"file": str(to), **content._asdict()}) if as_json else f"{to}: {content}")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes the shell complete our commands and options.

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
    "--batch", "batches", multiple=True, type=click.IntRange(1, 65_536), help="Batch sizes to time."
)
@json_option("One JSON object")
@reports_errors
def bench(model: Path | None, batches: tuple[int, ...], as_json: bool) -> None:
    """Time the engine on this machine: microseconds an event, by batch size.

    \b
    Example:
      stream-lstm bench --batch 1 --batch 256
      stream-lstm bench --json
    """
    from stream_lstm.cli.bench import bench as measure

    measure(model, batches or (1, 16, 64, 256, 1024), as_json=as_json)


for command in (watch, inspect, healthcheck, convert, train):
    main.add_command(command)


if __name__ == "__main__":
    main()
