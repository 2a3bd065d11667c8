"""Section `[http]`: live page, API, metrics, health checks, and their authentication."""

from __future__ import annotations

import base64
from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from stream_lstm.errors import SettingsError
from stream_lstm.service.allowed_hosts import is_loopback
from stream_lstm.service.settings.base import Port, Section, read_secret

TOKEN_USER = "token"  # basic authentication: the user name whose password is the token


class HttpSettings(Section):
    """HTTP server: live page, API, metrics, health checks."""

    enabled: bool = Field(True, description="serve HTTP")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8080, description="port to listen on; 0: any free port")
    token: SecretStr | None = Field(
        None, description="token required as `Authorization: Bearer …`, except for health checks"
    )
    token_file: Path | None = Field(None, description="file with the token")
    username: str | None = Field(
        None, description="user name for basic authentication; in addition to a token, or alone"
    )
    password: SecretStr | None = Field(None, description="password of username")
    password_file: Path | None = Field(None, description="file with the password")
    cert_file: Path | None = Field(None, description="certificate (PEM) for HTTPS; unset: plain HTTP")
    key_file: Path | None = Field(None, description="private key of cert_file; unset: it is in cert_file")
    names: list[str] = Field(
        [], description="host names allowed in requests, in addition to addresses and localhost"
    )
    page: bool = Field(True, description="serve the live page and its API")
    # About 90 bytes an event: 100 million take 9 GB.
    recent_events_max: int = Field(
        262_144, ge=0, le=100_000_000, description="events kept for the page's charts, over all streams"
    )
    viewers_max: int = Field(64, ge=1, le=10_000, description="simultaneous viewers of the live feed")

    @model_validator(mode="after")
    def _consistent(self) -> HttpSettings:
        for name in ("token", "password"):
            given: SecretStr | None = getattr(self, name)
            if given is not None and not given.get_secret_value():
                raise ValueError(
                    f"{name} is empty, which would switch authentication off; remove it if that is intended"
                )
            if given and getattr(self, f"{name}_file"):
                raise ValueError(f"set {name} or {name}_file, not both")
        if bool(self.username) != bool(self.password or self.password_file):
            raise ValueError("username and password go together")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file is set without cert_file")
        return self

    @property
    def events_kept(self) -> int:
        """Number of events to keep for charts: 0 without a page."""
        return self.recent_events_max if self.enabled and self.page else 0

    @property
    def requires_credentials(self) -> bool:
        """True if a request needs a token or a password."""
        return bool(self.token or self.token_file or self.username)

    @property
    def checks_host(self) -> bool:
        """True if the header `Host` is checked, see `stream_lstm.service.allowed_hosts`."""
        return not self.requires_credentials and (bool(self.names) or is_loopback(self.host))

    def credentials(self) -> list[str]:
        """Accepted values of the header `Authorization`; empty: no authentication.

        Raises:
            SettingsError: a file cannot be read, or is empty.
        """
        accepted = []
        if token := read_secret(self.token, self.token_file, "http.token_file"):
            try:
                accepted.append(f"Bearer {token.decode()}")
            except UnicodeDecodeError:
                raise SettingsError("http.token_file", f"{self.token_file} is not text in UTF-8") from None
            accepted.append(_basic(TOKEN_USER, token))  # browsers offer only user name and password
        if password := read_secret(self.password, self.password_file, "http.password_file"):
            accepted.append(_basic(str(self.username), password))
        return accepted


def _basic(username: str, password: bytes) -> str:
    return f"Basic {base64.b64encode(f'{username}:'.encode() + password).decode()}"
