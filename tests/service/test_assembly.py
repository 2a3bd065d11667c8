"""Components built from the settings: model, decoder, options of the MQTT client."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_lstm.errors import ModelError, SettingsError
from stream_lstm.service.assembly import client_options, decoder, identity, load_model
from stream_lstm.service.settings import MqttSettings, Settings, Subscription


def test_without_a_path_the_default_model_is_loaded() -> None:
    model = load_model(None)
    assert identity(model).model == model.id


def test_a_missing_model_file_is_reported_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.safetensors: cannot be read"):
        load_model(tmp_path / "absent.safetensors")


def test_a_file_that_is_not_a_model_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("not a model")
    with pytest.raises(ModelError, match=r"text\.safetensors"):
        load_model(tmp_path / "text.safetensors")


def test_subscriptions_that_do_not_fit_the_model_are_rejected() -> None:
    model = load_model(Path(__file__).parents[2] / "examples" / "wolf_and_dog" / "model.safetensors")
    settings = Settings(subscribe=[Subscription(topic="a", fields=["only_one"])])
    with pytest.raises(SettingsError, match=r"subscribe\.fields"):
        decoder(settings, model)


def test_an_unreadable_password_file_is_reported_before_the_first_connection(tmp_path: Path) -> None:
    settings = Settings(mqtt=MqttSettings(password_file=tmp_path / "absent"))
    with pytest.raises(SettingsError, match=r"mqtt\.password_file"):
        client_options(settings)


def test_a_dropped_topic_that_a_subscription_reads_stays_an_event_topic() -> None:
    topic = Settings().mqtt.dropped_topic
    assert client_options(Settings()).dropped_topic == topic
    assert client_options(Settings(subscribe=[Subscription(topic="$SYS/#")])).dropped_topic == ""
