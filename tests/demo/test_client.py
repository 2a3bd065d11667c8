"""The aiomqtt client with this package's options: credentials, TLS, and what it reports of failures."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
import trustme

from stream_lstm.demo.client import Client, broker_error
from stream_lstm.errors import BrokerError, BrokerRefused, SessionTaken, SettingsError
from stream_lstm.service import tls
from stream_lstm.service.mqtt import ClientOptions, Credentials
from tests.brokers import Mosquitto, find, free_port

CA = trustme.CA()
SECONDS_MAX = 20.0
CONNACK = b"\x20\x03\x00\x00\x00"  # accepted, without properties


def options(port: int, **changes: Any) -> ClientOptions:
    return ClientOptions(host="127.0.0.1", port=port, client_id="test", **changes)


async def failure(of: ClientOptions) -> BrokerError:
    """The error of an attempt to connect."""
    with pytest.raises(aiomqtt.MqttError) as caught:
        async with asyncio.timeout(SECONDS_MAX), Client(of):
            pass
    return broker_error(caught.value, of)


async def test_the_client_knows_the_limits_of_the_broker(mosquitto: Callable[..., Mosquitto]) -> None:
    async with Client(options(mosquitto().port)) as client:
        assert (client.receive_maximum, client.max_qos) == (20, 2)
    async with Client(options(mosquitto("max_inflight_messages 7", "max_qos 0").port)) as client:
        assert (client.receive_maximum, client.max_qos) == (7, 0)


def passwords(folder: Path) -> Path:
    """A password file of one user."""
    path = folder / "passwords"
    subprocess.run([find("mosquitto_passwd"), "-b", "-c", str(path), "me", "secret"], check=True)
    path.chmod(0o644)
    return path


async def test_user_and_password_are_checked_by_the_broker(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(f"password_file {passwords(tmp_path)}", anonymous=False)
    async with Client(options(broker.port, credentials=lambda: Credentials("me", b"secret"))):
        pass
    error = await failure(options(broker.port, credentials=lambda: Credentials("me", b"wrong")))
    assert isinstance(error, BrokerRefused)
    assert error.lasting
    assert str(error) == (
        "the broker refused the connection: not authorized (0x87); "
        "check mqtt.username, mqtt.password and the broker's access rules"
    )


async def test_a_password_must_be_text() -> None:
    with pytest.raises(SettingsError, match=r"mqtt\.password: must be UTF-8"):
        Client(options(1883, credentials=lambda: Credentials("me", b"\xff")))


async def test_the_certificate_must_name_the_server(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    leaf = CA.issue_cert("broker.example")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    broker = mosquitto(f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem")
    context = partial(tls.client_context, certificate=None, key=None, key_password=None, version_min="1.2")

    def secured(ca: Path | None, **changes: Any) -> ClientOptions:
        return options(broker.port, credentials=lambda: Credentials(ssl=context(ca=ca)), **changes)

    async with Client(secured(tmp_path / "ca.pem", server_name="broker.example")) as client:
        await client.publish("t", b"x", qos=1)
    for of, words in (
        (secured(tmp_path / "ca.pem"), "certificate is for another name"),
        (secured(tmp_path / "ca.pem", server_name="other.example"), "certificate is for another name"),
        (secured(None, server_name="broker.example"), "set mqtt.ca_file"),
    ):
        error = str(await failure(of))
        assert error.startswith(f"cannot connect to 127.0.0.1:{broker.port}: ")
        assert words in error


@asynccontextmanager
async def scripted(*packets: bytes) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A server that answers the first packet of the client.

    Yields:
        Its port, and an event that makes it send the other packets.
    """
    closed, going_on = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        for packet in packets:
            writer.write(packet)
            await going_on.wait()
        await reader.read()
        writer.close()
        closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], going_on
        await asyncio.wait_for(closed.wait(), SECONDS_MAX)  # the client leaves no connection behind


async def test_a_broker_that_does_not_listen_is_named() -> None:
    port = free_port()
    error = await failure(options(port))
    assert str(error) == f"cannot connect to 127.0.0.1:{port}: [Errno 111] Connection refused"


async def test_a_broker_that_does_not_answer_is_named_and_its_connection_closed() -> None:
    async with scripted() as (port, _):
        error = await failure(options(port, connect_seconds_max=0.1))
    assert str(error) == f"127.0.0.1:{port} does not answer: does it speak MQTT 5 on this port?"


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (0x8E, SessionTaken, "another client connected with the same client id"),
        (0x87, BrokerRefused, "the broker closed the connection: not authorized (0x87); check mqtt.username"),
        (0x8D, BrokerRefused, "the broker closed the connection: keep alive timeout (0x8D)"),
        (0x80, BrokerError, "the connection was closed"),
    ],
)
async def test_the_reason_for_the_end_of_a_connection_is_told(
    code: int, kind: type[Exception], words: str
) -> None:
    async with scripted(CONNACK, bytes([0xE0, 1, code])) as (port, going_on), Client(options(port)) as client:
        going_on.set()
        with pytest.raises(aiomqtt.MqttError) as caught:
            await asyncio.wait_for(anext(client.messages), SECONDS_MAX)
    error = broker_error(caught.value, options(port))
    assert type(error) is kind
    assert words in str(error)
