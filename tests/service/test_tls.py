"""TLS with a real mosquitto: trusted peers connect, and every failure names the setting to change."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from stream_lstm.errors import SettingsError
from stream_lstm.service import tls
from stream_lstm.service.assembly import client_options
from stream_lstm.service.mqtt import Granted, MqttClient, tls_errors
from stream_lstm.service.settings import load
from tests.brokers import Mosquitto, find

SECONDS_MAX = 15.0
TRUSTED, UNTRUSTED = trustme.CA(), trustme.CA()
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


class FirstAttempt:
    """An observer that records how the first attempt to connect ended."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def _record(self, outcome: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def connected(self, granted: Granted) -> None:
        self._record("connected")

    def settled(self) -> None:
        """Of no interest here."""

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        self._record(reason)


async def attempt(folder: Path, **mqtt: Any) -> str:
    """The outcome of the first attempt to connect with these settings."""
    lines = [f"{key} = {str(value)!r}" for key, value in mqtt.items()]
    config = folder / "settings.toml"
    config.write_text("\n".join(["[mqtt]", *lines, ""]))
    observer = FirstAttempt()
    client = MqttClient(client_options(load(config)), observer=observer)
    running = asyncio.create_task(client.run())
    try:
        return await asyncio.wait_for(asyncio.shield(observer.outcome), SECONDS_MAX)
    finally:
        await client.stop()
        await running


def written(folder: Path, name: str, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """Write a certificate and its key; returns their files."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    return chain, key


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    TRUSTED.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.fixture
def secured(mosquitto: Callable[..., Mosquitto], tmp_path: Path, ca: Path) -> Callable[..., Mosquitto]:
    """Starts a broker with a certificate and more lines of configuration."""

    def start(certificate: trustme.LeafCert, *lines: str, **options: Any) -> Mosquitto:
        chain, key = written(tmp_path, "broker", certificate)
        return mosquitto(f"cafile {ca}", f"certfile {chain}", f"keyfile {key}", *lines, **options)

    return start


GOOD = TRUSTED.issue_cert("localhost", "127.0.0.1")


async def test_a_trusted_broker_is_connected_to_by_name_and_by_address(
    secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    broker = secured(GOOD)
    for least in ("1.2", "1.3"):
        url = f"mqtts://localhost:{broker.port}"
        assert await attempt(tmp_path, url=url, ca_file=ca, tls_version_min=least) == "connected"
    by_address = f"mqtts://127.0.0.1:{broker.port}"
    assert await attempt(tmp_path, url=by_address, ca_file=ca) == "connected"


WRONG_BROKERS = {
    "untrusted": (UNTRUSTED.issue_cert("localhost"), "set mqtt.ca_file"),
    "expired": (TRUSTED.issue_cert("localhost", not_after=YESTERDAY), "certificate has expired"),
    "other name": (TRUSTED.issue_cert("elsewhere.example"), "for another name"),
}


@pytest.mark.parametrize("kind", WRONG_BROKERS)
async def test_a_broker_that_fails_verification_is_not_connected_to(
    kind: str, secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    certificate, words = WRONG_BROKERS[kind]
    broker = secured(certificate)
    outcome = await attempt(tmp_path, url=f"mqtts://localhost:{broker.port}", ca_file=ca)
    assert words in outcome
    assert "New client connected" not in broker.log


async def test_server_name_accepts_a_certificate_for_another_name(
    secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    broker = secured(TRUSTED.issue_cert("elsewhere.example"))
    url = f"mqtts://localhost:{broker.port}"
    assert await attempt(tmp_path, url=url, ca_file=ca, server_name="elsewhere.example") == "connected"


async def test_without_ca_file_the_systems_cas_are_used(
    secured: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    outcome = await attempt(tmp_path, url=f"mqtts://localhost:{secured(GOOD).port}")
    assert "mqtt.ca_file" in outcome


async def test_a_client_certificate_is_sent_to_a_broker_that_requires_one(
    secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    broker = secured(GOOD, "require_certificate true", "use_identity_as_username true")
    settings = {"url": f"mqtts://localhost:{broker.port}", "ca_file": ca}
    none = await attempt(tmp_path, **settings)
    assert "mqtt.cert_file" in none  # from an alert, or guessed if a reset overtook it
    chain, key = written(tmp_path, "ours", TRUSTED.issue_cert("stream-lstm", common_name="stream-lstm"))
    assert await attempt(tmp_path, **settings, cert_file=chain, key_file=key) == "connected"
    chain, key = written(tmp_path, "wrong", UNTRUSTED.issue_cert("stream-lstm"))
    wrong = await attempt(tmp_path, **settings, cert_file=chain, key_file=key)
    assert "mqtt.cert_file" in wrong


async def test_a_replaced_certificate_is_used_without_a_restart(
    secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    broker = secured(GOOD, "require_certificate true", "use_identity_as_username true")
    chain, key = written(tmp_path, "ours", UNTRUSTED.issue_cert("stream-lstm"))
    config = tmp_path / "settings.toml"
    config.write_text(
        f'[mqtt]\nurl = "mqtts://localhost:{broker.port}"\nca_file = "{ca}"\ncert_file = "{chain}"\n'
        f'key_file = "{key}"\nreconnect_seconds_min = 0.05\nreconnect_seconds_max = 0.1\n'
    )
    observer = FirstAttempt()
    client = MqttClient(client_options(load(config)), observer=observer)
    running = asyncio.create_task(client.run())
    try:
        assert "mqtt.cert_file" in await asyncio.wait_for(observer.outcome, SECONDS_MAX)
        written(tmp_path, "ours", TRUSTED.issue_cert("stream-lstm", common_name="stream-lstm"))
        async with asyncio.timeout(SECONDS_MAX):
            while not client.connected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        key.write_text("no key any more")  # an established connection is not affected
        broker.kill()
        broker.start()
        await asyncio.sleep(0.5)
        assert not client.connected
        written(tmp_path, "ours", TRUSTED.issue_cert("stream-lstm", common_name="stream-lstm"))
        async with asyncio.timeout(SECONDS_MAX):
            while not client.connected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        await client.stop()
        await running


def make_passwords(file: Path) -> None:
    subprocess.run([find("mosquitto_passwd"), "-c", "-b", file, "ours", "right"], check=True)
    file.chmod(0o600)


async def test_a_wrong_password_is_reported_over_tls(
    secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    await asyncio.to_thread(make_passwords, passwords)
    broker = secured(GOOD, f"password_file {passwords}", anonymous=False)
    settings = {"url": f"mqtts://localhost:{broker.port}", "ca_file": ca, "username": "ours"}
    secret.write_text("wrong\n")
    assert "mqtt.password" in await attempt(tmp_path, **settings, password_file=secret)
    secret.write_text("right\n")
    assert await attempt(tmp_path, **settings, password_file=secret) == "connected"


async def test_plain_mqtt_to_a_tls_port_and_tls_to_a_plain_port_are_reported(
    mosquitto: Callable[..., Mosquitto], secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    outcome = await attempt(tmp_path, url=f"mqtt://localhost:{secured(GOOD).port}")
    assert "TLS" in outcome
    outcome = await attempt(tmp_path, url=f"mqtts://localhost:{mosquitto().port}", ca_file=ca)
    assert "TLS" in outcome


@contextmanager
def old_server() -> Iterator[int]:
    """A server that supports TLS up to 1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    GOOD.configure_cert(context)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    raw, _ = listening.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(raw, server_side=True).close()
                except OSError:
                    raw.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_broker_without_tls_1_2_is_not_connected_to(tmp_path: Path, ca: Path) -> None:
    with old_server() as port:
        outcome = await attempt(tmp_path, url=f"mqtts://localhost:{port}", ca_file=ca)
    assert "mqtt.tls_version_min" in outcome


def test_unusable_files_are_reported_with_their_setting(tmp_path: Path, ca: Path) -> None:
    chain, key = written(tmp_path, "ours", GOOD)
    missing, text = tmp_path / "none.pem", tmp_path / "text.pem"
    text.write_text("not a certificate")

    def make_context(**files: Path | None) -> None:
        given: dict[str, Any] = {"ca": ca, "certificate": None, "key": None, "key_password": None} | files
        tls.client_context(**given, version_min="1.2")

    for files, problem in (
        ({"ca": missing}, f"mqtt.ca_file: {missing} cannot be read"),
        ({"ca": text}, "mqtt.ca_file"),
        ({"certificate": chain, "key": missing}, "mqtt.cert_file and mqtt.key_file"),
        ({"certificate": text, "key": key}, "does not contain a certificate and its private key"),
        ({"certificate": chain, "key": unrelated_key(tmp_path)}, "does not contain"),
        ({"certificate": chain, "key": key, "key_password": missing}, "cannot be read"),
    ):
        with pytest.raises(SettingsError, match=problem.replace(".", r"\.")):
            make_context(**files)
    with pytest.raises(SettingsError, match=r"http\.cert_file"):
        tls.server_context(certificate=text, key=None)


def unrelated_key(folder: Path) -> Path:
    return written(folder, "unrelated", UNTRUSTED.issue_cert("x"))[1]


def test_other_tls_errors_are_reported_with_openssls_reason() -> None:
    other = ssl.SSLError(1, "something new")
    other.reason = "SOMETHING_NEW"
    assert tls_errors.explained(other) == "TLS failed: something new"
    assert tls_errors.explained(OSError("no route")) is None
    for code, part in ((9, "not valid yet"), (26, "unsuitable")):
        unverified = ssl.SSLCertVerificationError(1, "x")
        unverified.verify_code, unverified.verify_message = code, "unsuitable"
        assert part in (tls_errors.explained(unverified) or "")
