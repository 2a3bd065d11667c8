"""Access rules in SECURITY.md: with them mosquitto lets the service do its work, and others only theirs."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import aiomqtt

from tests.brokers import Mosquitto, find
from tests.service.end_to_end import client
from tests.service.running import Running, until

TOP = Path(__file__).parents[2]
USERS = {"stream-lstm": "one", "operator": "two", "sensors": "three"}
SETTINGS = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
username = "stream-lstm"
password = "one"
reconnect_seconds_max = 1.0
"""


def broker_with_rules(mosquitto: Callable[..., Mosquitto], folder: Path, *lines: str) -> Mosquitto:
    (rules,) = re.findall(
        r"<!-- not run: access rules of mosquitto -->\n```text\n(.*?)```",
        (TOP / "SECURITY.md").read_text(),
        re.S,
    )
    (folder / "rules").write_text(rules)
    for name, password in USERS.items():
        create = [] if (folder / "passwords").exists() else ["-c"]
        file = str(folder / "passwords")
        subprocess.run([find("mosquitto_passwd"), *create, "-b", file, name, password], check=True)
    for file in ("rules", "passwords"):
        (folder / file).chmod(0o600)
    return mosquitto(f"acl_file {folder}/rules", f"password_file {folder}/passwords", *lines, anonymous=False)


def as_user(broker: Mosquitto, name: str) -> aiomqtt.Client:
    return client(broker, username=name, password=USERS[name])


async def test_the_service_works_and_a_sensor_can_neither_freeze_nor_predict(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = broker_with_rules(mosquitto, tmp_path)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
        async with as_user(broker, "operator") as operator, as_user(broker, "sensors") as sensors:
            await operator.subscribe("#", qos=1)
            await sensors.publish("stream_lstm/freeze", '["#"]', qos=1, retain=True)
            await sensors.publish("stream_lstm/status", "offline", qos=1, retain=True)
            await sensors.publish("predictions/sensors/a:v", "{}", qos=1)
            await sensors.publish("sensors/a", '{"v": 1.5}', qos=1)
            await sensors.publish("sensors/b", "?", qos=1)
            wanted = {"predictions/sensors/a:v", "stream_lstm/rejected"}
            seen: dict[str, bytes] = {}
            async with asyncio.timeout(20):
                async for message in operator.messages:
                    seen[message.topic.value] = bytes(message.payload)
                    if wanted <= seen.keys():
                        break
            assert b'"frozen"' not in seen["predictions/sensors/a:v"]
            assert seen["stream_lstm/status"] == b"online"
            await operator.publish("stream_lstm/freeze", '["#"]', qos=1, retain=True)
            await asyncio.to_thread(until, lambda: "freeze requested" in service.log, service)
        assert not [
            line for line in service.lines if "broker:" in line["message"] and "refused" in line["message"]
        ]


async def test_with_user_names_as_client_ids_nobody_else_takes_the_session(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = broker_with_rules(mosquitto, tmp_path, "use_username_as_clientid true")
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
        (client_id,) = [line["client_id"] for line in service.lines if line["message"] == "connected"]
        for stolen in (client_id, "stream-lstm"):
            async with client(broker, identifier=stolen, username="sensors", password="three") as sensors:
                await sensors.publish("sensors/a", '{"v": 1}', qos=1)
        await asyncio.to_thread(
            until, lambda: service.metrics()["stream_lstm_predictions_published_total"] == 2, service
        )
        assert "not connected" not in service.log
