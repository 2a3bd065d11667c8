"""Recordings for backtests: columns and times of CSV and Parquet files, and errors that name the fault."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from stream_lstm.backtest.files import read
from stream_lstm.errors import SettingsError


def written(folder: Path, text: str, name: str = "pump.csv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_a_file_with_one_column_of_values_is_one_stream_named_after_the_file(tmp_path: Path) -> None:
    (series,) = read(
        written(tmp_path, "timestamp,value\n2024-01-01 00:00:00,1\n2024-01-01 00:01:00,2.5\n60,3\n")
    )
    assert series.name == "pump"
    assert series.times.tolist() == [1_704_067_200.0, 1_704_067_260.0, 60.0]
    assert series.values.tolist() == [1.0, 2.5, 3.0]


def test_a_header_is_optional(tmp_path: Path) -> None:
    first, second = read(written(tmp_path, "0,1,5\n60,2,6\n120,3,7\n"))
    assert (first.name, second.name) == ("pump:value", "pump:value2")
    assert second.values.tolist() == [5.0, 6.0, 7.0]


def test_each_numeric_column_is_a_stream_without_its_empty_cells(tmp_path: Path) -> None:
    text = "id,ts,t,p\na,0,1,\nb,60,2,5\nc,120,3,6\nd,180,nan,7\n"
    first, second = read(written(tmp_path, text), time="ts")
    assert (first.name, first.values.tolist()) == ("pump:t", [1.0, 2.0, 3.0])
    assert (second.name, second.times.tolist()) == ("pump:p", [60.0, 120.0, 180.0])
    (only,) = read(written(tmp_path, text), time="ts", values=["p"])
    assert only.name == "pump"


@pytest.mark.parametrize(
    ("text", "words", "options"),
    [
        ("", "is empty", {}),
        ("t,v\n0,1\n60\n", "line 3 has 1 columns, expected 2", {}),
        ("t,v,v\n0,1,2\n", "has two columns of one name", {}),
        ("t,v\n0,1\n60,2\n", "has 2 values; at least 3", {}),
        ("t,v\n0,a\n60,b\n120,c\n", "row 1 holds .a.", {}),
        ("t,v\nyesterday,1\n60,2\n120,3\n", "row 1: 'yesterday' is not a time", {}),
        ("t,v\n0,1\n60,2\n120,3\n", "has no column 'x'; there are t, v", {"time": "x"}),
        ("t,v\n0,1\n60,2\n120,3\n", "has no column 'x'", {"values": ["x"]}),
        ("t,v,w\n0,1,a\n60,2,b\n120,3,c\n", "'w' is not numeric", {"values": ["w"]}),
    ],
)
def test_an_unreadable_file_is_rejected_with_the_reason(
    tmp_path: Path, text: str, words: str, options: dict[str, object]
) -> None:
    with pytest.raises(SettingsError, match=words):
        read(written(tmp_path, text), **options)  # type: ignore[arg-type]


def test_a_binary_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        read(path)


def test_parquet_is_read_with_its_own_times(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    moments = [datetime.fromtimestamp(1.7e9 + 60 * n, UTC) for n in range(5)]
    columns = {"ts": moments, "t": np.arange(5.0), "name": list("abcde"), "p": [1.0, None, 3.0, 4.0, 5.0]}
    parquet.write_table(arrow.table(columns), tmp_path / "plant.parquet")
    first, second = read(tmp_path / "plant.parquet")
    assert (first.name, second.name) == ("plant:t", "plant:p")
    assert first.times.tolist() == [1.7e9 + 60 * n for n in range(5)]
    assert second.values.tolist() == [1.0, 3.0, 4.0, 5.0]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(SettingsError, match="cannot be read"):
        read(tmp_path / "bad.parquet")
    parquet.write_table(arrow.table({}), tmp_path / "none.parquet")
    with pytest.raises(SettingsError, match="has no columns"):
        read(tmp_path / "none.parquet")


def test_without_pyarrow_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError, match=r"pip install 'stream-lstm\[parquet\]'"):
        read(tmp_path / "plant.parquet")
