"""TLS contexts for the connection to the broker and for the HTTP server.

Defaults are those of `ssl.create_default_context` (https://docs.python.org/3/library/ssl.html): the client
verifies the server's certificate and host name. The lowest version is TLS 1.2.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from stream_lstm.errors import SettingsError

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def client_context(
    *,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    key_password: Path | None,
    version_min: str,
) -> ssl.SSLContext:
    """Make the context of the connection to the broker.

    Args:
        ca: CA certificates that verify the broker; None: the system's.
        certificate: client certificate; None: none.
        key: private key of the certificate; None: it is in the certificate's file.
        key_password: file with the password of the private key.
        version_min: lowest TLS version, a key of `VERSIONS`.

    Raises:
        SettingsError: a file cannot be read, or does not hold what it should.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError) as error:
        raise _invalid("mqtt.ca_file", ca, "CA certificates in PEM", error) from None
    context.minimum_version = VERSIONS[version_min]
    # Python 3.13 began to refuse CAs without a key usage; CAs made as in mosquitto-tls(7) have none.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if certificate:
        _load(context, "mqtt", certificate, key, key_password)
    return context


def server_context(*, certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Make the context of the HTTPS server.

    Args:
        certificate: the server's certificate.
        key: its private key; None: it is in the certificate's file.

    Raises:
        SettingsError: a file cannot be read, or does not hold what it should.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, "http", certificate, key, None)
    return context


def _load(
    context: ssl.SSLContext, section: str, certificate: Path, key: Path | None, key_password: Path | None
) -> None:
    try:
        # Empty rather than None, with which OpenSSL would prompt for a password on the terminal.
        password = key_password.read_bytes().strip() if key_password else b""
        context.load_cert_chain(certificate, key, password)
    except (OSError, ssl.SSLError, ValueError) as error:
        settings = f"{section}.cert_file" + (f" and {section}.key_file" if key else "")
        files = f"{certificate} and {key}" if key else str(certificate)
        raise _invalid(settings, files, "a certificate and its private key in PEM", error) from None


def _invalid(setting: str, files: Path | str | None, expected: str, error: Exception) -> SettingsError:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return SettingsError(setting, f"{files} cannot be read: {error.strerror}")
    return SettingsError(setting, f"{files} does not contain {expected} ({_reason(error)})")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
