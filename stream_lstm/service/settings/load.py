"""All settings: what they mean, their defaults, and where they come from.

One TOML file, overridden by environment variables (`STREAM_LSTM__MQTT__URL` for `mqtt.url`), secrets
also from files (`mqtt.password_file`). What is not known is refused, with a suggestion.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stream_lstm.errors import SettingsError
from stream_lstm.service.settings.sections import (
    FreezeSettings,
    HttpSettings,
    Limits,
    LogSettings,
    ModelSettings,
    MqttSettings,
    PublishSettings,
    StateSettings,
    Subscription,
    TimeSettings,
)

ENVIRONMENT, NEARLY = "STREAM_LSTM__", "STREAM_LSTM_"
GUARDS = ("HTTP__TOKEN", "HTTP__TOKEN_FILE", "HTTP__PASSWORD", "HTTP__PASSWORD_FILE", "HTTP__USERNAME")


class Settings(BaseSettings):
    """Everything that an operator can set."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENVIRONMENT, env_nested_delimiter="__", env_ignore_empty=True
    )

    mqtt: MqttSettings = MqttSettings()
    subscribe: list[Subscription] = Field(
        [Subscription(topic="sensors/#")], min_length=1, description="first match counts"
    )
    publish: PublishSettings = PublishSettings()
    time: TimeSettings = TimeSettings()
    freeze: list[FreezeSettings] = []
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
        """The environment overrides the file, whose content is given to the constructor."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _no_filter_twice(self) -> Settings:
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
                        f"publish.{name} {topic!r} covers the events of {entry.topic!r}, "
                        "which could not be told from our own predictions; choose another prefix"
                    )
        return self


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        path: the TOML file; None takes the defaults and the environment.
        environment: whose `STREAM_LSTM__…` names are checked; the process's by default.

    Raises:
        SettingsError: with every key that is wrong, and what to do.
    """
    content = _read(path) if path else {}
    for name, value in (environment if environment is not None else os.environ).items():
        if name.startswith(ENVIRONMENT):
            _known(name)
            if not value and name.removeprefix(ENVIRONMENT) in GUARDS:
                raise SettingsError(name, "is empty: nobody would be asked; leave it out if that is meant")
        elif name.startswith(NEARLY):
            _nearly(name)
    try:
        return Settings(**content)
    except ValidationError as error:
        wrong = list(_explained(error))
        raise SettingsError(
            wrong[0][0], "\n".join([wrong[0][1], *(f"{k}: {p}" for k, p in wrong[1:])])
        ) from None
    except ValueError as error:  # an environment variable that is not the JSON it should be
        raise SettingsError("environment", str(error)) from None


def masked(settings: Settings) -> dict[str, Any]:
    """The settings as they are in force, fit to be shown: secrets as stars."""
    return settings.model_dump(mode="json")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(str(path), f"cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), f"is not TOML: {error}") from None


def _names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting's dotted name."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        yield prefix + name
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _names(kind, f"{prefix}{name}.")
    if model is Settings:
        yield from _names(Subscription, "subscribe.")
        yield from _names(FreezeSettings, "freeze.")


def _known(variable: str) -> None:
    """Refuse an environment variable that sets nothing."""
    key = variable.removeprefix(ENVIRONMENT).lower().replace("__", ".")
    if key not in set(_names(Settings)):
        raise SettingsError(variable, f"sets no setting{_suggestion(key)}")


def _nearly(variable: str) -> None:
    """Refuse what is a setting but for an underscore; others' variables may begin like ours."""
    key = variable.removeprefix(NEARLY).lower()
    for name in _names(Settings):
        if "." in name and key == name.replace(".", "_"):
            right = ENVIRONMENT + name.replace(".", "__").upper()
            raise SettingsError(variable, f"sets no setting; did you mean {right}?")


def _suggestion(key: str) -> str:
    near = difflib.get_close_matches(key, list(_names(Settings)), 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _explained(error: ValidationError) -> Iterator[tuple[str, str]]:
    for detail in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in detail["loc"]]
        key = ".".join(path) or "settings"
        if detail["type"] == "extra_forbidden":
            plain = ".".join(part for part in path if not part.isdigit())
            yield key, f"is not a setting{_suggestion(plain)}"
        else:
            yield key, detail["msg"].removeprefix("Value error, ")
