"""Subscriptions at a real broker: overlapping ones count once, and services do not read one another."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

from tests.brokers import Mosquitto
from tests.service.end_to_end import UNLIMITED, client, subscribing
from tests.service.running import Running, until

OVERLAPPING = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
[[subscribe]]
topic = "home/kitchen/#"
[[subscribe]]
topic = "home/+/temperature"
qos = 2
[[subscribe]]
topic = "home/#"
qos = 0
"""
EVERYTHING = """[mqtt]
url = "mqtt://127.0.0.1:{port}"
status_topic = "{name}/status"
freeze_topic = "{name}/freeze"
[[subscribe]]
topic = "#"
[publish]
topic = "{name}/predictions/{{stream}}"
alert_topic = "{name}/alerts/{{stream}}"
rejected_topic = "{name}/rejected"
stale_topic = "{name}/stale"
"""
QUIET_SECONDS = 1.0


async def test_one_publication_is_one_event_at_a_broker_that_sends_copies(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", OVERLAPPING.format(port=broker.port)) as service:
        async with client(broker) as publisher, subscribing(broker) as subscriber:
            for n in range(300):  # most are equal, and without a time
                for room in ("kitchen", "hall"):
                    for what in ("temperature", "light"):
                        await publisher.publish(f"home/{room}/{what}", str(20 + n // 100), qos=n % 3)
            await subscriber.complete(1_200)
        await asyncio.sleep(QUIET_SECONDS)
        found = service.metrics()
        assert found["stream_lstm_predictions_published_total"] == 1_200
        assert found["stream_lstm_messages_overlapping_total"] == 300 * (2 + 1 + 1)  # what mosquitto sends
        for room in ("kitchen", "hall"):
            for what in ("temperature", "light"):
                assert len(subscriber.predictions[f"home/{room}/{what}"]) == 300


async def test_two_services_that_read_everything_do_not_read_each_other(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    settings = [EVERYTHING.format(port=broker.port, name=name) for name in ("one", "other")]
    with Running(tmp_path / "a", settings[0]) as first, Running(tmp_path / "b", settings[1]) as second:
        broker.publish("home/attic", "21.5")
        broker.publish("home/attic", json.dumps({"v": 1, "time": time.time()}))
        broker.publish("home/attic", "online")
        for service in (first, second):
            await asyncio.to_thread(
                until, lambda s=service: s.metrics()["stream_lstm_messages_received_total"] >= 3, service
            )
        await asyncio.sleep(QUIET_SECONDS)
        for service in (first, second):
            found = service.metrics()
            assert found["stream_lstm_predictions_published_total"] == 2
            assert found["stream_lstm_events_received_total"] == 3
            assert found["malformed"] == 1
            assert found["stream_lstm_messages_own_total"] >= 3  # the other's predictions and rejection


async def test_no_words_of_a_service_come_back_through_a_bridge_that_drops_the_mark(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    far = mosquitto(*UNLIMITED)
    bridge = ("connection far", f"address 127.0.0.1:{far.port}", "bridge_protocol_version mqttv311")
    near = mosquitto(*UNLIMITED, *bridge, 'topic # out 1 "" from-near/', 'topic # in 1 from-far/ ""')
    settings = [EVERYTHING.format(port=broker.port, name="svc") for broker in (near, far)]
    with Running(tmp_path / "a", settings[0]) as first, Running(tmp_path / "b", settings[1]) as second:
        near.publish("home/attic", "21.5")
        for service in (first, second):
            await asyncio.to_thread(
                until, lambda s=service: s.metrics()["stream_lstm_messages_own_total"] >= 1, service
            )
        await asyncio.sleep(QUIET_SECONDS)
        counts = [s.metrics()["stream_lstm_predictions_published_total"] for s in (first, second)]
        assert counts == [1, 1]
