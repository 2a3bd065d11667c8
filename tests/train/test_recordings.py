"""Recorded streams for training: which are held out."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_lstm.errors import SettingsError
from stream_lstm.train import recordings
from tests.train.files import write_recordings


def test_every_fourth_recording_is_held_out(tmp_path: Path) -> None:
    write_recordings(tmp_path, "abcde")
    assert [each.name for each in recordings.load(tmp_path) if each.held_out] == ["d"]


def test_a_folder_without_recordings_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"holds no \.csv files"):
        recordings.load(tmp_path)
