"""Names of the cell's inputs."""

from __future__ import annotations

import pytest

from stream_lstm.core.model import input_names
from stream_lstm.core.model.input_names import INPUTS


@pytest.mark.parametrize("features", [["value"], ["a", "b"]])
def test_every_input_has_a_name(features: list[str]) -> None:
    for names in (list(INPUTS), ["day"], ["value", "age"]):
        assert len(input_names.columns(names, features)) == input_names.width(names, len(features))
    assert input_names.width(list(INPUTS), 2) == 11


def test_a_single_feature_needs_no_name() -> None:
    assert input_names.columns(["value", "age"], ["temperature"]) == ["value", "age of the stream"]
    assert input_names.columns(["value"], ["a", "b"]) == ["value of a", "value of b"]
