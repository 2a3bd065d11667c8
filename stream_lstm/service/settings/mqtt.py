"""Section `[mqtt]`: the connection to the broker."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from stream_lstm.service.settings.base import Seconds, Section, check_publish_topic, check_topic, read_secret

DEFAULT_PORTS = {"mqtt": 1883, "tcp": 1883, "mqtts": 8883, "ssl": 8883, "tls": 8883}  # by URL scheme
TLS_SCHEMES = ("mqtts", "ssl", "tls")


class MqttSettings(Section):
    """Connection to the MQTT 5 broker."""

    url: str = Field(
        "mqtt://127.0.0.1:1883",
        description="broker address, mqtt://host[:port] (MQTT 5); mqtts:// for TLS",
    )
    client_id: str | None = Field(
        None,
        min_length=1,
        description="client id, names the session; unset: stream-lstm- and a name from the state file",
    )
    username: str | None = Field(None, description="user name at the broker")
    password: SecretStr | None = Field(None, description="password at the broker")
    password_file: Path | None = Field(
        None, description="file with the password (Docker secrets), read for each connection"
    )
    ca_file: Path | None = Field(
        None, description="CA certificates (PEM) that verify the broker; unset: the system's CAs"
    )
    cert_file: Path | None = Field(None, description="client certificate (PEM), for brokers that require one")
    key_file: Path | None = Field(None, description="private key of cert_file; unset: it is in cert_file")
    key_password_file: Path | None = Field(None, description="file with the password of the private key")
    server_name: str | None = Field(
        None, description="host name expected in the broker's certificate; unset: the host of url"
    )
    tls_version_min: Literal["1.2", "1.3"] = Field("1.2", description="lowest accepted TLS version")
    # 0 would switch keep alive off, and a dead connection would go unnoticed; a two-byte integer (3.1.2.10).
    keep_alive_seconds: int = Field(30, ge=1, le=65_535, description="MQTT keep alive")
    connect_seconds_max: Seconds = Field(10.0, description="time limit of the broker's answer to CONNECT")
    # A four-byte integer, whose highest value means no expiry (3.1.2.11.2).
    session_expiry_seconds: int = Field(
        604_800,
        ge=0,
        le=4_294_967_295,
        description="how long the broker keeps the session and its events while the service is disconnected",
    )
    # mqtt5 does not send 65,535, the protocol's default; mosquitto then takes 20.
    receive_maximum: int = Field(
        65_534, ge=1, le=65_534, description="messages in flight that the service has not acknowledged"
    )
    # The longest remaining length that four bytes can encode (1.5.5).
    packet_bytes_max: int = Field(
        1_048_576, ge=1_024, le=268_435_455, description="largest packet accepted from the broker"
    )
    reconnect_seconds_min: Seconds = Field(
        1.0,
        description="upper bound of the first delay before a reconnect (exponential back-off, full jitter)",
    )
    reconnect_seconds_max: Seconds = Field(30.0, description="upper bound of every later delay")
    status_topic: str = Field(
        "stream_lstm/status",
        description="topic of the retained status: `online`, or `offline` (also as the will); empty: none",
    )
    freeze_topic: str = Field(
        "stream_lstm/freeze",
        description="topic read for a retained JSON array of stream filters to freeze; empty: none",
    )
    dropped_topic: str = Field(
        "$SYS/broker/publish/messages/dropped",
        description="topic read for the broker's count of dropped messages, over all clients (mosquitto);"
        " empty: none",
    )

    @field_validator("url")
    @classmethod
    def _valid_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError("must be mqtt://host:port, or mqtts://host:port for TLS")
        if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("must be mqtt://host:port or mqtts://host:port, without a path or a query")
        if parts.username or parts.password:
            raise ValueError("must not contain credentials: set mqtt.username and mqtt.password_file")
        _ = parts.port  # raises ValueError beyond 65535
        return url

    @field_validator("status_topic", "freeze_topic")
    @classmethod
    def _publishable_or_empty(cls, topic: str) -> str:
        return check_publish_topic(topic) if topic else topic

    @field_validator("dropped_topic")
    @classmethod
    def _topic_or_empty(cls, topic: str) -> str:
        return check_topic(topic) if topic else topic

    @model_validator(mode="after")
    def _topics_differ(self) -> MqttSettings:
        if self.dropped_topic and self.dropped_topic in (self.status_topic, self.freeze_topic):
            raise ValueError("dropped_topic is the same as status_topic or freeze_topic")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> MqttSettings:
        if self.password and self.password_file:
            raise ValueError("set password or password_file, not both")
        if self.reconnect_seconds_min > self.reconnect_seconds_max:
            raise ValueError("reconnect_seconds_min is above reconnect_seconds_max")
        for name in ("ca_file", "cert_file", "key_file", "key_password_file", "server_name"):
            if getattr(self, name) and not self.encrypted:
                raise ValueError(f"{name} is set, but url does not use TLS: write mqtts://")
        if (self.key_file or self.key_password_file) and not self.cert_file:
            raise ValueError("key_file or key_password_file is set without cert_file")
        return self

    @property
    def encrypted(self) -> bool:
        """True if the connection uses TLS."""
        return urlsplit(self.url).scheme in TLS_SCHEMES

    @property
    def host(self) -> str:
        """The broker's host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port."""
        parts = urlsplit(self.url)
        return parts.port or DEFAULT_PORTS[parts.scheme]

    def read_password(self) -> bytes | None:
        """The password, from `password` or `password_file`; None if neither is set.

        Raises:
            SettingsError: the file cannot be read, or is empty.
        """
        return read_secret(self.password, self.password_file, "mqtt.password_file")
