"""Address and credentials of a running service, from its settings or from `--url`."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from stream_lstm.cli.healthcheck import LOOPBACK
from stream_lstm.errors import SettingsError
from stream_lstm.service.settings import HttpSettings

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.S)
PORTS = {"http": 80, "https": 443}


class ServiceAddress(NamedTuple):
    """Address of a service's HTTP API.

    Attributes:
        context: for TLS; None: plain HTTP.
        authorization: value of the Authorization header; None: the header is not sent.
        hint: advice to add when the service denies access.
    """

    host: str
    port: int
    context: ssl.SSLContext | None
    authorization: SecretStr | None
    hint: str

    @property
    def url(self) -> str:
        """The address as a URL, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.context else 'http'}://{host}:{self.port}"


def from_settings(http: HttpSettings) -> ServiceAddress:
    """Address, on this machine, of the service that runs with these settings.

    Raises:
        SettingsError: the service has no API, its port is not known, or a file cannot be read.
    """
    for name, served in (("enabled", http.enabled), ("page", http.page)):
        if not served:
            raise SettingsError(f"http.{name}", "is false: the service has no API to query")
    if not http.port:
        raise SettingsError("http.port", "is 0, a port chosen at the start; give the address with --url")
    return ServiceAddress(
        host=LOOPBACK.get(http.host, http.host),
        port=http.port,
        context=_trust_only(http.cert_file) if http.cert_file else None,
        authorization=_authorization(http, "http.token_file"),
        hint="the service runs with other settings: check http.token_file and http.password_file",
    )


def _trust_only(certificate: Path) -> ssl.SSLContext:
    """Trust the service's own certificate and no other; the host name is not checked.

    The certificate names the host as other machines know it, not the loopback address. Only the first
    certificate of the file is trusted: its issuer may have signed others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        found = CERTIFICATE.search(certificate.read_text("ascii", "replace"))
        if not found:
            raise SettingsError("http.cert_file", f"{certificate} holds no certificate in PEM")
        context.load_verify_locations(cadata=found[0])
    except (OSError, ValueError) as error:
        problem = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise SettingsError("http.cert_file", f"{certificate} cannot be used: {problem}") from None
    return context


def from_url(url: str, token_file: Path | None) -> ServiceAddress:
    """Address given by a URL; a certificate must be trusted by this machine.

    Raises:
        SettingsError: the URL is not valid, or the token cannot be read.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise SettingsError("--url", f"is not a valid address: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            "--url", "must not hold a user or a password; write a token to a file: --token-file"
        )
    if parts.scheme not in PORTS or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise SettingsError("--url", f"{url!r}: write http://host:port or https://host:port and nothing more")
    try:
        token = _authorization(HttpSettings(token_file=token_file), "--token-file")
    except SettingsError as error:
        raise SettingsError("--token-file", error.problem) from None
    return ServiceAddress(
        host=host,
        port=PORTS[parts.scheme] if port is None else port,
        context=ssl.create_default_context() if parts.scheme == "https" else None,
        authorization=token,
        hint="check --token-file" if token_file else "give its token with --token-file",
    )


def _authorization(http: HttpSettings, key: str) -> SecretStr | None:
    """The first accepted Authorization value, fit for a header; None where the service requires none."""
    try:
        accepted = http.credentials()[:1]
    except UnicodeDecodeError:
        accepted = ["\n"]
    if not all(text.isprintable() for text in accepted):
        raise SettingsError(key, "holds more than one line, or bytes that are not text")
    return SecretStr(accepted[0]) if accepted else None
