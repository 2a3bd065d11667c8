"""Cache of machine code: what is found again, what is not, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream_lstm.compiler import COMPILING, cache, compiled, variables
from stream_lstm.core import elementary

pytestmark = pytest.mark.skipif(not COMPILING, reason="needs the compiler")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(variables.FOLDER, str(tmp_path))
    return tmp_path / "stream-lstm"


def fresh(function: Callable[..., Any] = elementary.sine_and_cosine) -> Any:
    """The function as a new process has it: nothing of it is compiled yet."""
    return compiled(function.function)  # type: ignore[attr-defined]


def hits(function: Any) -> int:
    return sum(function.dispatcher.stats.cache_hits.values())


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.pickle"))


def test_a_function_is_compiled_once_for_its_types(root: Path) -> None:
    first, second, third = fresh(), fresh(), fresh()
    assert first(0.1) == second(0.1) == elementary.sine_and_cosine(0.1)
    assert (hits(first), hits(second)) == (0, 1)
    third(1)  # an integer: other types
    assert hits(third) == 0
    assert len(files(root)) == 2


def test_another_process_at_another_level_has_files_of_its_own(root: Path) -> None:
    fresh()(0.1)
    (known,) = files(root)
    code = "from stream_lstm.core import elementary as e; e.sine_and_cosine(0.1)"
    for level in ("x86-64-v2", "x86-64-v2", "generic"):
        environment = os.environ | {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": ""}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert len(files(root)) == 3
    assert known in files(root)


def test_a_function_of_another_package_is_not_cached(root: Path) -> None:
    @compiled
    def twice(x: float) -> float:
        return 2.0 * x

    assert twice(2.0) == 4.0
    assert not root.exists()


def test_a_damaged_file_is_written_anew(root: Path) -> None:
    fresh()(0.1)
    (file,) = files(root)
    whole = file.read_bytes()
    for content in (b"", whole[:100], b"\x80\x04N.", b"x" * 100):
        file.write_bytes(content)
        again = fresh()
        assert again(0.1) == elementary.sine_and_cosine(0.1)
        assert hits(again) == 0
    assert hits_of_next() == 1


def hits_of_next() -> int:
    function = fresh()
    function(0.1)
    return hits(function)


def test_a_file_of_another_function_under_this_name_is_not_used(root: Path) -> None:
    fresh()(0.1)
    (file,) = files(root)
    fresh(elementary.exp)(0.1)
    (other,) = root.rglob("*.exp-*.pickle")
    shutil.copy(other, file)
    again = fresh()
    assert again(0.1) == elementary.sine_and_cosine(0.1)
    assert hits(again) == 0


def test_a_folder_that_others_can_write_to_is_neither_read_nor_written(root: Path) -> None:
    fresh()(0.1)
    (file,) = files(root)
    file.parent.chmod(0o770)
    assert hits_of_next() == 0
    fresh(elementary.exp)(0.1)
    assert files(root) == [file]
    file.parent.chmod(0o700)
    assert hits_of_next() == 1


def test_a_folder_that_cannot_be_written_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh()(0.1)

    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache.tempfile, "NamedTemporaryFile", refused)
    assert hits_of_next() == 1
    other = fresh(elementary.exp)
    assert other(0.0) == 1.0
    assert len(files(root)) == 1


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variables.FOLDER, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache.Path, "home", classmethod(homeless))
    assert cache.folder() is None
    function = fresh()
    assert function(0.1) == elementary.sine_and_cosine(0.1)
    assert hits_of_next() == 0


def test_the_folder_follows_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(variables.FOLDER, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder().parents[1] == tmp_path / "xdg"  # type: ignore[union-attr]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder().parents[1] == tmp_path / ".cache"  # type: ignore[union-attr]


def test_the_oldest_folders_of_other_releases_are_removed_and_nothing_else(root: Path) -> None:
    names = [f"{cache.PYTHON}-{n:016x}" for n in range(cache.RELEASES_KEPT + 2)]
    for age, name in enumerate([*names, "cpython-27-0123456789abcdef"]):
        (root / name).mkdir(parents=True)
        (root / name / "some.pickle").write_bytes(b"")
        os.utime(root / name, (1e9 - age, 1e9 - age))
    fresh()(0.1)
    assert [(root / name).exists() for name in names] == [True] * cache.RELEASES_KEPT + [False] * 2
    assert (root / "cpython-27-0123456789abcdef").exists()


def test_the_folder_is_private(root: Path) -> None:
    before = os.umask(0)
    try:
        fresh()(0.1)
    finally:
        os.umask(before)
    (file,) = files(root)
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_function_with_pointers_in_it_is_not_written(root: Path) -> None:
    class Library:
        has_dynamic_globals = True

    class Result:
        codegen = type("Codegen", (), {"magic_tuple": lambda self: ()})()
        library = Library()

    cache.MachineCodeCache(elementary.exp.function).save_overload("types", Result())
    assert not root.exists()


def test_it_can_be_disabled(root: Path) -> None:
    function = fresh()
    function.dispatcher._cache.disable()
    function(0.1)
    function.dispatcher._cache.flush()
    assert not root.exists()
    function.dispatcher._cache.enable()
    assert function.dispatcher._cache.cache_path == str(cache.folder())


@pytest.mark.parametrize("changed", ["core/elementary.py", "compiler/decorator.py", "core/trackers/scale.py"])
def test_a_change_of_any_source_gives_another_folder(changed: str, tmp_path: Path) -> None:
    package = tmp_path / "stream_lstm"
    shutil.copytree(cache.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "web", "models"))

    def found() -> str:
        code = "from stream_lstm.compiler import cache; print(cache.digest())"
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    assert found() == cache.digest()  # the path does not count
    with (package / changed).open("a") as file:
        file.write("# changed\n")
    assert found() != cache.digest()
