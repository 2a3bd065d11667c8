"""`Settings`, all sections together, and how they are loaded.

Sources: one TOML file, overridden by environment variables (`STREAM_LSTM__MQTT__URL` sets `mqtt.url`);
secrets also from files (`mqtt.password_file`). Unknown keys and variables are errors that suggest the nearest
setting.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stream_lstm.errors import SettingsError
from stream_lstm.service.settings.freeze import FreezeSettings
from stream_lstm.service.settings.http import HttpSettings
from stream_lstm.service.settings.limits import Limits
from stream_lstm.service.settings.log import LogSettings
from stream_lstm.service.settings.model import ModelSettings
from stream_lstm.service.settings.mqtt import MqttSettings
from stream_lstm.service.settings.publish import PublishSettings
from stream_lstm.service.settings.state import StateSettings
from stream_lstm.service.settings.subscribe import Subscription
from stream_lstm.service.settings.time import TimeSettings

PREFIX, SIMILAR_PREFIX = "STREAM_LSTM__", "STREAM_LSTM_"  # of our variables, and of likely misspellings
# An empty variable counts as unset (`env_ignore_empty`); for these, that would switch authentication off.
CREDENTIALS = ("HTTP__TOKEN", "HTTP__TOKEN_FILE", "HTTP__PASSWORD", "HTTP__PASSWORD_FILE", "HTTP__USERNAME")
SIMILARITY_MIN = 0.6  # of a suggestion; difflib's default


class Settings(BaseSettings):
    """All settings of the service."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )

    mqtt: MqttSettings = MqttSettings()
    subscribe: list[Subscription] = Field(
        [Subscription(topic="sensors/#")],
        min_length=1,
        description="subscriptions; the first that matches a topic applies",
    )
    publish: PublishSettings = PublishSettings()
    time: TimeSettings = TimeSettings()
    freeze: list[FreezeSettings] = Field([], description="streams excluded from learning")
    model: ModelSettings = ModelSettings()
    state: StateSettings = StateSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    limits: Limits = Limits()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment override the file, whose content is passed to the constructor."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _filters_differ(self) -> Settings:
        filters = [entry.source().pattern.filter for entry in self.subscribe]
        for wanted in filters:
            if filters.count(wanted) > 1:
                raise ValueError(f"two subscriptions to {wanted}: the second would never match")
        return self

    @model_validator(mode="after")
    def _no_loop(self) -> Settings:
        for name in ("topic", "alert_topic"):
            topic = getattr(self.publish, name)
            before, _, after = topic.partition("{stream}")
            for entry in self.subscribe:
                if topic and not after and entry.source().pattern.filter.startswith(before):
                    raise ValueError(
                        f"publish.{name} {topic!r} covers the events of {entry.topic!r}, which could not be "
                        "distinguished from the service's own predictions; choose another prefix"
                    )
        return self


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Load the settings.

    Args:
        path: the TOML file; None: defaults and environment only.
        environment: variables in which to look for misspelt names; default: those of the process.

    Returns:
        The settings, validated.

    Raises:
        SettingsError: with every key that is wrong, and what to do.
    """
    content = _read(path) if path else {}
    for name, value in (environment if environment is not None else os.environ).items():
        if name.startswith(PREFIX):
            _check_known(name)
            if not value and name.removeprefix(PREFIX) in CREDENTIALS:
                problem = "is empty, which would switch authentication off; unset it if that is intended"
                raise SettingsError(name, problem)
        elif name.startswith(SIMILAR_PREFIX):
            _check_not_misspelt(name)
    try:
        return Settings(**content)
    except ValidationError as error:
        wrong = list(_explained(error))
        raise SettingsError(
            wrong[0][0], "\n".join([wrong[0][1], *(f"{k}: {p}" for k, p in wrong[1:])])
        ) from None
    except ValueError as error:  # an environment variable that should be JSON and is not
        raise SettingsError("environment", str(error)) from None


def masked(settings: Settings) -> dict[str, Any]:
    """The effective settings as JSON values, with secrets replaced by asterisks."""
    return settings.model_dump(mode="json")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(str(path), f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also too deep, not UTF-8, a number of too many digits
        raise SettingsError(str(path), f"is not TOML: {error}") from None


def _names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted name of every setting and section."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        yield prefix + name
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _names(kind, f"{prefix}{name}.")
    if model is Settings:
        yield from _names(Subscription, "subscribe.")
        yield from _names(FreezeSettings, "freeze.")


def _check_known(variable: str) -> None:
    """Reject a variable with our prefix that matches no setting."""
    key = variable.removeprefix(PREFIX).lower().replace("__", ".")
    if key not in set(_names(Settings)):
        raise SettingsError(variable, f"matches no setting{_suggestion(key)}")


def _check_not_misspelt(variable: str) -> None:
    """Reject a variable that differs from a setting's only in underscores; others may share the prefix."""
    key = variable.removeprefix(SIMILAR_PREFIX).lower()
    for name in _names(Settings):
        if "." in name and key == name.replace(".", "_"):
            right = PREFIX + name.replace(".", "__").upper()
            raise SettingsError(variable, f"matches no setting; did you mean {right}?")


def _suggestion(key: str) -> str:
    near = difflib.get_close_matches(key, list(_names(Settings)), 1, SIMILARITY_MIN)
    return f"; did you mean {near[0]}?" if near else ""


def _explained(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Every invalid key, and its problem."""
    for detail in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in detail["loc"]]
        key = ".".join(path) or "settings"
        if detail["type"] == "extra_forbidden":
            plain = ".".join(part for part in path if not part.isdigit())
            yield key, f"is not a setting{_suggestion(plain)}"
        else:
            yield key, detail["msg"].removeprefix("Value error, ")
