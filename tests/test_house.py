"""The walls of the house: who may know whom, and how large a room's pieces may be."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_lstm import cli

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "stream_lstm"
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

# What a room may know beside itself, `events` and `errors`. The service joins core and store; only the
# command line knows all rooms.
ROOMS = {
    "core": set(),
    "store": set(),
    "service": {"core", "store", "recordings"},
    "demo": {"service", "recordings"},  # and PARTS
    "train": {"core", "recordings", "backtest"},
    "backtest": {"core", "recordings"},
}
# Part of a room that another one may know.
PARTS = {"demo": "stream_lstm.cli.terminal"}
# The core is pure: no clock, no files, no network, no threads, no chance.
PURE = {
    *(
        "__future__",
        "base64",
        "collections",
        "dataclasses",
        "datetime",
        "hashlib",
        "itertools",
        "json",
        "math",
        "operator",
    ),
    *("re", "string", "typing", "numpy", "msgspec", "safetensors"),
}
# What only one room may use.
OWNERS = {
    "sqlite3": "store",
    "mqtt5": "service",
    "aiohttp": "service",
    "aiomqtt": "demo",
    "asyncio": "service",
    "torch": "train",
}
ALSO = {("demo", "asyncio")}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def in_room(name: str) -> list[Path]:
    return sorted((PACKAGE / name).rglob("*.py"))


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_knows_only_those_it_may(name: str) -> None:
    rooms = set(ROOMS) | {"cli", "recordings"}
    assert in_room(name)
    for path in in_room(name):
        ours = {part for part in imports(path) if part.startswith("stream_lstm.")}
        known = {part.split(".")[1] for part in ours if not part.startswith(PARTS.get(name, "-"))}
        assert (known & rooms) - ROOMS[name] - {name} == set(), path


def test_the_core_is_pure() -> None:
    for path in in_room("core"):
        strangers = {name.split(".")[0] for name in imports(path)} - PURE - {"stream_lstm"}
        assert strangers == set(), path
        source = path.read_text("utf-8")
        assert "datetime.now" not in source, path
        assert "np.random" not in source, path


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_has_one_owner(library: str) -> None:
    users = {room(path) for path in MODULES if library in {name.split(".")[0] for name in imports(path)}}
    users -= {"cli"} | {other for other, used in ALSO if used == library}
    assert users == {OWNERS[library]}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_everything_fits_in_one_head(path: Path) -> None:
    source = path.read_text("utf-8")
    assert len(source.splitlines()) <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name


def test_only_the_engine_changes_a_memory() -> None:
    writers = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "put"
        if "memories" in ast.unparse(node.func.value)
    }
    assert writers == {"core/engine.py"}


def said(script: str) -> str:
    """The last line that a script prints in a process of its own, which is not measured for coverage."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize("command", sorted(cli.main.commands))
def test_help_needs_no_numbers_no_network_no_database(command: str) -> None:
    script = (
        "import sys; from stream_lstm.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = 'numpy', 'aiohttp', 'pydantic', 'sqlite3', 'asyncio', 'mqtt5'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert said(script) == "[]"


def test_the_running_service_needs_no_extra() -> None:
    script = (
        "import sys; import stream_lstm.service.app, stream_lstm.cli\n"
        "print([m for m in ('torch', 'iotcore', 'aiomqtt', 'pytest') if m in sys.modules])"
    )
    assert said(script) == "[]"
