"""Options of an MQTT client: broker, client id, filters, limits.

Immutable. The defaults of what users set are in `stream_lstm.service.settings`; those here are the
protocol's, or for tools without settings. Standard: MQTT Version 5.0, OASIS, 7 March 2019.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

RECEIVE_MAXIMUM = 65_534  # mqtt5 omits 65,535, the protocol's default, and mosquitto then assumes 20
PACKET_BYTES_MAX = 268_435_460  # section 2.1.4: 268,435,455 after a header of 5 bytes
PACKET_BYTES_MIN = 128  # a trade-off: topic and payload must fit; settings ask for more


@dataclass(frozen=True, slots=True)
class Filter:
    """Topic filter, and the highest QoS to receive its messages at (section 3.8.3)."""

    pattern: str
    qos: Literal[0, 1, 2] = 1


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name, password and TLS context.

    Attributes:
        password: not part of the `repr`.
        ssl: encrypts and authenticates the connection; None: plain TCP.
    """

    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    ssl: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Options of an MQTT client.

    Attributes:
        credentials: called for each connection, so that replaced files count from the next one on; may raise
            a `SettingsError`.
        server_name: name that the broker's certificate must have; None: `host`.
        connect_seconds_max: for TCP and TLS together, and for each answer of the handshake.
        session_expiry_seconds: time for which the broker shall keep the session while disconnected.
        session_expected: the client has connected in an earlier run (there is state), so a missing session
            means missing events.
        receive_maximum: messages that the broker may send ahead of acknowledgements.
        packet_bytes_max: largest packet to accept, header included (section 3.1.2.11.4).
        filters: subscriptions.
        unsubscribe: filters of an earlier run that a kept session may still hold.
        retained: also receive messages retained before the first subscription.
        publish_qos: 0 is confirmed by a PINGREQ after the publications, 1 by PUBACKs.
        status_topic: for a retained `online` or `offline`; empty: none.
        dropped_topic: of the broker's count of dropped messages; empty: not subscribed to.
        watched: further subscriptions, with the retained message on every connection; a broker may refuse
            them.
        refused_seconds_min: shortest wait after a failure that only a changed setting can cure.
        inbox_messages_max: messages received and not yet taken, from which on the socket is not read.
        inbox_bytes_max: likewise, in bytes on the wire.
        unconfirmed_bytes_max: publications kept until confirmed, from which on deliveries wait.
        barrier_seconds_min: shortest time between two PINGREQs that confirm publications of QoS 0 and
            acknowledgements.
        stop_seconds_max: time that `stop` waits for confirmations.
    """

    host: str
    port: int = 1883
    client_id: str
    credentials: Callable[[], Credentials] = Credentials
    server_name: str | None = None
    keep_alive_seconds: int = 30
    connect_seconds_max: float = 10.0
    session_expiry_seconds: int = 604_800
    session_expected: bool = False
    receive_maximum: int = RECEIVE_MAXIMUM
    packet_bytes_max: int = 1_048_576
    filters: Sequence[Filter] = ()
    unsubscribe: Sequence[str] = ()
    retained: bool = False
    publish_qos: Literal[0, 1] = 0
    publish_retain: bool = False
    status_topic: str = ""
    dropped_topic: str = ""
    watched: Sequence[Filter] = ()
    backoff_seconds_min: float = 1.0
    backoff_seconds_max: float = 30.0
    refused_seconds_min: float = 30.0
    inbox_messages_max: int = 65_536
    inbox_bytes_max: int = 67_108_864
    unconfirmed_bytes_max: int = 67_108_864
    barrier_seconds_min: float = 0.01
    stop_seconds_max: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.keep_alive_seconds <= 65_535:
            raise ValueError(
                "keep_alive_seconds must be 1 to 65,535: without it a dead connection is not detected"
            )
        if not 1 <= self.receive_maximum <= RECEIVE_MAXIMUM:
            raise ValueError(f"receive_maximum must be 1 to {RECEIVE_MAXIMUM}")
        if not PACKET_BYTES_MIN <= self.packet_bytes_max <= PACKET_BYTES_MAX:
            raise ValueError(f"packet_bytes_max must be {PACKET_BYTES_MIN} to {PACKET_BYTES_MAX}")
        if not 0 < self.backoff_seconds_min <= self.backoff_seconds_max:
            raise ValueError("backoff_seconds_min must be above 0 and at most backoff_seconds_max")
        if min(self.inbox_messages_max, self.inbox_bytes_max, self.unconfirmed_bytes_max) < 1:
            raise ValueError(
                "the limits inbox_messages_max, inbox_bytes_max, unconfirmed_bytes_max must be at least 1"
            )
