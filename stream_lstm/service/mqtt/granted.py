"""What a broker grants us, and what that would lose: looked at once, when a connection stands.

Pure. Standard: MQTT 5.0, sections 3.2.2 (CONNACK) and 3.9.3 (SUBACK).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mqtt5 import ConnAckPacket

from stream_lstm.service.mqtt.options import ClientOptions
from stream_lstm.service.mqtt.packets import Terms

PREDICTION_BYTES = 4_096  # a broker that takes no larger packets may not take every prediction


@dataclass(frozen=True, slots=True)
class Granted:
    """What the broker grants on this connection.

    Attributes:
        connection: which one, counted from 1; as in `Arrival`.
        session_present: the broker kept our session, with what came while we were away.
        session_expiry_seconds: how long it will keep it.
        receive_maximum: publications of QoS 1 that it takes unconfirmed.
        packet_bytes_max: the largest packet that it takes; None: it sets no limit.
        max_qos: of what we publish.
        retain_available: it keeps the last message of a topic.
        keep_alive_seconds: ours, or a shorter one that it asks for.
        wildcard_available: filters may hold + and #.
        shared_available: filters may begin with $share.
        granted: the QoS of each filter.
        findings: what of this costs something, in plain sentences.
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
    granted: tuple[tuple[str, int], ...]
    findings: list[str] = field(default_factory=list)


def evaluate(
    options: ClientOptions,
    answer: ConnAckPacket,
    granted: Sequence[int],
    *,
    connection: int,
    terms: Terms,
    session_expected: bool,
) -> Granted:
    """Look at what the broker answered.

    Args:
        answer: its CONNACK.
        granted: the QoS of each of our filters.
        connection: its number.
        terms: what we asked for, after what it refused before.
        session_expected: it has had our session before.
    """
    expiry, alive = answer.session_expiry_interval, answer.server_keep_alive
    verdict = Granted(
        connection=connection,
        session_present=answer.session_present,
        session_expiry_seconds=options.session_expiry_seconds if expiry is None else expiry,
        receive_maximum=answer.receive_max,
        packet_bytes_max=answer.max_packet_size,
        max_qos=int(answer.max_qos),
        retain_available=answer.retain_available and terms.retain,
        # A longer one, or none (0), binds us to nothing: we also want to notice when the broker is gone.
        keep_alive_seconds=min(options.keep_alive_seconds, alive or options.keep_alive_seconds),
        wildcard_available=answer.wildcard_subscription_available,
        shared_available=answer.shared_subscription_available,
        granted=tuple((entry.pattern, qos) for entry, qos in zip(options.filters, granted, strict=True)),
    )
    verdict.findings.extend(_findings(options, verdict, session_expected=session_expected))
    return verdict


def _findings(options: ClientOptions, verdict: Granted, *, session_expected: bool) -> Iterator[str]:
    if session_expected and not verdict.session_present:
        yield (
            "the broker no longer has our session: events sent since we were last connected may be missing"
            " (let the broker keep its state on disk; mosquitto: persistence true)"
        )
    if verdict.session_expiry_seconds == 0:
        yield "the broker keeps no session: events sent while we are away are lost"
    elif verdict.session_expiry_seconds < options.session_expiry_seconds:
        yield (
            f"the broker keeps our session for {verdict.session_expiry_seconds} s, not"
            f" {options.session_expiry_seconds} s: after a longer absence events are lost"
        )
    for entry, (pattern, qos) in zip(options.filters, verdict.granted, strict=True):
        if qos < entry.qos:
            yield f"the broker grants QoS {qos} to {pattern!r}, not {entry.qos}: {_LOSS[qos]}"
    yield from _limits(options, verdict)


def _limits(options: ClientOptions, verdict: Granted) -> Iterator[str]:
    """What we send and the broker does not take."""
    if not verdict.retain_available and (options.status_topic or options.publish_retain):
        yield "the broker retains nothing: who subscribes later sees neither our status nor past predictions"
    if verdict.packet_bytes_max is not None and verdict.packet_bytes_max < PREDICTION_BYTES:
        yield (
            f"the broker takes packets of at most {verdict.packet_bytes_max} bytes:"
            " larger predictions are left out"
        )
    if verdict.keep_alive_seconds != options.keep_alive_seconds:
        yield f"the broker asks for a keep-alive of {verdict.keep_alive_seconds} s, which we follow"


_LOSS = {0: "events are lost whenever the connection is", 1: "an event may come twice, which we notice"}
