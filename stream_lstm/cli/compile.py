"""`stream-lstm compile`: machine code of the engine ahead of the first start."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from stream_lstm.compiler import GENERIC, LEVELS, level, variables
from stream_lstm.errors import SettingsError
from stream_lstm.json_output import in_json
from stream_lstm.service.assembly import load_model


def compile_engine(model: Path | None, *, for_level: str | None, into: Path | None, as_json: bool) -> None:
    """Compile all that a service with this model calls, and print where the machine code is.

    Args:
        for_level: CPU level; None: this CPU's highest.
        into: folder to keep it under, for all users; None: the user's own, private.

    Raises:
        SettingsError: this CPU cannot run code of that level.
        ModelError: the model cannot be read.
    """
    chosen = for_level or level()
    if not _can_run(chosen):
        raise SettingsError("--level", f"this CPU has {level()}: code for {chosen} cannot be tried here")
    os.environ[variables.LEVEL] = chosen  # both are read when numba is imported
    if into is not None:
        os.environ[variables.FOLDER] = str(into.absolute())
    from stream_lstm.compiler import cache
    from stream_lstm.service.compilation import compile_service

    used, started = load_model(model), time.perf_counter()
    compile_service(used)
    folder, seconds = cache.folder(), round(time.perf_counter() - started, 1)
    files = list(folder.glob("*.pickle")) if folder else []
    if folder and files and into is not None:
        cache.make_readable(folder)  # an installation's is for the user that runs the service
    size = sum(file.stat().st_size for file in files)
    if as_json:
        about: dict[str, Any] = {"model": used.id, "level": chosen, "seconds": seconds}
        click.echo(in_json(about | {"folder": str(folder) if files else None, "bytes": size}))
        return
    click.echo(f"{used.id} compiled for {chosen} in {seconds} s")
    if files:
        click.echo(f"machine code: {len(files)} files, {size / 1e6:.1f} MB, in {folder}")
    elif cache.shipped_folder().is_dir():
        click.echo(f"machine code came with the installation, in {cache.shipped_folder()}")
    else:
        click.echo("nothing is kept: no folder to write to; set NUMBA_CACHE_DIR or --into")


def _can_run(chosen: str) -> bool:
    """True if this CPU has the level."""
    levels = [*LEVELS, GENERIC]  # the highest first
    return levels.index(chosen) >= levels.index(level())
