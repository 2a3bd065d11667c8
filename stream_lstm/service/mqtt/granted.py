"""Features that a broker grants on a connection, and warnings about those it does not.

Pure. Standard: MQTT 5.0, sections 3.2.2 (CONNACK) and 3.9.3 (SUBACK).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mqtt5 import ConnAckPacket

from stream_lstm.core.overlap import overlapping
from stream_lstm.service.mqtt.options import ClientOptions
from stream_lstm.service.mqtt.packets import Requested

PREDICTION_BYTES_MAX = 4_096  # an estimate: where packets must be smaller, some predictions may not fit


@dataclass(frozen=True, slots=True)
class Granted:
    """Features that the broker grants on a connection.

    Attributes:
        connection: number of the connection, from 1, as in `Arrival`.
        session_present: True if the broker kept the session, with the messages since the last connection.
        session_expiry_seconds: time for which it keeps the session while disconnected.
        receive_maximum: publications of QoS 1 that it accepts unacknowledged.
        packet_bytes_max: largest packet that it accepts; None: no limit.
        max_qos: highest QoS that it accepts for publications.
        retain_available: True if retained messages are supported.
        keep_alive_seconds: the requested one, or a shorter one that the broker asks for.
        wildcard_available: True if filters may hold + and #.
        shared_available: True if filters may begin with $share.
        identifiers_available: True if subscriptions may have identifiers.
        subscriptions: filters and the QoS granted to each.
        findings: warnings for the operator, one sentence each.
    """

    connection: int
    session_present: bool
    session_expiry_seconds: int
    receive_maximum: int
    packet_bytes_max: int | None
    max_qos: int
    retain_available: bool
    keep_alive_seconds: int
    wildcard_available: bool
    shared_available: bool
    identifiers_available: bool
    subscriptions: tuple[tuple[str, int], ...]
    findings: list[str] = field(default_factory=list)


def evaluate(
    options: ClientOptions,
    connack: ConnAckPacket,
    qos: Sequence[int],
    *,
    connection: int,
    requested: Requested,
    session_expected: bool,
) -> Granted:
    """Compare the options with the broker's answers.

    Args:
        options: of the client.
        connack: the broker's CONNACK.
        qos: granted to each filter.
        connection: number of the connection.
        requested: features that CONNECT asked for.
        session_expected: True if the broker has had the session before.
    """
    expiry, keep_alive = connack.session_expiry_interval, connack.server_keep_alive
    granted = Granted(
        connection=connection,
        session_present=connack.session_present,
        session_expiry_seconds=options.session_expiry_seconds if expiry is None else expiry,
        receive_maximum=connack.receive_max,
        packet_bytes_max=connack.max_packet_size,
        max_qos=int(connack.max_qos),
        retain_available=connack.retain_available and requested.retain,
        # A longer one, or none (0), needs no change: the client, too, must detect a lost connection.
        keep_alive_seconds=min(options.keep_alive_seconds, keep_alive or options.keep_alive_seconds),
        wildcard_available=connack.wildcard_subscription_available,
        shared_available=connack.shared_subscription_available,
        identifiers_available=connack.subscription_id_available,
        subscriptions=tuple((entry.pattern, code) for entry, code in zip(options.filters, qos, strict=True)),
    )
    granted.findings.extend(_findings(options, granted, session_expected=session_expected))
    return granted


def _findings(options: ClientOptions, granted: Granted, *, session_expected: bool) -> Iterator[str]:
    if session_expected and not granted.session_present:
        yield (
            "the broker has lost the session: events sent since the last connection may be missing"
            " (let the broker keep its state on disk; mosquitto: persistence true)"
        )
    if granted.session_expiry_seconds == 0:
        yield "the broker keeps no session: events sent while the service is disconnected are lost"
    elif granted.session_expiry_seconds < options.session_expiry_seconds:
        yield (
            f"the broker keeps the session for {granted.session_expiry_seconds} s, not"
            f" {options.session_expiry_seconds} s: events are lost if the service is disconnected for longer"
        )
    for entry, (pattern, qos) in zip(options.filters, granted.subscriptions, strict=True):
        if qos < entry.qos:
            yield f"the broker grants QoS {qos} to {pattern!r}, not {entry.qos}: {_LOSS[qos]}"
    pairs = [] if granted.identifiers_available else overlapping([entry.pattern for entry in options.filters])
    for one, other in pairs:
        yield (
            f"{one!r} and {other!r} overlap, and the broker has no subscription identifiers:"
            " if it sends a copy for each, events on topics that both match count twice"
        )
    yield from _missing_features(options, granted)


def _missing_features(options: ClientOptions, granted: Granted) -> Iterator[str]:
    if not granted.retain_available and (options.status_topic or options.publish_retain):
        yield (
            "the broker does not support retained messages:"
            " later subscribers get neither the service's status nor past predictions"
        )
    if granted.packet_bytes_max is not None and granted.packet_bytes_max < PREDICTION_BYTES_MAX:
        yield (
            f"the broker accepts packets of at most {granted.packet_bytes_max} bytes:"
            " larger predictions are dropped"
        )
    if granted.keep_alive_seconds != options.keep_alive_seconds:
        yield f"the broker asks for a keep-alive of {granted.keep_alive_seconds} s, which the service uses"


_LOSS = {
    0: "events are lost whenever the connection is lost",
    1: "a message may arrive twice, the duplicate is dropped",
}
