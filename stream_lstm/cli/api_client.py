"""Asks a running service's API: where it is, who we are, and what its answer means.

Straight to it: no proxy, no redirect, so that a token goes to nobody else. A connection is kept from one
question to the next.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from pydantic import SecretStr

from stream_lstm.cli.healthcheck import ANYWHERE
from stream_lstm.cli.terminal import formatting
from stream_lstm.errors import SettingsError, StreamLstmError
from stream_lstm.service.settings import HttpSettings

SECONDS_MAX = 10.0
PROBLEM_MAX = 300  # characters that are shown of what the other side says is wrong
ANSWER_BYTES_MAX = 67_108_864
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.S)
PORTS = {"http": 80, "https": 443}
Shape = TypeVar("Shape")


class Unreachable(StreamLstmError):
    """The service does not answer, or not yet: trying again may help."""


class ApiRefused(StreamLstmError):
    """It answers, and trying again does not help until somebody changes something."""


class ServiceAddress(NamedTuple):
    """Where a service is asked.

    Attributes:
        context: for TLS; None without.
        authorization: what the header of this name says; None: nothing.
        hint: what to look at if that is not enough.
    """

    host: str
    port: int
    context: ssl.SSLContext | None
    authorization: SecretStr | None
    hint: str

    @property
    def url(self) -> str:
        """As people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.context else 'http'}://{host}:{self.port}"


def of_settings(http: HttpSettings) -> ServiceAddress:
    """Where the service of these settings listens, on this machine.

    Raises:
        SettingsError: it does not, or nobody knows where, or a file cannot be read.
    """
    for name, there in (("enabled", http.enabled), ("page", http.page)):
        if not there:
            raise SettingsError(f"http.{name}", "is false: there is nobody to ask")
    if not http.port:
        raise SettingsError("http.port", "is 0, so that nobody knows which it is; say where with --url")
    credentials = _credentials(http, "http.token_file")
    return ServiceAddress(
        host=ANYWHERE.get(http.host, http.host),
        port=http.port,
        context=_of_ours(http.cert_file) if http.cert_file else None,
        authorization=credentials,
        hint="these are not the settings it runs with: see http.token_file and http.password_file",
    )


def _of_ours(certificate: Path) -> ssl.SSLContext:
    """Believes who shows the certificate that we serve with; its names are those that others know us by.

    Not who has another one of whoever signed it: only the first one of the file counts, which is ours.
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


def of_url(url: str, token_file: Path | None) -> ServiceAddress:
    """Where a service of this address is asked; its certificate must be one that this machine trusts.

    Raises:
        SettingsError: it is no such address, or the token cannot be read.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise SettingsError("--url", f"is no address: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise SettingsError("--url", "holds a user or a password; write a token into a file: --token-file")
    if parts.scheme not in PORTS or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise SettingsError("--url", f"{url!r}: write http://host:port or https://host:port and nothing more")
    try:
        token = _credentials(HttpSettings(token_file=token_file), "--token-file")
    except SettingsError as error:
        raise SettingsError("--token-file", error.problem) from None
    return ServiceAddress(
        host=host,
        port=PORTS[parts.scheme] if port is None else port,
        context=ssl.create_default_context() if parts.scheme == "https" else None,
        authorization=token,
        hint="see --token-file" if token_file else "give its token with --token-file",
    )


def _credentials(http: HttpSettings, key: str) -> SecretStr | None:
    """The first of what may be said, fit for a header's line; None where nobody is asked."""
    try:
        allowed = http.credentials()[:1]
    except UnicodeDecodeError:
        allowed = ["\n"]
    if not all(text.isprintable() for text in allowed):
        raise SettingsError(key, "holds more than one line, or what is no text")
    return SecretStr(allowed[0]) if allowed else None


class ApiClient:
    """Asks one service."""

    def __init__(self, place: ServiceAddress) -> None:
        self.place = place
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Hang up."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def ask(self, path: str, shape: type[Shape], **parameters: str | int) -> Shape:
        """What the service answers.

        Raises:
            Away: it does not, or not yet.
            Refused: it does not want to, or not in a way that we know.
            SettingsError: it does not take these parameters.
        """
        status, body = self._answer(path + ("?" + urlencode(parameters) if parameters else ""))
        if status != 200:
            raise self._refusal(status, body, path)
        try:
            return msgspec.json.decode(body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiRefused(
                f"{self.place.url} answers as no service of this version does: {error}"
            ) from None

    def _answer(self, target: str) -> tuple[int, bytes]:
        if self._connection:
            try:
                return self._exchange(self._connection, target)
            except (OSError, http.client.HTTPException):
                self.close()  # a connection that was kept may have ended meanwhile: once more, with a new one
        place = self.place
        try:
            self._connection = (
                http.client.HTTPSConnection(
                    place.host, place.port, timeout=SECONDS_MAX, context=place.context
                )
                if place.context
                else http.client.HTTPConnection(place.host, place.port, timeout=SECONDS_MAX)
            )
            return self._exchange(self._connection, target)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise ApiRefused(f"{place.url} is not believed to be it: {error.verify_message}") from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"{place.url} does not answer: {_reason(error)}") from None

    def _exchange(self, connection: http.client.HTTPConnection, target: str) -> tuple[int, bytes]:
        who = self.place.authorization
        headers = {"Authorization": who.get_secret_value().encode()} if who else {}
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES_MAX)
        if not answer.isclosed():
            self.close()
        return answer.status, body

    def _refusal(self, status: int, body: bytes, path: str) -> StreamLstmError:
        """An answer that is none, by whose fault that is."""
        try:
            told: dict[str, Any] = json.loads(body)
            problem, parameter = str(told["error"]), told.get("parameter")
        except (ValueError, KeyError, TypeError, AttributeError):
            problem, parameter = http.client.responses.get(status, "").lower(), None
        problem = formatting.safe(problem[:PROBLEM_MAX]).replace(formatting.MARK_OF_LEFT_TO_RIGHT, "")
        url = self.place.url
        if status in (401, 403):
            return ApiRefused(f"{url} does not let us in: {problem}; {self.place.hint}")
        if status == 400 and parameter:
            return SettingsError(f"--{parameter}", problem.removeprefix(f"{parameter}: "))
        if status == 404:
            return ApiRefused(f"{url} has no {path}: is http.page false there, or is it something else?")
        if status >= 500:
            return Unreachable(f"{url}: {problem}")
        return ApiRefused(f"{url} answers with status {status}: {problem}")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).lower()
