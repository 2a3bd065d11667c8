"""Settings: the schema of one TOML file, overridden by environment variables."""

from stream_lstm.service.settings.freeze import FreezeSettings
from stream_lstm.service.settings.http import TOKEN_USER, HttpSettings
from stream_lstm.service.settings.limits import Limits
from stream_lstm.service.settings.load import Settings, load, masked
from stream_lstm.service.settings.log import LogSettings
from stream_lstm.service.settings.model import ModelSettings
from stream_lstm.service.settings.mqtt import MqttSettings
from stream_lstm.service.settings.publish import PublishSettings
from stream_lstm.service.settings.state import StateSettings
from stream_lstm.service.settings.subscribe import Subscription
from stream_lstm.service.settings.time import TimeSettings

__all__ = [
    "TOKEN_USER",
    "FreezeSettings",
    "HttpSettings",
    "Limits",
    "LogSettings",
    "ModelSettings",
    "MqttSettings",
    "PublishSettings",
    "Settings",
    "StateSettings",
    "Subscription",
    "TimeSettings",
    "load",
    "masked",
]
