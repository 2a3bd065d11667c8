"""What a link is told: the broker, our name there, what to read, and every limit.

Holds no defaults that a user sets (`stream_lstm.service.settings` does) beyond those of the protocol, and
nothing that changes. Standard: MQTT Version 5.0, OASIS, 7 March 2019.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

RECEIVE_MAXIMUM = 65_534  # mqtt5 leaves 65,535, the protocol's default, unsaid; mosquitto then takes 20
PACKET_BYTES_MAX = 268_435_460  # section 2.1.4: 268,435,455 after a header of 5 bytes


@dataclass(frozen=True, slots=True)
class Filter:
    """Topics to read, and the most that the broker shall assure for them (section 3.8.3)."""

    pattern: str
    qos: Literal[0, 1, 2] = 1


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are, and whom we trust.

    Attributes:
        password: never shown.
        ssl: encrypts and checks the connection; none: plain TCP.
    """

    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    ssl: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Everything that a link needs to know.

    Attributes:
        credentials: asked for each connection anew, so that what was replaced counts from the next one on;
            may raise a `SettingsError`.
        server_name: what the broker's certificate must name; None: `host`.
        session_expiry_seconds: how long the broker shall keep our session while we are away.
        session_expected: we were here before (there is state), so a missing session means missing events.
        receive_maximum: messages that the broker may send ahead of our acknowledgements.
        packet_bytes_max: larger packets are refused, header included (section 3.1.2.11.4).
        unsubscribe: filters of an earlier time that a kept session may still hold.
        retained: also take what was retained before we first subscribed.
        publish_qos: 0 is confirmed by a ping behind it, 1 by the broker's PUBACKs.
        status_topic: retained `online` or `offline`; empty: none.
        dropped_topic: where the broker says how many messages it has dropped; empty: it is not asked.
        watched: read, too, each time from what is retained there on; where we may not, we go without.
        refused_seconds_min: least wait after an answer that only a changed setting can change.
        inbox_messages_max: received and not yet taken; from here on the socket is not read.
        inbox_bytes_max: likewise, counted as they came over the wire.
        unconfirmed_bytes_max: publications that the broker may not have yet, kept for another connection.
        barrier_seconds_min: least time between two pings that confirm publications of QoS 0.
        stop_seconds_max: how long `stop` waits for the broker.
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
    barrier_seconds_min: float = 0.1
    stop_seconds_max: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.keep_alive_seconds <= 65_535:
            raise ValueError("keep_alive_seconds is 1 to 65,535: without it a dead connection goes unnoticed")
        if not 1 <= self.receive_maximum <= RECEIVE_MAXIMUM:
            raise ValueError(f"receive_maximum is 1 to {RECEIVE_MAXIMUM}")
        if not 128 <= self.packet_bytes_max <= PACKET_BYTES_MAX:
            raise ValueError(f"packet_bytes_max is 128 to {PACKET_BYTES_MAX}")
        if not 0 < self.backoff_seconds_min <= self.backoff_seconds_max:
            raise ValueError("backoff_seconds_min is above 0 and at most backoff_seconds_max")
        if min(self.inbox_messages_max, self.inbox_bytes_max, self.unconfirmed_bytes_max) < 1:
            raise ValueError("a limit of the inbox or of what is unconfirmed is at least 1")
