"""aiomqtt client made from this package's options, and its failures as `BrokerError`.

aiomqtt serves where no guarantee depends on it: the demo's sensors and viewer, and `replay` into a broker.
The service has an MQTT client of its own (`stream_lstm.service.mqtt`). Standard: MQTT 5.0, section 3.2.2
(CONNACK).
"""

from __future__ import annotations

import logging
import socket
import ssl
import sys
from typing import Any, Self

import aiomqtt

from stream_lstm.errors import BrokerError, BrokerRefused, SessionTaken, SettingsError
from stream_lstm.service.mqtt import ClientOptions, tls_errors

RECEIVE_MAXIMUM_DEFAULT = 65_535  # where CONNACK names none (3.2.2.3.3)
UNSPECIFIED_ERROR, SESSION_TAKEN_OVER, QOS_NOT_SUPPORTED = 0x80, 0x8E, 0x9B  # reason codes (2.4)
# Advice where no retry helps until a setting, here or at the broker, changes.
LASTING = {
    0x84: "it does not speak MQTT 5",
    0x86: "check mqtt.username and mqtt.password",
    0x87: "check mqtt.username, mqtt.password and the broker's access rules",
    0x8A: "the broker's operator has banned this client",
}
# aiomqtt and paho log what they also raise.
SILENT = logging.getLogger(f"{__name__}.silent")
SILENT.disabled = True


class Client(aiomqtt.Client):
    """Client of one connection; an async context manager, as in aiomqtt.

    Args:
        options: broker, client id, credentials and time limits.

    Attributes:
        receive_maximum: publications of QoS 1 that the broker accepts ahead of its PUBACKs.
        max_qos: of publications.

    Raises:
        SettingsError: a file of the credentials cannot be used.
    """

    def __init__(self, options: ClientOptions) -> None:
        given = options.credentials()
        super().__init__(
            options.host,
            options.port,
            username=given.username,
            password=None if given.password is None else _text(given.password),
            identifier=options.client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            timeout=options.connect_seconds_max,
            keepalive=options.keep_alive_seconds,
            max_inflight_messages=RECEIVE_MAXIMUM_DEFAULT,  # paho cannot follow the broker's; the caller does
            tls_context=_prepared(given.ssl, options.server_name),
            logger=SILENT,
        )
        self.pending_calls_threshold = sys.maxsize  # no warning about publications in flight
        self.receive_maximum = RECEIVE_MAXIMUM_DEFAULT
        self.max_qos = 2

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            return await super().__aenter__()
        except aiomqtt.MqttError:
            self._client.disconnect()  # aiomqtt keeps the connection of a broker that does not answer
            raise

    # aiomqtt drops the properties of CONNACK. It is private there: hence the exact version in pyproject.toml.
    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        self.receive_maximum = getattr(properties, "ReceiveMaximum", self.receive_maximum)
        self.max_qos = getattr(properties, "MaximumQoS", self.max_qos)
        super()._on_connect(client, userdata, flags, reason_code, properties)


def broker_error(error: aiomqtt.MqttError, options: ClientOptions) -> BrokerError:
    """Translate an error of aiomqtt, with advice for the operator."""
    where = f"{options.host}:{options.port}"
    if isinstance(error.__cause__, aiomqtt.MqttError):  # of the connection's end, behind what noticed it
        error = error.__cause__
    if isinstance(error, aiomqtt.MqttCodeError):
        refused = isinstance(error, aiomqtt.exceptions.MqttConnectError)
        return _refusal(getattr(error.rc, "value", UNSPECIFIED_ERROR), str(error.rc), refused=refused)
    reason = error.__context__  # the error that aiomqtt replaced
    if isinstance(reason, TimeoutError):
        return BrokerError(f"{where} does not answer: does it speak MQTT 5 on this port?")
    return BrokerError(f"cannot connect to {where}: {tls_errors.explained(reason) or error}")


def qos_not_supported() -> BrokerRefused:
    """The error for a CONNACK whose Maximum QoS (3.2.2.3.4) is 0."""
    return BrokerRefused("the broker supports QoS 0 only", code=QOS_NOT_SUPPORTED, lasting=True)


def _refusal(code: int, name: str, *, refused: bool) -> BrokerError:
    """The error for a reason code of CONNACK or DISCONNECT, or for a connection that ended without one."""
    if code == SESSION_TAKEN_OVER:
        return SessionTaken("another client connected with the same client id")
    if not refused and code <= UNSPECIFIED_ERROR:
        return BrokerError("the connection was closed")
    what = "refused" if refused else "closed"
    advice = f"; {LASTING[code]}" if code in LASTING else ""
    message = f"the broker {what} the connection: {name.lower()} (0x{code:02X}){advice}"
    return BrokerRefused(message, code=code, lasting=code in LASTING)


def _text(password: bytes) -> str:
    try:
        return password.decode()
    except UnicodeDecodeError:
        raise SettingsError("mqtt.password", "must be UTF-8 here") from None


def _prepared(context: ssl.SSLContext | None, name: str | None) -> ssl.SSLContext | None:
    """Make a context do what paho has no option for.

    It checks the certificate for another name than the host's, and shakes hands at once, so that the socket
    of a failed handshake is closed.
    """
    if context is None:
        return None
    wrap = context.wrap_socket

    def wrap_socket(sock: socket.socket, *, server_hostname: str, **_: bool) -> ssl.SSLSocket:
        return wrap(sock, server_hostname=name or server_hostname)

    context.wrap_socket = wrap_socket  # type: ignore[method-assign,assignment]
    return context
