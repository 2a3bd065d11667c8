"""Specifications of models: the rules between their parts."""

from __future__ import annotations

from typing import Any

import pytest

from stream_lstm.core.model.spec import FEATURES_MAX
from tests.core.models import FIXED, KINDS, description

BROKEN = [
    ({"version": 2}, "format version 2"),
    ({"name": "a b"}, "the name must be"),
    ({"name": ""}, "the name must be"),
    ({"features": [], "targets": []}, f"1 to {FEATURES_MAX} features"),
    ({"features": ["a", "a"], "targets": ["a", "a"]}, "features need distinct names"),
    ({"features": ["a", ""], "targets": ["a", ""]}, "features need distinct names"),
    ({"inputs": []}, "needs inputs"),
    ({"inputs": ["value", "value"]}, "each once"),
    ({"inputs": ["moon"]}, "there are value, difference, day"),
    ({"layers": 0}, "1 to 16 layers"),
    ({"units": 0}, "1 to 4096 units"),
    ({"horizon": []}, "horizon must ascend"),
    ({"horizon": [2]}, "horizon must ascend"),
    ({"horizon": [1, 3, 2]}, "horizon must ascend"),
    ({"horizon": [1, 1001]}, "horizon must ascend"),
    ({"horizon": [1, 2], "readout": "value"}, "only a step model"),
    ({"targets": ["other"]}, "targets must be features"),
    ({"targets": []}, "a step model needs"),
    ({"readout": "value", "targets": []}, "a value model needs targets"),
    ({"readout": "classes", "targets": [], "labels": ["one"]}, "two or more distinct labels"),
    ({"readout": "classes", "labels": ["a", "b"]}, "no targets"),
    ({**FIXED, "mean": [1.0]}, "fixed scaling needs mean"),
    ({**FIXED, "deviation": [1.0, 0.0]}, "deviation > 0"),
    ({**FIXED, "mean": [1.0, float("nan")]}, "fixed scaling needs mean"),
    ({**FIXED, "target_deviation": [1.0, -1.0]}, "target_deviation > 0"),
    ({**FIXED, "targets": ["a", "a"]}, "targets need distinct names"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_specification_that_keeps_the_rules_has_no_problem(kind: str) -> None:
    assert description(**KINDS[kind]).problems() == []


@pytest.mark.parametrize(("changes", "words"), BROKEN)
def test_a_broken_rule_is_named(changes: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in description(**changes).problems())


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs"),
    [("step", 5, 2), ("pair", 7, 4), ("far", 5, 6), ("value", 2, 1), ("fixed", 2, 2), ("classes", 2, 2)],
)
def test_widths_follow_from_features_targets_and_horizon(kind: str, inputs: int, outputs: int) -> None:
    spec = description(**KINDS[kind])
    assert (spec.inputs_width, spec.outputs) == (inputs, outputs)
