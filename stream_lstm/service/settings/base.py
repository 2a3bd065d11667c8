"""Base class of the sections of the settings file, number types, and checks of topics and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from stream_lstm.errors import SettingsError

SECRET_BYTES_MAX = 65_536  # MQTT's longest password, 65,535 bytes (MQTT 5.0, 1.5.6), and a line feed
TOPIC_BYTES_MAX = 65_535  # the length of a string is a two-byte integer (MQTT 5.0, 1.5.4)
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]  # a year: more is a mistake in the unit


class Section(BaseModel):
    """A table of the settings file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_secret(value: SecretStr | None, file: Path | None, key: str) -> bytes | None:
    """Return a secret from its setting or its file, without the line end of the file.

    Args:
        value: the secret as set directly; takes precedence.
        file: the file that holds it.
        key: the setting that names the file, for errors.

    Raises:
        SettingsError: the file cannot be read, or is empty.
    """
    if value is not None:
        return value.get_secret_value().encode()
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            found = opened.read(SECRET_BYTES_MAX).removesuffix(b"\n").removesuffix(b"\r")
    except OSError as error:
        raise SettingsError(key, f"{file} cannot be read: {error.strerror}") from None
    if not found:
        raise SettingsError(key, f"{file} is empty")
    return found


def check_topic(topic: str) -> str:
    """Check that a setting names one topic, not a filter (MQTT 5.0, 4.7).

    Raises:
        ValueError: with the rule that the topic breaks.
    """
    if not topic or len(topic.encode()) > TOPIC_BYTES_MAX:
        raise ValueError("a topic has 1 to 65,535 bytes")
    if any(character in topic for character in "+#\0"):
        raise ValueError("must be one topic, which contains no +, # or NUL")
    return topic


def check_publish_topic(topic: str) -> str:
    """Check that a setting names one topic that a client may publish to.

    Raises:
        ValueError: with the rule that the topic breaks.
    """
    if topic.startswith("$"):
        raise ValueError("must not begin with $: such topics belong to the broker")
    return check_topic(topic)
