"""The commands that write model files and machine code: `convert`, `train` and `compile`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stream_lstm.cli.options import (
    CONFIG,
    IN_FILE,
    IN_FOLDER,
    MODEL,
    OUT_FILE,
    OUT_FOLDER,
    json_option,
    reports_errors,
)
from stream_lstm.compiler import GENERIC, LEVELS
from stream_lstm.errors import SettingsError
from stream_lstm.json_output import in_json


@click.command()
@click.argument("state_dict", type=IN_FILE)
@click.option("--output", "-o", required=True, type=OUT_FILE, help="Model file to write.")
@click.option("--features", required=True, help="Names of the features, in order, separated by commas.")
@click.option("--targets", default="", help="Names of the targets; by default the features.")
@click.option("--labels", default="", help="Names of the classes of a classifier.")
@click.option("--mean", default="", help="Means to subtract from the features.")
@click.option("--deviation", default="", help="Deviations to divide the features by.")
@click.option("--target-mean", default="", help="Means to add to the outputs, after --target-deviation.")
@click.option("--target-deviation", default="", help="Deviations to multiply the outputs by.")
@click.option("--name", help="Name of the model; by default that of the file.")
@click.option("--lstm", help="Prefix of the LSTM's tensors, if the file holds several.")
@click.option("--linear", help="Prefix of the linear layer's tensors, if the file holds several.")
@json_option("Print a JSON object")
@reports_errors
def convert(state_dict: Path, output: Path, name: str | None, as_json: bool, **options: str | None) -> None:
    """Convert a trained torch.nn.LSTM and torch.nn.Linear to a model file.

    STATE_DICT is a safetensors file: safetensors.torch.save_file(model.state_dict(), "pump.safetensors").
    Any number of layers; bidirectional layers and proj_size are not supported.

    \b
    Example:
      stream-lstm convert pump.safetensors -o model.safetensors --features temperature,vibration
    """
    from stream_lstm.core.model import file as model_file
    from stream_lstm.train.convert import convert as make

    content = make(
        state_dict.read_bytes(),
        source=str(state_dict),
        name=name or state_dict.name.split(".")[0],
        features=_names(options["features"]),
        targets=_names(options["targets"]),
        labels=_names(options["labels"]),
        mean=_numbers("--mean", options["mean"]),
        deviation=_numbers("--deviation", options["deviation"]),
        target_mean=_numbers("--target-mean", options["target_mean"]),
        target_deviation=_numbers("--target-deviation", options["target_deviation"]),
        lstm=options["lstm"],
        linear=options["linear"],
    )
    made = model_file.from_bytes(content)
    _write(output, content)
    of = made.spec
    if as_json:
        named = {"features": of.features, "targets": of.targets, "labels": of.labels}
        sizes = {"layers": of.layers, "units": of.units, "readout": of.readout}
        click.echo(in_json({"file": str(output), "model": made.id, **sizes, **named}))
        return
    click.echo(f"{output}: model {made.id}, {of.layers} layer(s) of {of.units} units, {of.readout} readout")


@click.command()
@click.option(
    "--recordings", type=IN_FOLDER, help="Folder of CSV files (timestamp,value); every fourth is held out."
)
@click.option("--output", "-o", required=True, type=OUT_FILE, help="Model file to write.")
@click.option("--name", default="default", show_default=True, help="Name of the model.")
@click.option("--seed", default=1, show_default=True, help="Seed of the random numbers.")
@click.option(
    "--steps", default=7_200, show_default=True, type=click.IntRange(1), help="Steps of the optimizer."
)
@click.option(
    "--units", default=64, show_default=True, type=click.IntRange(1, 1024), help="Units of the LSTM."
)
@json_option("Print a JSON object")
@reports_errors
def train(
    recordings: Path | None, output: Path, name: str, seed: int, steps: int, units: int, as_json: bool
) -> None:
    """Train a model on recordings and generated streams, and evaluate it. Needs the extra `train`.

    \b
    Example:
      stream-lstm train --recordings streams/ --output mine.safetensors --steps 2000
    """
    from stream_lstm.train.session import train as start

    with click.progressbar(length=steps, label="training", file=sys.stderr) as bar:
        content, judged = start(
            recordings, name=name, seed=seed, steps=steps, units=units, progress=lambda: bar.update(1)
        )
    _write(output, content)
    if as_json:
        click.echo(in_json({"file": str(output), **judged.fields()}))
    else:
        click.echo("\n".join(judged.lines()))


@click.command("compile")
@CONFIG
@MODEL
@click.option(
    "--level",
    type=click.Choice([*LEVELS, GENERIC]),
    help="CPU level of the machine code; by default the highest of this CPU.",
)
@click.option("--into", type=OUT_FOLDER, help="Folder to keep it under; by default ~/.cache.")
@json_option("Print a JSON object")
@reports_errors
def compile_command(
    config: Path | None, model: Path | None, level: str | None, into: Path | None, as_json: bool
) -> None:
    """Compile the engine for a model, so that the first start need not.

    A service compiles what it does not find: once for each release, model size and CPU level, some ten
    seconds. The container image has it for the default model.

    \b
    Example:
      stream-lstm compile --config settings.toml
      stream-lstm compile --model pump.safetensors --level x86-64-v2 --into /opt/stream-lstm/share
    """
    from stream_lstm.cli.compile import compile_engine
    from stream_lstm.service.settings import load

    path = model or load(config).model.path
    compile_engine(path, for_level=level, into=into, as_json=as_json)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _numbers(option: str, text: str | None) -> list[float]:
    try:
        return [float(number) for number in _names(text)]
    except ValueError:
        raise SettingsError(option, f"{text!r} is not a list of numbers with commas") from None


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise SettingsError(str(path), f"cannot be written: {error.strerror}") from None
