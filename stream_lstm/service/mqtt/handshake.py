"""Handshake of a connection: TCP, TLS, CONNECT, SUBSCRIBE, and the evaluation of the answers.

Standard: MQTT 5.0, sections 3.1 (CONNECT), 3.2 (CONNACK), 3.8 (SUBSCRIBE), 3.9 (SUBACK).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from mqtt5 import ConnAckPacket, SubAckPacket

from stream_lstm.core.overlap import overlapping
from stream_lstm.errors import BrokerError, ProtocolError, SessionTaken, SettingsError
from stream_lstm.service.mqtt import packets, reason_codes, tls_errors
from stream_lstm.service.mqtt.connection import HINT, Connection, ConnectionListener
from stream_lstm.service.mqtt.granted import Granted, evaluate
from stream_lstm.service.mqtt.options import ClientOptions, Credentials, Filter
from stream_lstm.service.mqtt.packets import Requested
from stream_lstm.service.mqtt.takeover import ClientSignature

TLS_HINT = (
    "check that the broker speaks MQTT 5 over TLS on this port (without TLS, write mqtt://) "
    "and that it accepts our certificate (mqtt.cert_file), if it requires one"
)


class Handshake:
    """Opens connections, and remembers the features that this broker does not support.

    Args:
        options: of the client.
        signature: signs the messages on the status topic.

    Attributes:
        pending: timeout of the TCP and TLS attempt in progress; reschedule it to abort the attempt.
        session_expected: True if the broker should have the session.
    """

    def __init__(self, options: ClientOptions, signature: ClientSignature) -> None:
        self._options = options
        self._signature = signature
        # A topic that is also a source of events is subscribed to as a source only.
        sources = {entry.pattern for entry in options.filters}
        own = [Filter(topic, 0) for topic in (options.status_topic, options.dropped_topic) if topic]
        self._watched = [entry for entry in (*own, *options.watched) if entry.pattern not in sources]
        # Filters that overlap have a SUBSCRIBE and an identifier of their own, to tell copies apart.
        pairs = overlapping([entry.pattern for entry in options.filters])
        self._overlapping = sorted({pattern for pair in pairs for pattern in pair})
        self._subscribes_dropped_topic = True
        self._requested = Requested()
        self._credentials = Credentials()
        self.pending: asyncio.Timeout | None = None
        self.session_expected = options.session_expected

    async def open(self, listener: ConnectionListener) -> Connection:
        """Open TCP, and TLS if set; no MQTT packet is sent yet.

        Raises:
            BrokerError: the broker cannot be reached, or TLS failed.
        """
        options, loop = self._options, asyncio.get_running_loop()
        where = f"{options.host}:{options.port}"
        try:
            self._credentials = given = options.credentials()
        except SettingsError as error:
            raise BrokerError(str(error)) from None
        name = options.server_name or options.host if given.ssl else None
        hint = TLS_HINT if given.ssl else HINT
        try:
            async with asyncio.timeout(options.connect_seconds_max) as self.pending:
                _, connection = await loop.create_connection(
                    lambda: Connection(
                        listener,
                        packet_bytes_max=options.packet_bytes_max,
                        answer_seconds_max=options.connect_seconds_max,
                        hint=hint,
                    ),
                    options.host,
                    options.port,
                    ssl=given.ssl,
                    server_hostname=name,
                )
        except TimeoutError:
            raise BrokerError(f"{where} does not answer within {options.connect_seconds_max:g} s") from None
        except (OSError, UnicodeError) as error:
            reason = tls_errors.explained(error) or str(error)
            if isinstance(error, ConnectionResetError):
                reason += f": {hint}"
            raise BrokerError(f"cannot connect to {where}: {reason}") from None
        finally:
            self.pending = None
        return connection

    async def establish(
        self, connection: Connection, *, number: int, resumed: Callable[[Granted], Awaitable[None]]
    ) -> Granted:
        """Send CONNECT and SUBSCRIBE, and publish the status `online`.

        Args:
            connection: from `open`.
            number: of the connection.
            resumed: called if the broker kept the session, before SUBACK. Some brokers (rumqttd) send no
                SUBACK until messages of that session are acknowledged.

        Raises:
            BrokerError: the connection ended, or the broker refused it.
        """
        options = self._options
        connack = await connection.connect(
            packets.connect(options, self._credentials, self._requested, self._signature)
        )
        self._check(connack)
        identified = connack.subscription_id_available
        subscribing = asyncio.ensure_future(self._subscribe(connection, identified=identified))
        try:
            await asyncio.sleep(0)  # SUBSCRIBE is written before the publications of `resumed`
            if connack.session_present:
                qos = [entry.qos for entry in options.filters]
                await resumed(self._evaluate(connack, qos, number))
            granted_qos = await subscribing
        finally:
            subscribing.cancel()
        granted = self._evaluate(connack, granted_qos, number)
        self.session_expected = granted.session_expiry_seconds > 0
        if options.status_topic:
            connection.send(
                packets.status(
                    options.status_topic,
                    packets.ONLINE,
                    retain=granted.retain_available,
                    signature=self._signature,
                )
            )
        return granted

    def _evaluate(self, connack: ConnAckPacket, qos: Sequence[int], number: int) -> Granted:
        return evaluate(
            self._options,
            connack,
            qos,
            connection=number,
            requested=self._requested,
            session_expected=self.session_expected,
        )

    def _check(self, connack: ConnAckPacket) -> None:
        """Raise the error of a CONNACK; the next attempt requests no feature that the broker lacks."""
        code = int(connack.reason_code)
        if code == reason_codes.RETAIN_NOT_SUPPORTED:
            self._requested = replace(self._requested, retain=False)
        if code == reason_codes.QOS_NOT_SUPPORTED:
            self._requested = replace(self._requested, will_qos=0)
        if code:
            raise reason_codes.connection_refused(connack)
        if self._options.publish_qos > int(connack.max_qos):
            raise reason_codes.publish_qos_not_supported()

    async def _subscribe(self, connection: Connection, *, identified: bool) -> list[int]:
        """Send UNSUBSCRIBE and SUBSCRIBE as needed; returns the QoS granted to each filter.

        Args:
            identified: True if the broker supports subscription identifiers.
        """
        filters = self._options.filters
        if self._options.unsubscribe:
            await connection.unsubscribe(packets.unsubscribe(self._options.unsubscribe))
        if not filters:
            return []
        alone = self._overlapping if identified else []
        granted: dict[str, int] = {}
        for number, pattern in enumerate(alone, 1):
            own = [entry for entry in filters if entry.pattern == pattern]
            packet = packets.subscribe(own, retained=self._options.retained, identifier=number)
            granted |= _granted(await connection.subscribe(packet), own, len(own))
        together = [entry for entry in filters if entry.pattern not in alone]
        if together or self._watched:
            granted |= await self._subscribe_together(connection, together)
        return [granted[entry.pattern] for entry in filters]

    async def _subscribe_together(self, connection: Connection, filters: Sequence[Filter]) -> dict[str, int]:
        """Subscribe to these and to the watched topics; returns the QoS granted to these.

        Some brokers (rumqttd) close the connection over a filter that begins with $. So the attempt after one
        that ends here leaves out `dropped_topic`.
        """
        options, watched = self._options, self._watched
        if not self._subscribes_dropped_topic:
            watched = [entry for entry in watched if entry.pattern != options.dropped_topic]
        packet = packets.subscribe(filters, retained=options.retained, watched=watched)
        try:
            suback = await connection.subscribe(packet)
        except SessionTaken:
            raise
        except BrokerError as error:
            if not options.dropped_topic:
                raise
            self._subscribes_dropped_topic = not self._subscribes_dropped_topic
            if self._subscribes_dropped_topic:
                raise
            hint = f"the next attempt does not subscribe to {options.dropped_topic} (mqtt.dropped_topic)"
            raise BrokerError(f"{error}; {hint}") from None
        return _granted(suback, filters, len(filters) + len(watched))


def _granted(suback: SubAckPacket, filters: Sequence[Filter], requested: int) -> dict[str, int]:
    """The QoS granted to each of these filters; the service works without the watched topics after them.

    Raises:
        BrokerError: the broker refuses one, or its answer does not match.
    """
    if suback.packet_id != packets.SUBSCRIBE_ID or len(suback.reason_codes) != requested:
        raise ProtocolError("the broker violated MQTT 5: its SUBACK does not match the SUBSCRIBE")
    granted: dict[str, int] = {}
    for entry, code in zip(filters, suback.reason_codes, strict=False):
        if int(code) >= reason_codes.FAILURE:
            raise reason_codes.subscription_refused(entry, code)
        granted[entry.pattern] = int(code)
    return granted
