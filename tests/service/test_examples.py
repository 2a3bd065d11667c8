"""The examples as their documentation describes them, with a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.wolf_and_dog.send import walk
from stream_lstm.core.model import file as model_file
from stream_lstm.service.settings import load
from tests.brokers import Mosquitto
from tests.service.running import Running

EXAMPLE = Path(__file__).parents[2] / "examples" / "wolf_and_dog"
SETTINGS = f"""[mqtt]
url = "mqtt://127.0.0.1:{{port}}"
client_id = "wolf-and-dog"
[[subscribe]]
topic = "animals/{{{{walk}}}}"
stream = "{{{{walk}}}}"
fields = ["forest", "farm", "picture", "noise"]
[publish]
topic = "guesses/{{{{stream}}}}"
[model]
path = "{EXAMPLE / "model.safetensors"}"
"""


async def test_a_clue_a_thousand_events_ago_distinguishes_wolf_and_dog(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto("max_queued_messages 0", "max_inflight_messages 0")
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)):
        answers = set()
        for seed in range(4):
            answer, prediction = await walk(broker.host, broker.port, f"walk{seed}", 1_000, seed)
            assert prediction["label"] == answer
            assert prediction["seq"] == 1_001
            assert prediction["probabilities"][answer] > 0.9
            answers.add(answer)
        assert answers == {"wolf", "dog"}


def test_settings_and_model_match_and_the_documentation_has_the_measured_figures() -> None:
    settings = load(EXAMPLE / "service.toml")
    made = model_file.from_bytes((EXAMPLE / "model.safetensors").read_bytes())
    assert settings.subscribe[0].fields == made.spec.features
    assert made.spec.labels == ["wolf", "dog"]
    found = json.loads((EXAMPLE / "accuracy.json").read_text())
    page = (EXAMPLE.parents[1] / "docs" / "wolf-and-dog.md").read_text("utf-8")
    for name in ("lstm", "rnn", "engine"):
        assert " | ".join(f"{share:.1%}".replace("%", " %") for share in found[name]) in page
    at = found["lags"].index(1_000)
    assert found["lstm"][at] == found["engine"][at] >= 0.99
    assert found["rnn"][at] == pytest.approx(0.5, abs=0.05)
