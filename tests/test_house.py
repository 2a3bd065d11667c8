"""Structure: which package may import which, sizes, names, and the only writers of a stream's state."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_lstm import cli

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "stream_lstm"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 7  # of a constructor; with more it is two classes

# Packages that a package may import, beside itself and the shared modules. `core` and `store` do not import
# each other; `service` joins them; the command line knows every package.
PACKAGES: dict[str, set[str]] = {
    "compiler": set(),
    "core": {"compiler"},
    "store": set(),
    "service": {"compiler", "core", "store"},
    "cli": {"compiler", "core", "store", "service", "backtest", "train", "demo"},
    "demo": {"service", "cli.terminal"},
    "backtest": {"core", "web"},
    "train": {"core", "backtest"},
    "forecast": {"core"},
    "models": set(),
    "web": set(),
}
SHARED = {"errors", "events", "recordings", "json_output", "__version__"}
# The core is pure: no clock, files, network, threads, randomness or logging.
PURE = {
    *(
        "__future__",
        "ast",
        "base64",
        "collections",
        "dataclasses",
        "datetime",
        "functools",
        "hashlib",
        "itertools",
        "json",
        "math",
    ),
    *("operator", "re", "string", "typing", "numpy", "msgspec", "safetensors"),
}
# Libraries that one package alone uses (and the packages that may as well).
OWNERS = {
    "sqlite3": {"store"},
    "mqtt5": {"service"},
    "aiomqtt": {"demo"},
    "aiohttp": {"service", "cli"},
    "asyncio": {"service", "cli", "demo"},
    "numba": {"compiler"},
    "llvmlite": {"compiler"},
    "torch": {"train"},
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules_of(name: str) -> list[Path]:
    return sorted((PACKAGE / name).rglob("*.py"))


def test_every_package_has_its_rule() -> None:
    found = {path.parent.relative_to(PACKAGE).parts[0] for path in MODULES if path.parent != PACKAGE}
    assert found == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_imports_only_what_it_may(name: str) -> None:
    for path in modules_of(name):
        for module in imports(path):
            if not module.startswith("stream_lstm."):
                continue
            other = module.removeprefix("stream_lstm.")
            first = other.split(".")[0]
            allowed = any(other == known or other.startswith(f"{known}.") for known in PACKAGES[name])
            assert first in SHARED | {name} or allowed, f"{path}: {module}"


def test_the_core_is_pure() -> None:
    for path in modules_of("core"):
        strangers = {name.split(".")[0] for name in imports(path)} - PURE - {"stream_lstm"}
        assert strangers == set(), path
        source = path.read_text("utf-8")
        assert "datetime.now" not in source, path
        assert "np.random" not in source, path


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_used_by_its_owners_only(library: str) -> None:
    users = {package(path) for path in MODULES if library in {name.split(".")[0] for name in imports(path)}}
    assert users <= OWNERS[library]
    assert users


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_fits_in_one_head(path: Path) -> None:
    source = path.read_text("utf-8")
    assert len(source.splitlines()) <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name
            if node.name == "__init__":
                parameters = [*node.args.args, *node.args.kwonlyargs]
                assert len(parameters) - 1 <= PARAMETERS_MAX, parameters


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_a_test_file_fits_in_one_head(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MODULE_LINES_MAX


# Tests of what no single module does.
ACROSS = {
    *("test_browsers", "test_deploy", "test_docs", "test_grafana", "test_house", "test_pinned"),
    *(
        "service/test_contract",
        "service/test_disk",
        "service/test_disk_faults",
        "service/test_exactly_once",
        "service/test_examples",
    ),
    *(
        "service/test_access_rules",
        "service/test_subscriptions",
        "service/test_hostile",
        "service/test_operations",
    ),
    *("service/test_prometheus", "service/test_tls"),
    *("service/http/test_http_process", "attack/test_attack", "sim/test_sim", "train/test_training"),
}


@pytest.mark.parametrize("path", [path for path in TESTS if path.name.startswith("test_")], ids=str)
def test_a_test_file_mirrors_a_module(path: Path) -> None:
    """`tests/x/test_y.py` or `tests/x/test_y_topic.py` tests `stream_lstm/x/y.py`."""
    place = path.relative_to(ROOT / "tests").with_suffix("")
    if str(place) in ACROSS or place.parts[0] == "page":
        return
    words = place.name.removeprefix("test_").split("_")
    names = ["_".join(words[: n + 1]) for n in range(len(words))]
    assert any((PACKAGE / place.parent / f"{name}.py").exists() for name in names), place


def test_a_class_name_stands_in_one_module_only() -> None:
    found = Counter(
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    # The API's schemas are OpenAPI components: their names are public and stay.
    schemas = {
        node.name
        for node in ast.parse((PACKAGE / "service/http/schemas.py").read_text("utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    assert {name for name, count in found.items() if count > 1} - schemas == set()


RIDDLE = re.compile(r"(What|Who|Whether|Those|Nobody|Somebody) [a-z]")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_docstring_says_what_a_thing_is(path: Path) -> None:
    """It begins with a noun or a verb of the field."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            assert not RIDDLE.match(text), f"{getattr(node, 'name', path.stem)}: {text.splitlines()[0]}"


# A stream's record is changed by the functions that `engine.push` calls, and by nothing else: elsewhere it is
# only read. (Preparation for training pushes blank records of its own.)
RECORD_WRITERS = {"core/engine.py", "core/model/preparation.py", "core/model/cell.py", "core/trackers"}
STATE = re.compile(r"(states?|target|ltm|stm)\b[.\[]|.*\bstates\b")
REGISTRY = ("applied", "written", "seen", "longest_gap", "stale", "anomaly")


def stores(path: Path) -> Iterator[tuple[str, str]]:
    """Targets of a file's assignments by subscript: the expression before the brackets, and its last name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Subscript):
                    text = ast.unparse(part.value)
                    yield text, text.split(".")[-1].split("[")[0]


def changed(path: Path) -> Iterator[str]:
    """Targets of a file's assignments that are, by their names, parts of a stream's record."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            for part in ast.walk(target):
                text = ast.unparse(part) if isinstance(part, ast.Attribute | ast.Subscript) else ""
                if STATE.match(text):
                    yield text


def test_only_the_engine_changes_a_record() -> None:
    writers = set()
    for path in modules_of("core"):
        where = str(path.relative_to(PACKAGE))
        if where != "core/memory.py" and any(changed(path)):  # it is where the rows lie
            writers.add("core/trackers" if where.startswith("core/trackers/") else where)
    assert writers == RECORD_WRITERS
    for name in ("service", "cli", "backtest", "train"):
        for path in modules_of(name):
            assert not [text for text in changed(path) if re.search(r"\bstates\b", text)], path


@pytest.mark.parametrize("column", REGISTRY)
def test_only_the_registry_writes_its_columns(column: str) -> None:
    writers = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for text, last in stores(path)
        if last == column and ("registry" in text or text == f"self.{column}")
    }
    assert writers == {"service/state/registry.py"}


def last_line(script: str) -> str:
    """The last line that a script prints in a process of its own, which is not measured for coverage."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize("command", sorted(cli.main.commands))
def test_help_imports_nothing_heavy(command: str) -> None:
    script = (
        "import sys; from stream_lstm.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = 'numpy', 'numba', 'aiohttp', 'pydantic', 'sqlite3', 'asyncio', 'mqtt5', 'aiomqtt'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert last_line(script) == "[]"


def test_checking_settings_imports_no_compiler() -> None:
    script = (
        "import sys; from stream_lstm.cli import main\n"
        "try: main(['check', '--streams', '1000'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('numba', 'llvmlite') if name in sys.modules])"
    )
    assert last_line(script) == "[]"


def test_the_running_service_imports_no_extra() -> None:
    script = (
        "import sys; import stream_lstm.service.app, stream_lstm.cli\n"
        "print([m for m in ('torch', 'iotcore', 'aiomqtt', 'pytest') if m in sys.modules])"
    )
    assert last_line(script) == "[]"
