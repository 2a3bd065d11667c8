"""The tables of the settings file: what each setting means, its default, and what it may be."""

from __future__ import annotations

import base64
from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator

from stream_lstm.core.codec.decoder import Source
from stream_lstm.core.codec.topics import Pattern, Template
from stream_lstm.errors import SettingsError
from stream_lstm.service.allowed_hosts import is_loopback

SECRET_BYTES_MAX = 65_536
TOKEN_USER = "token"  # whose password the token is
PORTS = {"mqtt": 1883, "tcp": 1883, "mqtts": 8883, "ssl": 8883, "tls": 8883}  # by scheme
ENCRYPTED = ("mqtts", "ssl", "tls")
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]


class Section(BaseModel):
    """A table of the settings file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MqttSettings(Section):
    """The broker and how we meet it."""

    url: str = Field(
        "mqtt://127.0.0.1:1883", description="mqtt://host[:port] of the broker (MQTT 5); mqtts:// for TLS"
    )
    client_id: str = Field("stream-lstm", min_length=1, description="one service, one id: the session's name")
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = Field(None, description="read the password from here (Docker secrets)")
    ca_file: Path | None = Field(
        None, description="who signed the broker's certificate; else the system's CAs"
    )
    cert_file: Path | None = Field(None, description="our certificate, if the broker wants one")
    key_file: Path | None = Field(None, description="its key; left out: it stands in cert_file")
    key_password_file: Path | None = Field(None, description="read the key's password from here")
    server_name: str | None = Field(None, description="what the broker's certificate names; else the host")
    tls_version_min: Literal["1.2", "1.3"] = "1.2"
    keep_alive_seconds: int = Field(30, ge=1, le=65_535)
    connect_seconds_max: Seconds = Field(10.0, description="how long the broker may take to answer CONNECT")
    session_expiry_seconds: int = Field(
        604_800, ge=0, le=4_294_967_295, description="how long the broker keeps events while we are away"
    )
    receive_maximum: int = Field(65_534, ge=1, le=65_534, description="unacknowledged events in flight")
    packet_bytes_max: int = Field(1_048_576, ge=1_024, le=268_435_455)
    reconnect_seconds_min: Seconds = 1.0
    reconnect_seconds_max: Seconds = 30.0
    status_topic: str = Field(
        "stream_lstm/status", description="retained `online` or `offline`; empty: nobody is told, nor warned"
    )
    freeze_topic: str = Field(
        "stream_lstm/freeze", description="read: a retained JSON array of streams not to learn; empty: none"
    )
    dropped_topic: str = Field(
        "$SYS/broker/publish/messages/dropped",
        description="read: how many messages the broker has dropped, for any client (mosquitto tells it);"
        " empty: not asked",
    )

    @field_validator("url")
    @classmethod
    def _scheme(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in PORTS:
            raise ValueError("write mqtt://host:port, or mqtts://host:port for TLS")
        if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("write mqtt://host:port or mqtts://host:port and nothing more")
        if parts.username or parts.password:
            raise ValueError("put user and password into mqtt.username and mqtt.password_file")
        _ = parts.port  # raises ValueError beyond 65535
        return url

    @field_validator("status_topic", "freeze_topic")
    @classmethod
    def _plain_or_none(cls, topic: str) -> str:
        return _plain_topic(topic) if topic else topic

    @field_validator("dropped_topic")
    @classmethod
    def _read_or_none(cls, topic: str) -> str:
        return _whole_topic(topic) if topic else topic

    @model_validator(mode="after")
    def _topics_apart(self) -> MqttSettings:
        if self.dropped_topic and self.dropped_topic in (self.status_topic, self.freeze_topic):
            raise ValueError("dropped_topic is the topic of something else: status_topic or freeze_topic")
        return self

    @model_validator(mode="after")
    def _one_password(self) -> MqttSettings:
        if self.password and self.password_file:
            raise ValueError("set password or password_file, not both")
        if self.reconnect_seconds_min > self.reconnect_seconds_max:
            raise ValueError("reconnect_seconds_min is above reconnect_seconds_max")
        for name in ("ca_file", "cert_file", "key_file", "key_password_file", "server_name"):
            if getattr(self, name) and not self.encrypted:
                raise ValueError(f"{name} is set, but url does not ask for TLS: write mqtts://")
        if (self.key_file or self.key_password_file) and not self.cert_file:
            raise ValueError("a key is set without cert_file")
        return self

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS's."""
        return urlsplit(self.url).scheme in ENCRYPTED

    @property
    def host(self) -> str:
        """The broker's host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port."""
        parts = urlsplit(self.url)
        return parts.port or PORTS[parts.scheme]

    def secret(self) -> bytes | None:
        """The password, wherever it stands.

        Raises:
            SettingsError: the file cannot be read.
        """
        return _secret(self.password, self.password_file, "mqtt.password_file")


class Subscription(Section):
    """Which topics are read, what of their payloads, and what the streams are called."""

    topic: str = Field(description="MQTT filter; wildcards may have names: sensors/{device}/telemetry")
    qos: Literal[0, 1, 2] = 1
    stream: str = Field("{topic}", description="name of the streams, of {topic}, {names} and {payload.field}")
    fields: list[str] = Field([], description="numbers to read; empty takes every number at the top level")
    time: list[str] = Field(["time", "timestamp", "ts"], description="fields that may hold the event's time")

    @model_validator(mode="after")
    def _compiles(self) -> Subscription:
        self.source()
        return self

    def source(self) -> Source:
        """This subscription for the decoder."""
        pattern = Pattern(self.topic)
        return Source(pattern, Template(self.stream, pattern.names), tuple(self.fields), tuple(self.time))


class PublishSettings(Section):
    """Where predictions go."""

    topic: str = "predictions/{stream}"
    qos: Literal[0, 1] = 0
    retain: bool = False
    rejected_topic: str = Field("stream_lstm/rejected", description="rejected messages; empty: nowhere")
    alert_topic: str = Field("", description="predictions that begin an incident go here, too; with {stream}")
    stale_topic: str = Field("stream_lstm/stale", description="who falls silent, and is back; empty: nowhere")
    details: bool = Field(False, description="add how far each stream's predictions can be relied on")
    forecast: bool = Field(False, description="add what is expected further ahead")

    @field_validator("topic", "alert_topic")
    @classmethod
    def _template(cls, topic: str, info: ValidationInfo) -> str:
        if not topic and info.field_name == "alert_topic":
            return topic
        if topic.count("{stream}") != 1 or set("{}") & set(topic.replace("{stream}", "")):
            raise ValueError("must hold {stream} once, and no other braces")
        _plain_topic(topic)
        if not topic.partition("{stream}")[0]:
            raise ValueError("must begin with text, so that predictions are never mistaken for events")
        return topic

    @field_validator("rejected_topic", "stale_topic")
    @classmethod
    def _plain(cls, topic: str) -> str:
        return _plain_topic(topic) if topic else topic


class TimeSettings(Section):
    """What to make of events that are out of order."""

    late_seconds_max: float | None = Field(
        None, ge=0, description="events older than this, beside the newest of their stream, are rejected"
    )
    repeated: Literal["accept", "reject"] = Field(
        "accept", description="a second event of a stream with the same time"
    )


class FreezeSettings(Section):
    """Streams that are not to learn: always, or by the clock (UTC)."""

    streams: str = Field(description="filter on stream names, as of topics: plant/line2/#")
    begin: time | None = Field(None, description="HH:MM; none: always")
    end: time | None = Field(None, description="HH:MM; before begin: of the next day")
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        [], description="on which it begins; empty: on all"
    )

    @model_validator(mode="after")
    def _whole(self) -> FreezeSettings:
        if (self.begin is None) != (self.end is None):
            raise ValueError("set begin and end, or neither")
        if any(clock is not None and clock.tzinfo is not None for clock in (self.begin, self.end)):
            raise ValueError("begin and end are in UTC, and name no zone")
        Pattern(self.streams)
        return self


class ModelSettings(Section):
    """What predicts."""

    path: Path | None = Field(None, description="a .safetensors model; none: the default model inside")
    interval: float = Field(0.9, ge=0.5, le=0.995, description="share of values inside their interval")


class StateSettings(Section):
    """Where memory lives on disk."""

    path: Path = Field(Path("stream_lstm.db"), description="SQLite file: journal and checkpoint")
    fsync: bool = Field(True, description="false spares SD cards: safe against kill -9, not power loss")
    checkpoint_seconds: Seconds = Field(30.0, description="how often changed memories are written")
    checkpoint_rows_max: int = Field(512, ge=1, le=100_000, description="rows written between two commits")
    history_seconds: float = Field(0.0, ge=0, description="keep the journal this long beyond recovery's need")
    history_bytes_max: int = Field(1_073_741_824, ge=0, description="and at most this much of it")


class HttpSettings(Section):
    """The live page and its API, metrics, health."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = Field(8080, description="0: any free port")
    token: SecretStr | None = Field(
        None, description="asked for as `Authorization: Bearer …`, but for health"
    )
    token_file: Path | None = Field(None, description="read the token from here")
    username: str | None = Field(None, description="asked for with a password (basic), besides or instead")
    password: SecretStr | None = None
    password_file: Path | None = Field(None, description="read the password from here")
    cert_file: Path | None = Field(None, description="serve HTTPS with this certificate")
    key_file: Path | None = Field(None, description="its key; left out: it stands in cert_file")
    names: list[str] = Field(
        [], description="host names it may be asked for by, besides addresses and localhost"
    )
    page: bool = Field(True, description="the live page, and the API behind it")
    recent_events_max: int = Field(
        262_144, ge=0, le=100_000_000, description="events kept for its charts, of all streams together"
    )
    viewers_max: int = Field(64, ge=1, le=10_000, description="who may look at once, live")

    @model_validator(mode="after")
    def _whole(self) -> HttpSettings:
        for name in ("token", "password"):
            given: SecretStr | None = getattr(self, name)
            if given is not None and not given.get_secret_value():
                raise ValueError(f"{name} is empty: nobody would be asked; leave it out if that is meant")
            if given and getattr(self, f"{name}_file"):
                raise ValueError(f"set {name} or {name}_file, not both")
        if bool(self.username) != bool(self.password or self.password_file):
            raise ValueError("username and password go together")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file is set without cert_file")
        return self

    @property
    def events_kept(self) -> int:
        """How many events are kept to be looked at."""
        return self.recent_events_max if self.enabled and self.page else 0

    @property
    def guarded(self) -> bool:
        """Whether somebody must say who they are."""
        return bool(self.token or self.token_file or self.username)

    @property
    def names_matter(self) -> bool:
        """Whether it must be asked for by a name that is ours, see `stream_lstm.service.allowed_hosts`."""
        return not self.guarded and (bool(self.names) or is_loopback(self.host))

    def credentials(self) -> list[str]:
        """What the header `Authorization` may say; empty: anything.

        Raises:
            SettingsError: a file cannot be read, or is empty.
        """
        out = []
        if token := _secret(self.token, self.token_file, "http.token_file"):
            try:
                out.append(f"Bearer {token.decode()}")
            except UnicodeDecodeError:
                raise SettingsError("http.token_file", f"{self.token_file} is not text in UTF-8") from None
            out.append(_basic(TOKEN_USER, token))  # browsers can only be asked for name and password
        if password := _secret(self.password, self.password_file, "http.password_file"):
            out.append(_basic(str(self.username), password))
        return out


class LogSettings(Section):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Limits(Section):
    """What a bad sensor, a burst or a slow disk may cost."""

    streams_max: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="in memory; the longest silent of more wait on disk",
    )
    new_streams_per_second: float = Field(
        1_000.0, gt=0, description="streams never met before; a minute's worth may come at once"
    )
    stream_ttl_seconds: float = Field(
        0.0, ge=0, description="streams silent for longer are forgotten; 0: never"
    )
    payload_bytes_max: int = Field(65_536, ge=16, le=16_777_216)
    key_bytes_max: int = Field(512, ge=16, le=4_096)
    batch_events_max: int = Field(4_096, ge=1, le=65_536, description="events committed together")
    inbox_messages_max: int = Field(65_536, ge=1, le=1_048_576, description="received and not yet applied")
    inbox_bytes_max: int = Field(67_108_864, ge=65_536)
    shutdown_seconds_max: Seconds = 10.0


def _basic(username: str, password: bytes) -> str:
    return f"Basic {base64.b64encode(f'{username}:'.encode() + password).decode()}"


def _secret(value: SecretStr | None, file: Path | None, key: str) -> bytes | None:
    """A secret, wherever it stands; a line's end behind it does not belong to it."""
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


def _plain_topic(topic: str) -> str:
    if topic.startswith("$"):
        raise ValueError("a topic that we publish to holds no +, # or NUL and does not begin with $")
    return _whole_topic(topic)


def _whole_topic(topic: str) -> str:
    if not topic or len(topic.encode()) > 65_535:
        raise ValueError("a topic has 1 to 65,535 bytes")
    if any(character in topic for character in "+#\0"):
        raise ValueError("one topic is meant, which holds no +, # or NUL")
    return topic
