"""`inspect` on state files of every kind of model: search, sort order, text and JSON."""

from __future__ import annotations

import gzip
import json
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from stream_lstm.cli.inspect import InspectOptions, inspect
from stream_lstm.core.model import file as model_file
from stream_lstm.core.model.file import LstmModel
from stream_lstm.errors import StateMismatch
from stream_lstm.events import Batch
from stream_lstm.service.assembly import identity
from stream_lstm.store.checkpoint import StoredRecord
from stream_lstm.store.database import Database
from tests.cli.emulated import Terminal
from tests.core.models import KINDS, description, engine, random_model, tensors
from tests.store.entries import alter, entry

NAMES = ["x/steady", "x/Wild", "y/\x1b[2Jred", "z/young", "z/new"]


def written(path: Path, model: LstmModel, *, seen: float = 1e9) -> Path:
    """A state file: the last stream has no checkpoint, the one before it a single event."""
    running, rng = engine(model, 4), np.random.default_rng(1)
    wide = len(model.spec.features)
    for n in range(150):
        rows = np.array([1, 2, 3] if n < 149 else [1, 2, 3, 4])
        values = rng.normal(20, 1, (len(rows), wide)) * np.array([1.0, 50.0, 5.0, 1.0])[: len(rows), None]
        running.apply(Batch.timed(rows, np.full(len(rows), 1e9 + n), values))
    records = running.memories.records(np.array([1, 2, 3, 4]))
    with closing(Database.open(path, identity(model))) as database:
        database.commit(
            entry(1, new_streams=[(n + 1, name) for n, name in enumerate(NAMES)], values=np.zeros((3, wide)))
        )
        database.checkpoint(
            [StoredRecord(n + 1, 1, seen + n, bytes(record)) for n, record in enumerate(records)]
        )
    return path


def listed(capsys: pytest.CaptureFixture[str], path: Path, **options: object) -> list[str]:
    inspect(path, InspectOptions(as_json=True, **options))  # type: ignore[arg-type]
    return [json.loads(line)["stream"] for line in capsys.readouterr().out.splitlines()]


def test_streams_are_searched_and_sorted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "s.db", random_model())
    assert listed(capsys, path) == NAMES
    assert listed(capsys, path, limit=2) == NAMES[:2]
    assert listed(capsys, path, search="WILD") == NAMES[1:2]
    assert listed(capsys, path, search="z/", sort="name") == ["z/new", "z/young"]
    assert listed(capsys, path, search="absent") == []
    assert listed(capsys, path, sort="seen") == [*NAMES[3::-1], NAMES[4]]  # the last one seen first
    assert listed(capsys, path, sort="events")[-2:] == ["z/young", "z/new"]
    assert set(listed(capsys, path, sort="covered")[-2:]) == {"z/young", "z/new"}
    inspect(path, InspectOptions(as_json=True, sort="error"))
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ratios = [stream["error_ratio"][0] for stream in found]
    assert ratios[3:] == [None, None]
    assert ratios[:3] == sorted(ratios[:3], reverse=True)
    inspect(path, InspectOptions(search="z/", limit=1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("; 2 match")
    assert lines[-1] == "… and 1 more (--limit)"


@pytest.mark.parametrize("kind", KINDS)
def test_state_files_of_every_kind_of_model_are_shown(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = description(**KINDS[kind])
    content = model_file.to_bytes(of, tensors(of))
    (tmp_path / "m.safetensors").write_bytes(content)
    path = written(tmp_path / "s.db", model_file.from_bytes(content), seen=time.time() - 60.0)
    inspect(path, InspectOptions(model=tmp_path / "m.safetensors"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(NAMES)
    assert "y/\\x1b[2Jred" in lines[4]
    for name in NAMES:
        for as_json in (False, True):
            options = InspectOptions(
                stream=name, as_json=as_json, model=tmp_path / "m.safetensors", largest=True
            )
            inspect(path, options)
            shown = capsys.readouterr().out
            assert "\x1b" not in shown
            assert as_json == shown.startswith("{")
            assert "NaN" not in shown
    inspect(path, InspectOptions(stream=NAMES[0], model=tmp_path / "m.safetensors"))
    shown = capsys.readouterr().out
    assert shown.count("units; LTM") == of.layers
    if len(of.features) > 1:
        assert [line.split()[0] for line in shown.splitlines() if line[:2] in ("a ", "b ")][:2] == ["a", "b"]


def test_features_of_an_unknown_model_are_numbered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "s.db", random_model(**KINDS["pair"]))
    for model in (None, tmp_path / "none.safetensors"):
        inspect(path, InspectOptions(stream=NAMES[0], model=model))
        shown = capsys.readouterr().out
        assert "feature 0 " in shown
        assert "target 1 " in shown


def test_the_output_fits_the_terminal(tmp_path: Path) -> None:
    path = written(tmp_path / "s.db", random_model())
    for arguments in ([], ["--stream", NAMES[1]]):
        for columns in (40, 80):
            with Terminal(["inspect", str(path), *arguments], columns=columns, lines=40) as terminal:
                assert terminal.wait() == 0
                lines = [line for line in terminal.screen.text if "random:" not in line]
                assert terminal.screen.coloured
                assert any("Wild" in line for line in lines)
            with Terminal(
                ["inspect", str(path), *arguments], columns=columns, lines=40, NO_COLOR="1"
            ) as plain:
                assert plain.wait() == 0
                assert plain.screen.text == terminal.screen.text
                assert not plain.screen.coloured


DATA = Path(__file__).resolve().parents[1] / "store" / "data"


def test_a_state_file_of_version_0_1_is_shown_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.db"
    content = gzip.decompress((DATA / "numpy_engine.db.gz").read_bytes())
    path.write_bytes(content)
    assert listed(capsys, path) == [f"machine/{n}:temperature" for n in range(4)]
    inspect(path, InspectOptions(as_json=True, stream="machine/1:temperature"))
    found = json.loads(capsys.readouterr().out)
    assert (found["events"], found["warm"], len(found["ltm"][0])) == (400, True, 64)
    assert found["lowest"][0] < found["mean"][0] < found["highest"][0]
    assert path.read_bytes() == content


def test_records_of_another_release_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "s.db", random_model())
    alter(path, "UPDATE meta SET value = 'features=1 fields=new' WHERE name = 'row'")
    with pytest.raises(StateMismatch, match="another release"):
        inspect(path, InspectOptions())
