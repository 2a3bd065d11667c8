"""The service's life cycle, as a process between a real mosquitto and independent clients."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.brokers import Mosquitto
from tests.service.end_to_end import SETTINGS, UNLIMITED, client, subscribing
from tests.service.running import Running, command, until


async def test_events_of_an_unknown_sensor_are_predicted_and_counted(
    broker: Mosquitto, service: Running
) -> None:
    async with subscribing(broker) as subscriber:
        for n in range(30):
            await asyncio.to_thread(
                broker.publish, "sensors/pump7/telemetry", json.dumps({"temperature": 71.3 + n % 3})
            )
        await asyncio.to_thread(broker.publish, "home/door/availability", "online")
        await asyncio.to_thread(broker.publish, "home/attic", "21.5")
        await subscriber.complete(31, 1)
    stream = "sensors/pump7/telemetry:temperature"
    assert subscriber.values(stream) == [71.3 + n % 3 for n in range(30)]
    last = json.loads(subscriber.predictions[stream][30])
    assert set(last) == {
        *("stream", "seq", "time", "clock", "value", "expected"),
        *("prediction", "interval", "anomaly", "alert", "kind", "trust", "model"),
    }
    assert last["clock"] == "arrival"
    assert last["interval"][0] < last["prediction"] < last["interval"][1]
    assert 0.0 <= last["anomaly"] <= 1.0
    assert last["expected"] == json.loads(subscriber.predictions[stream][29])["prediction"]
    assert subscriber.predictions["home/attic"]
    assert subscriber.rejected[0]["topic"] == "home/door/availability"
    found = service.metrics()
    assert found["stream_lstm_events_received_total"] == 32
    assert found["stream_lstm_predictions_published_total"] == 31
    assert found["malformed"] == 1
    assert found["stream_lstm_broker_connected"] == 1


async def test_an_empty_state_is_named_at_the_first_start_alone(broker: Mosquitto, service: Running) -> None:
    said = [line for line in service.lines if line["message"] == "new, empty state"]
    assert [line["path"] for line in said] == [str(service.state)]
    async with subscribing(broker) as subscriber:
        await asyncio.to_thread(broker.publish, "home/attic", "21.5")
        await subscriber.complete(1)
    service.kill()
    service.start()
    assert len([line for line in service.lines if line["message"] == "new, empty state"]) == 1


async def test_status_is_retained_online_and_offline(broker: Mosquitto, service: Running) -> None:
    async with client(broker) as receiver:
        await receiver.subscribe("stream_lstm/status")
        messages = aiter(receiver.messages)
        first = await asyncio.wait_for(anext(messages), 10)
        assert (bytes(first.payload), first.retain) == (b"online", True)
        service.kill()
        assert bytes((await asyncio.wait_for(anext(messages), 10)).payload) == b"offline"
        service.start()
        assert bytes((await asyncio.wait_for(anext(messages), 10)).payload) == b"online"
        assert service.stop() == 0
        assert bytes((await asyncio.wait_for(anext(messages), 10)).payload) == b"offline"


async def test_it_reconnects_when_the_broker_is_back(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED, persistent=True)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        await asyncio.to_thread(broker.publish, "sensors/a/telemetry", '{"v": 1}')
        until(lambda: running.metrics()["stream_lstm_predictions_published_total"] == 1, running)
        broker.kill()
        until(lambda: running.get("/readyz")[0] == 503, running)
        assert "not connected to the broker" in running.get("/readyz")[1]
        assert running.get("/healthz")[0] == 200
        broker.start()
        until(lambda: running.get("/readyz")[0] == 200, running)
        async with subscribing(broker) as subscriber:
            await asyncio.to_thread(broker.publish, "sensors/a/telemetry", '{"v": 2}')
            await subscriber.complete(1)
        assert list(subscriber.predictions["sensors/a/telemetry:v"]) == [2]


async def test_a_second_service_cannot_open_the_same_state(service: Running) -> None:
    second = Running(service.folder, SETTINGS.format(port=1))
    second.launch()
    assert second.wait() == 1
    assert "another service owns it" in second.log


async def test_a_second_signal_ends_it_at_once(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto(*UNLIMITED)
    with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as running:
        broker.kill()
        running.signal(signal.SIGINT)
        running.signal(signal.SIGTERM)
        assert running.wait() in (0, 128 + signal.SIGTERM)


async def test_queued_messages_without_a_time_have_an_uncertain_clock(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    async with subscribing(broker) as subscriber:
        with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
            broker.publish("home/room", "20.5")
            await subscriber.complete(1)
            assert service.stop() == 0
            broker.publish("home/room", "21.5")
            broker.publish("home/hall", json.dumps({"t": 19.5, "time": 1_767_225_600}))
            service.start()
            await subscriber.complete(3)
            await asyncio.sleep(0.2)
            broker.publish("home/room", "22.5")
            await subscriber.complete(4)
    room = [json.loads(subscriber.predictions["home/room"][seq]) for seq in (1, 2, 3)]
    assert [said["clock"] for said in room] == ["arrival", "uncertain", "arrival"]
    assert room[1]["anomaly"] is None
    assert room[2]["anomaly"] is not None
    assert json.loads(subscriber.predictions["home/hall:t"][1])["clock"] == "event"


async def test_removed_topic_filters_are_unsubscribed(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    async with subscribing(broker) as subscriber:
        with Running(tmp_path / "service", SETTINGS.format(port=broker.port)) as service:
            assert service.stop() == 0
        changed = SETTINGS.replace("home/#", "house/#").format(port=broker.port)
        with Running(tmp_path / "service", changed) as service:
            broker.publish("home/room", "1")
            broker.publish("house/room", "2")
            await subscriber.complete(1)
            assert service.stop() == 0
            broker.publish("home/room", "1")
            broker.publish("house/room", "3")
            service.start()
            await subscriber.complete(2)
            assert service.metrics()["stream_lstm_messages_received_total"] == 1
    assert set(subscriber.predictions) == {"house/room"}


async def test_of_two_services_with_one_client_id_and_state_the_later_one_stays(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    settings = SETTINGS.format(port=broker.port)
    with Running(tmp_path / "a", settings) as first:
        (tmp_path / "b").mkdir()
        assert (
            command("snapshot", str(tmp_path / "b" / "state.db"), "--state", str(first.state)).returncode == 0
        )
        with Running(tmp_path / "b", settings) as second:
            assert await asyncio.to_thread(first.wait) == 1
            # mosquitto reports it since 2.0.15; before, the signatures on the status topic do.
            assert re.search("another (client connected with our|service .* uses our client id)", first.log)
            async with subscribing(broker) as subscriber:
                broker.publish("home/room", "20.5")
                await subscriber.complete(1)
            await asyncio.to_thread(until, lambda: second.get("/readyz")[0] == 200, second)
            with Running(tmp_path / "a", settings) as third:  # what was left on the topic does not count
                assert await asyncio.to_thread(second.wait) == 1
                await asyncio.to_thread(until, lambda: third.get("/readyz")[0] == 200, third)


async def test_two_services_with_one_client_id_and_two_states_are_told(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(*UNLIMITED)
    settings = SETTINGS.format(port=broker.port)
    with Running(tmp_path / "a", settings) as first, Running(tmp_path / "b", settings):
        # mosquitto before 2.0.15 does not report it, and nobody's word on the topic can end a service.
        known = "another client connected with our mqtt.client_id|does another client use 'under-test'"
        await asyncio.to_thread(until, lambda: re.search(known, first.log) or first.ended)
        assert re.search(known, first.log)


async def test_a_message_on_the_status_topic_cannot_end_the_service(
    broker: Mosquitto, service: Running
) -> None:
    """A stranger reads the retained signature, and claims a later start, after a reconnect too."""
    for n in range(2):
        async with client(broker) as stranger, subscribing(broker) as subscriber:
            await stranger.subscribe("stream_lstm/status")
            status = await anext(aiter(stranger.messages))
            found = dict(status.properties.UserProperty)  # type: ignore[union-attr]
            started, _, rest = found["owner"].partition(" ")
            forged = Properties(PacketTypes.PUBLISH)
            forged.UserProperty = ("owner", f"{int(started) + 60_000} {rest}")
            await stranger.publish("stream_lstm/status", "online", properties=forged)
            await stranger.publish("home/attic", str(n), qos=1)
            await subscriber.complete(1)
        if not n:
            broker.kill()
            await asyncio.to_thread(until, lambda: service.get("/readyz")[0] == 503, service)
            broker.start()
        await asyncio.to_thread(until, lambda: service.get("/readyz")[0] == 200, service)


async def test_two_services_without_a_client_id_do_not_end_each_other(
    broker: Mosquitto, tmp_path: Path
) -> None:
    settings = SETTINGS.format(port=broker.port).replace('client_id = "under-test"\n', "")
    with Running(tmp_path / "a", settings) as first, Running(tmp_path / "b", settings) as second:
        async with subscribing(broker) as subscriber:
            broker.publish("home/room", "20.5")
            await subscriber.complete(1)
        for service in (first, second):
            await asyncio.to_thread(
                until, lambda s=service: s.metrics()["stream_lstm_predictions_published_total"] == 1, service
            )
        ids = [
            line["client_id"] for s in (first, second) for line in s.lines if line["message"] == "connected"
        ]
        first.kill()
        first.start()
        again = [line["client_id"] for line in first.lines if line["message"] == "connected"]
    assert len(set(ids)) == 2
    assert again == [ids[0]] * 2
    assert all(re.fullmatch("stream-lstm-[0-9a-f]{8}", client_id) for client_id in ids)


async def test_a_retained_freeze_request_holds_over_a_restart_until_it_is_removed(
    broker: Mosquitto, service: Running
) -> None:
    async def frozen(value: float) -> dict[str, bool]:
        before = subscriber.distinct
        for pump in ("pump7", "pump8"):
            await asyncio.to_thread(broker.publish, f"sensors/{pump}/telemetry", json.dumps({"v": value}))
        await subscriber.complete(before + 2)
        predictions = [json.loads(of[max(of)]) for of in subscriber.predictions.values()]
        return {last["stream"]: last.get("frozen", False) for last in predictions}

    one, other = (f"sensors/{pump}/telemetry:v" for pump in ("pump7", "pump8"))
    async with subscribing(broker) as subscriber, client(broker) as operator:
        assert not any((await frozen(1.0)).values())
        await operator.publish("stream_lstm/freeze", json.dumps(["sensors/pump7/#"]), qos=1, retain=True)
        until(lambda: "freeze requested" in service.log, service)
        assert await frozen(2.0) == {one: True, other: False}
        assert service.metrics()["stream_lstm_events_frozen_total"] == 1
        assert service.stop() == 0
        service.start()
        until(lambda: service.log.count("freeze requested") >= 2, service)
        assert await frozen(3.0) == {one: True, other: False}
        await operator.publish("stream_lstm/freeze", b"", qos=1, retain=True)
        until(lambda: service.log.count("freeze requested") >= 3, service)
        assert not any((await frozen(4.0)).values())


async def test_a_stale_stream_is_published_and_published_again_when_it_is_back(
    broker: Mosquitto, service: Running
) -> None:
    changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive() -> None:
        async for message in receiver.messages:
            changes.put_nowait(json.loads(bytes(message.payload)))  # type: ignore[arg-type]

    async with client(broker) as receiver, client(broker) as sensor, asyncio.timeout(40):
        await receiver.subscribe("stream_lstm/stale", qos=1)
        task = asyncio.create_task(receive())
        for n in range(30):
            await sensor.publish("sensors/pump7/telemetry", json.dumps({"v": n}), qos=1)
            await asyncio.sleep(0.02)
        silent = await changes.get()
        assert (silent["stream"], silent["stale"]) == ("sensors/pump7/telemetry:v", True)
        assert silent["silent_seconds"] > 10.0 > silent["usual_seconds"]
        assert service.metrics()["stream_lstm_streams_stale"] == 1
        await sensor.publish("sensors/pump7/telemetry", json.dumps({"v": 5}), qos=1)
        assert (await changes.get())["stale"] is False
        assert service.metrics()["stream_lstm_streams_stale"] == 0
        task.cancel()
