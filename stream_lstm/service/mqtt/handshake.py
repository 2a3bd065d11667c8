"""How a connection is made: TCP, TLS, CONNECT, SUBSCRIBE, and what to make of the answers.

Standard: MQTT 5.0, sections 3.1 (CONNECT), 3.2 (CONNACK), 3.8 (SUBSCRIBE), 3.9 (SUBACK).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from mqtt5 import ConnAckPacket, SubAckPacket

from stream_lstm.errors import BrokerError, ProtocolError, SessionTaken, SettingsError
from stream_lstm.service.mqtt import packets, reason_codes, tls_errors
from stream_lstm.service.mqtt.connection import HINT, Connection, Owner
from stream_lstm.service.mqtt.granted import Granted, evaluate
from stream_lstm.service.mqtt.options import ClientOptions, Credentials, Filter
from stream_lstm.service.mqtt.packets import Terms
from stream_lstm.service.mqtt.takeover import ClientSignature

TLS_HINT = (
    "does it speak MQTT 5 over TLS on this port (without TLS, write mqtt://), "
    "and accept our certificate (mqtt.cert_file), if it wants one?"
)


class Handshake:
    """Makes connections, and remembers what this broker would not grant.

    Args:
        options: of the link.
        mark: signs what is said on the status topic.

    Attributes:
        pending: the limit on the attempt that is under way; bring it forward to give the attempt up.
        session_expected: the broker has had our session.
    """

    def __init__(self, options: ClientOptions, mark: ClientSignature) -> None:
        self._options = options
        self._mark = mark
        # Read for its signs; where it is subscribed to as a source of events, it is read as one.
        mine = {entry.pattern for entry in options.filters}
        said = [Filter(topic, 0) for topic in (options.status_topic, options.dropped_topic) if topic]
        self._watched = [entry for entry in (*said, *options.watched) if entry.pattern not in mine]
        self._drops_asked = True
        self._terms = Terms()
        self._credentials = Credentials()
        self.pending: asyncio.Timeout | None = None
        self.session_expected = options.session_expected

    async def open(self, owner: Owner) -> Connection:
        """A connection over which nothing was said yet.

        Raises:
            BrokerError: there is none to be had.
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
                        owner,
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
            raise BrokerError(f"{where} does not answer") from None
        except (OSError, UnicodeError) as error:
            why = tls_errors.explained(error) or str(error)
            if isinstance(error, ConnectionResetError):
                why += f": {hint}"
            raise BrokerError(f"cannot connect to {where}: {why}") from None
        finally:
            self.pending = None
        return connection

    async def greet(
        self, connection: Connection, *, number: int, resumed: Callable[[Granted], Awaitable[None]]
    ) -> Granted:
        """CONNECT and SUBSCRIBE.

        Args:
            number: of the connection.
            resumed: called before SUBSCRIBE is answered if the broker kept our session. Some brokers
                (rumqttd) answer nothing more until messages of that session are acknowledged.

        Raises:
            BrokerError: the connection ended, or the broker does not want us.
        """
        options = self._options
        answer = await connection.connect(
            packets.connect(options, self._credentials, self._terms, self._mark)
        )
        self._accept(answer)
        agreeing = asyncio.ensure_future(self._agree(connection))
        try:
            await asyncio.sleep(0)  # what we ask for is on its way
            if answer.session_present:
                asked = [entry.qos for entry in options.filters]
                await resumed(self._judge(answer, asked, number))
            granted = await agreeing
        finally:
            agreeing.cancel()
        verdict = self._judge(answer, granted, number)
        self.session_expected = verdict.session_expiry_seconds > 0
        if options.status_topic:
            retain = verdict.retain_available
            connection.send(
                packets.status(options.status_topic, packets.ONLINE, retain=retain, mark=self._mark)
            )
        return verdict

    def _judge(self, answer: ConnAckPacket, granted: Sequence[int], number: int) -> Granted:
        return evaluate(
            self._options,
            answer,
            granted,
            connection=number,
            terms=self._terms,
            session_expected=self.session_expected,
        )

    def _accept(self, answer: ConnAckPacket) -> None:
        """Raise what a CONNACK refuses; next time ask for no more than this broker can do."""
        code = int(answer.reason_code)
        if code == reason_codes.NO_RETAIN:
            self._terms = replace(self._terms, retain=False)
        if code == reason_codes.NO_QOS:
            self._terms = replace(self._terms, will_qos=0)
        if code:
            raise reason_codes.refused(answer)
        if self._options.publish_qos > int(answer.max_qos):
            raise reason_codes.publishes_at_0_only()

    async def _agree(self, connection: Connection) -> list[int]:
        """Which topics we get; returns the QoS granted to each filter."""
        filters = self._options.filters
        if self._options.unsubscribe:
            await connection.unsubscribe(packets.unsubscribe(self._options.unsubscribe))
        if not filters:
            return []
        answer, asked = await self._subscribe(connection)
        codes = list(answer.reason_codes)
        if answer.packet_id != packets.SUBSCRIBE_ID or len(codes) != asked:
            raise ProtocolError("the broker broke MQTT 5: its SUBACK does not fit our SUBSCRIBE")
        del codes[len(filters) :]  # where we may not read who is there, we go without
        for entry, code in zip(filters, codes, strict=True):
            if int(code) >= reason_codes.REFUSED:
                raise reason_codes.not_granted(entry, code)
        return [int(code) for code in codes]

    async def _subscribe(self, connection: Connection) -> tuple[SubAckPacket, int]:
        """SUBSCRIBE, and the answer; returns also how many filters were asked for.

        A broker may end the connection of a client that asks for a topic beginning with $, as rumqttd does:
        so an attempt that ends here is followed by one that does not ask for it.
        """
        options, watched = self._options, self._watched
        if not self._drops_asked:
            watched = [entry for entry in watched if entry.pattern != options.dropped_topic]
        packet = packets.subscribe(options.filters, retained=options.retained, watched=watched)
        try:
            return await connection.subscribe(packet), len(options.filters) + len(watched)
        except SessionTaken:
            raise
        except BrokerError as error:
            if not options.dropped_topic:
                raise
            self._drops_asked = not self._drops_asked
            if self._drops_asked:
                raise
            hint = f"the next attempt does not ask for {options.dropped_topic} (mqtt.dropped_topic)"
            raise BrokerError(f"{error}; {hint}") from None
