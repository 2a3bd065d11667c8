"""`stream-lstm compile`: machine code that a later start reads, wherever it lies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stream_lstm.cli import compile as compile_module
from stream_lstm.cli.compile import compile_engine
from stream_lstm.compiler import cache, level, variables
from stream_lstm.core.model import file as model_file
from stream_lstm.errors import SettingsError
from tests.core.models import description, tensors

# The smallest model: what is compiled is the same for every size.
TINY = model_file.to_bytes(
    description(units=1, inputs=["value"]), tensors(description(units=1, inputs=["value"]))
)


def compiled(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "tiny.safetensors").write_bytes(TINY)
    command = [sys.executable, "-m", "stream_lstm", "compile", "--model", "tiny.safetensors", *arguments]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("NUMBA_")}
    return subprocess.run(
        command, cwd=tmp_path, env=environment | variables, capture_output=True, text=True, check=False
    )


def test_machine_code_is_kept_and_read_by_the_next_start(tmp_path: Path) -> None:
    first = compiled(tmp_path, "--into", "share", "--json")
    found = json.loads(first.stdout)
    assert (found["level"], found["model"].split(":")[0]) == (level(), "random")
    files = list(Path(found["folder"]).glob("*.pickle"))
    assert found["folder"].startswith(str(tmp_path / "share" / "stream-lstm"))
    assert found["bytes"] == sum(file.stat().st_size for file in files)
    assert Path(found["folder"]).stat().st_mode & 0o777 == 0o755  # the service may run as another user
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}
    written = {file: file.stat().st_mtime_ns for file in files}
    again = compiled(tmp_path, "--into", "share")
    assert again.stdout.startswith(f"{found['model']} compiled for {level()} in ")
    assert f"{len(files)} files" in again.stdout
    assert {file: file.stat().st_mtime_ns for file in files} == written


def test_an_unknown_level_and_a_missing_model_are_named(tmp_path: Path) -> None:
    unknown = compiled(tmp_path, "--level", "z80")
    assert (unknown.returncode, "z80" in unknown.stderr) == (2, True)
    missing = compiled(tmp_path, "--model", "none.safetensors")
    assert (missing.returncode, "none.safetensors" in missing.stderr) == (2, True)


def test_code_for_a_higher_level_than_the_cpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_module, "level", lambda: "x86-64-v2")
    with pytest.raises(SettingsError, match="this CPU has x86-64-v2"):
        compile_engine(None, for_level="x86-64-v3", into=None, as_json=False)


def test_what_came_with_the_installation_is_read_and_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = json.loads(compiled(tmp_path, "--into", "share", "--json").stdout)["folder"]
    code = (
        "import sys; from pathlib import Path; from stream_lstm.compiler import cache\n"
        "cache.shipped_folder = lambda: Path(sys.argv[1])\n"
        "from stream_lstm.cli.compile import compile_engine\n"
        "compile_engine(Path('tiny.safetensors'), for_level=None, into=None, as_json=True)"
    )
    own = tmp_path / "own"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, folder],
            cwd=tmp_path,
            env=os.environ | {variables.FOLDER: str(own)},
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout)
        if own.exists():
            shutil.rmtree(own)  # of the second round nothing may depend on the first
        assert (found["folder"], found["bytes"]) == (None, 0)


def test_where_nothing_can_be_kept_the_answer_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variables.LEVEL, level())  # which the command sets, is as before afterwards
    monkeypatch.setattr(cache, "folder", lambda: None)
    compile_engine(None, for_level=None, into=None, as_json=False)
    assert "nothing is kept" in capsys.readouterr().out
    monkeypatch.setattr(cache, "shipped_folder", lambda: tmp_path)
    compile_engine(None, for_level=None, into=None, as_json=False)
    assert f"came with the installation, in {tmp_path}" in capsys.readouterr().out
