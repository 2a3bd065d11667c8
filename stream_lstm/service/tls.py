"""TLS: contexts made of the operator's files, for the broker's side and for our own HTTP.

Defaults are those of `ssl.create_default_context` (https://docs.python.org/3/library/ssl.html): the peer's
certificate and name are checked, TLS 1.2 is the least.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from stream_lstm.errors import SettingsError

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def to_broker(
    *, ca: Path | None, certificate: Path | None, key: Path | None, password: Path | None, least: str
) -> ssl.SSLContext:
    """A context that checks the broker, and shows it our certificate if there is one.

    Args:
        ca: who may have signed the broker's certificate; None: whom the system trusts.
        password: of the key, in a file.
        least: version, one of `VERSIONS`.

    Raises:
        SettingsError: a file cannot be read, or does not hold what it should.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError) as error:
        raise _wrong("mqtt.ca_file", ca, "a CA's certificates in PEM", error) from None
    context.minimum_version = VERSIONS[least]
    # Python 3.13 began to refuse CAs without a key usage; made as mosquitto-tls(7) says, they have none.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if certificate:
        _load(context, "mqtt", certificate, key, password)
    return context


def for_http(*, certificate: Path, key: Path | None) -> ssl.SSLContext:
    """A context to serve HTTPS with.

    Raises:
        SettingsError: a file cannot be read, or does not hold what it should.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, "http", certificate, key, None)
    return context


def _load(
    context: ssl.SSLContext, section: str, certificate: Path, key: Path | None, password: Path | None
) -> None:
    try:
        secret = (
            password.read_bytes().strip() if password else b""
        )  # without one it must not ask the terminal
        context.load_cert_chain(certificate, key, secret)
    except (OSError, ssl.SSLError, ValueError) as error:
        where = f"{section}.cert_file" + (f" and {section}.key_file" if key else "")
        files = f"{certificate} and {key}" if key else str(certificate)
        raise _wrong(where, files, "a certificate and the key to it in PEM", error) from None


def _wrong(setting: str, files: Path | str | None, expected: str, error: Exception) -> SettingsError:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return SettingsError(setting, f"{files} cannot be read: {error.strerror}")
    return SettingsError(setting, f"{files} does not hold {expected} ({_reason(error)})")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
