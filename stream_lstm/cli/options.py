"""What several commands have in common: options, kinds of arguments, and how errors are shown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from stream_lstm.errors import SettingsError, StreamLstmError

P = ParamSpec("P")
R = TypeVar("R")

IN_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
IN_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
OUT_FILE = click.Path(path_type=Path, dir_okay=False)

CONFIG = click.option(
    "--config",
    "-c",
    type=OUT_FILE,
    envvar="STREAM_LSTM_CONFIG",
    help="Settings file (TOML). Without it: defaults and STREAM_LSTM__… environment variables.",
)
MODEL = click.option(
    "--model",
    type=OUT_FILE,
    help="Model file; the default model if left out.",
)


def json_option(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The option `--json`, which is the same wherever there is something to find out.

    Args:
        what: comes out, beginning with how many JSON objects.
    """
    return click.option("--json", "as_json", is_flag=True, help=f"{what}, instead of text.")


def reports_errors(call: Callable[P, R]) -> Callable[P, R]:
    """Show our own errors as one message; exit 2 for what the operator asked, 1 for what went wrong."""

    @wraps(call)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except SettingsError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except StreamLstmError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return wrapped
