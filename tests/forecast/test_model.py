"""Model of the Python interface."""

from __future__ import annotations

from pathlib import Path

import pytest

import stream_lstm as sl
from stream_lstm.core.model import file as model_file
from stream_lstm.errors import ModelError
from stream_lstm.service.assembly import load_model
from tests.core.models import description, tensors


def test_the_default_model_is_the_services() -> None:
    found = sl.Model.default()
    assert (found.id, found.features, found.targets) == (load_model(None).id, ("value",), ("value",))
    assert (found.labels, found.horizon) == ((), (1, 2, 3, 6, 12, 24))
    assert sl.Forecaster().model.id == found.id


def test_a_model_is_read_from_a_file(tmp_path: Path) -> None:
    of = description(features=["a", "b"], targets=["a", "b"])
    (tmp_path / "pair.safetensors").write_bytes(model_file.to_bytes(of, tensors(of)))
    assert sl.Model.load(tmp_path / "pair.safetensors").features == ("a", "b")
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        sl.Model.load(str(tmp_path / "none.safetensors"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ModelError, match="text"):
        sl.Model.load(tmp_path / "text")


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="urk"):
        sl.urk  # noqa: B018
