"""Options and argument types shared by the commands, the check for extras, and error output."""

from __future__ import annotations

import importlib.util
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
OUT_FOLDER = click.Path(path_type=Path, file_okay=False)

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
    help="Model file; by default the model that is shipped.",
)


def json_option(prints: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The option `--json` of a command that reports something.

    Args:
        prints: help text, up to "instead of text".
    """
    return click.option("--json", "as_json", is_flag=True, help=f"{prints}, instead of text.")


def require_extra(extra: str, module: str) -> None:
    """Check that a module of an extra is installed.

    Raises:
        SettingsError: it is not; the message says how to install it.
    """
    if importlib.util.find_spec(module) is None:
        raise SettingsError(module, f"is not installed; install with: pip install 'stream-lstm[{extra}]'")


def report_error(error: StreamLstmError) -> int:
    """Print an error as one message; returns the exit code: 2 for settings and options, 1 for the others."""
    click.echo(f"error: {error}", err=True)
    return 2 if isinstance(error, SettingsError) else 1


def reports_errors(call: Callable[P, R]) -> Callable[P, R]:
    """Print this package's errors as one message, and exit; see `report_error`."""

    @wraps(call)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except StreamLstmError as error:
            sys.exit(report_error(error))

    return wrapped
