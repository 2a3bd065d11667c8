"""TLS against a real mosquitto: who may connect does, and everybody else is told why not."""

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
from stream_lstm.service.settings.load import load
from tests.brokers import Mosquitto, find

SECONDS_MAX = 15.0
OURS, STRANGERS = trustme.CA(), trustme.CA()
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


class Watcher:
    """Remembers how the first attempt went."""

    def __init__(self) -> None:
        self.first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def _note(self, what: str) -> None:
        if not self.first.done():
            self.first.set_result(what)

    def connected(self, verdict: Granted) -> None:
        self._note("connected")

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        self._note(reason)


async def attempt(folder: Path, **mqtt: Any) -> str:
    """How a connection with these settings begins."""
    lines = [f"{key} = {str(value)!r}" for key, value in mqtt.items()]
    config = folder / "settings.toml"
    config.write_text("\n".join(["[mqtt]", *lines, ""]))
    watcher = Watcher()
    link = MqttClient(client_options(load(config)), observer=watcher)
    running = asyncio.create_task(link.run())
    try:
        return await asyncio.wait_for(asyncio.shield(watcher.first), SECONDS_MAX)
    finally:
        await link.stop()
        await running


def written(folder: Path, name: str, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """A certificate's and its key's files."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    return chain, key


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    OURS.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@pytest.fixture
def secured(mosquitto: Callable[..., Mosquitto], tmp_path: Path, ca: Path) -> Callable[..., Mosquitto]:
    """Starts a broker with a certificate and more lines of configuration."""

    def start(certificate: trustme.LeafCert, *lines: str, **options: Any) -> Mosquitto:
        chain, key = written(tmp_path, "broker", certificate)
        return mosquitto(f"cafile {ca}", f"certfile {chain}", f"keyfile {key}", *lines, **options)

    return start


GOOD = OURS.issue_cert("localhost", "127.0.0.1")


async def test_who_is_trusted_and_trusts_connects(
    secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    broker = secured(GOOD)
    for least in ("1.2", "1.3"):
        url = f"mqtts://localhost:{broker.port}"
        assert await attempt(tmp_path, url=url, ca_file=ca, tls_version_min=least) == "connected"
    by_address = f"mqtts://127.0.0.1:{broker.port}"
    assert await attempt(tmp_path, url=by_address, ca_file=ca) == "connected"


WRONG_BROKERS = {
    "strangers": (STRANGERS.issue_cert("localhost"), "not signed by a trusted CA: set mqtt.ca_file"),
    "expired": (OURS.issue_cert("localhost", not_after=YESTERDAY), "certificate has expired"),
    "other name": (OURS.issue_cert("elsewhere.example"), "for another name"),
}


@pytest.mark.parametrize("kind", WRONG_BROKERS)
async def test_a_broker_that_cannot_prove_who_it_is_is_not_spoken_to(
    kind: str, secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    certificate, words = WRONG_BROKERS[kind]
    broker = secured(certificate)
    said = await attempt(tmp_path, url=f"mqtts://localhost:{broker.port}", ca_file=ca)
    assert words in said
    assert "New client connected" not in broker.log


async def test_a_broker_of_another_name_may_be_named(
    secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    broker = secured(OURS.issue_cert("elsewhere.example"))
    url = f"mqtts://localhost:{broker.port}"
    assert await attempt(tmp_path, url=url, ca_file=ca, server_name="elsewhere.example") == "connected"


async def test_without_a_ca_of_its_own_the_systems_count(
    secured: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    said = await attempt(tmp_path, url=f"mqtts://localhost:{secured(GOOD).port}")
    assert "not signed by a trusted CA" in said


async def test_a_broker_that_wants_a_certificate_gets_one(
    secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    broker = secured(GOOD, "require_certificate true", "use_identity_as_username true")
    settings = {"url": f"mqtts://localhost:{broker.port}", "ca_file": ca}
    none = await attempt(tmp_path, **settings)
    assert "mqtt.cert_file" in none  # said by an alert, or guessed where a reset has overtaken it
    chain, key = written(tmp_path, "ours", OURS.issue_cert("stream-lstm", common_name="stream-lstm"))
    assert await attempt(tmp_path, **settings, cert_file=chain, key_file=key) == "connected"
    chain, key = written(tmp_path, "wrong", STRANGERS.issue_cert("stream-lstm"))
    wrong = await attempt(tmp_path, **settings, cert_file=chain, key_file=key)
    assert "mqtt.cert_file" in wrong


async def test_a_certificate_that_is_replaced_counts_without_a_restart(
    secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    broker = secured(GOOD, "require_certificate true", "use_identity_as_username true")
    chain, key = written(tmp_path, "ours", STRANGERS.issue_cert("stream-lstm"))
    config = tmp_path / "settings.toml"
    config.write_text(
        f'[mqtt]\nurl = "mqtts://localhost:{broker.port}"\nca_file = "{ca}"\ncert_file = "{chain}"\n'
        f'key_file = "{key}"\nreconnect_seconds_min = 0.05\nreconnect_seconds_max = 0.1\n'
    )
    watcher = Watcher()
    link = MqttClient(client_options(load(config)), observer=watcher)
    running = asyncio.create_task(link.run())
    try:
        assert "mqtt.cert_file" in await asyncio.wait_for(watcher.first, SECONDS_MAX)
        written(tmp_path, "ours", OURS.issue_cert("stream-lstm", common_name="stream-lstm"))
        async with asyncio.timeout(SECONDS_MAX):
            while not link.connected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        key.write_text("no key any more")  # the connection that stands is not touched
        broker.kill()
        broker.start()
        await asyncio.sleep(0.5)
        assert not link.connected
        written(tmp_path, "ours", OURS.issue_cert("stream-lstm", common_name="stream-lstm"))
        async with asyncio.timeout(SECONDS_MAX):
            while not link.connected:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        await link.stop()
        await running


def make_passwords(file: Path) -> None:
    subprocess.run([find("mosquitto_passwd"), "-c", "-b", file, "ours", "right"], check=True)
    file.chmod(0o600)


async def test_a_wrong_password_is_said_over_tls_too(
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


async def test_plain_words_to_a_tls_port_and_back(
    mosquitto: Callable[..., Mosquitto], secured: Callable[..., Mosquitto], tmp_path: Path, ca: Path
) -> None:
    said = await attempt(tmp_path, url=f"mqtt://localhost:{secured(GOOD).port}")
    assert "TLS" in said
    said = await attempt(tmp_path, url=f"mqtts://localhost:{mosquitto().port}", ca_file=ca)
    assert "TLS" in said


@contextmanager
def old_server() -> Iterator[int]:
    """Speaks TLS 1.1 and nothing newer."""
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
async def test_a_broker_of_the_last_century_is_left(tmp_path: Path, ca: Path) -> None:
    with old_server() as port:
        said = await attempt(tmp_path, url=f"mqtts://localhost:{port}", ca_file=ca)
    assert "new enough" in said


def test_files_that_cannot_be_used_are_named_before_anything_begins(tmp_path: Path, ca: Path) -> None:
    chain, key = written(tmp_path, "ours", GOOD)
    nothing, words = tmp_path / "none.pem", tmp_path / "words.pem"
    words.write_text("these are words")

    def broker(**files: Path | None) -> None:
        given: dict[str, Any] = {"ca": ca, "certificate": None, "key": None, "password": None} | files
        tls.to_broker(**given, least="1.2")

    for files, problem in (
        ({"ca": nothing}, f"mqtt.ca_file: {nothing} cannot be read"),
        ({"ca": words}, "mqtt.ca_file"),
        ({"certificate": chain, "key": nothing}, "mqtt.cert_file and mqtt.key_file"),
        ({"certificate": words, "key": key}, "does not hold a certificate and the key to it"),
        ({"certificate": chain, "key": strangers_key(tmp_path)}, "does not hold"),
        ({"certificate": chain, "key": key, "password": nothing}, "cannot be read"),
    ):
        with pytest.raises(SettingsError, match=problem.replace(".", r"\.")):
            broker(**files)
    with pytest.raises(SettingsError, match=r"http\.cert_file"):
        tls.for_http(certificate=words, key=None)


def strangers_key(folder: Path) -> Path:
    return written(folder, "stranger", STRANGERS.issue_cert("x"))[1]


def test_what_has_no_words_of_its_own_is_still_said() -> None:
    odd = ssl.SSLError(1, "something new")
    odd.reason = "SOMETHING_NEW"
    assert tls_errors.explained(odd) == "TLS failed: something new"
    assert tls_errors.explained(OSError("no route")) is None
    for code, part in ((9, "not valid yet"), (26, "failed verification")):
        unverified = ssl.SSLCertVerificationError(1, "x")
        unverified.verify_code, unverified.verify_message = code, "unsuitable"
        assert part in (tls_errors.explained(unverified) or "")
