"""Echo: the MQTT client of the service without an engine. It publishes each payload unchanged."""

from __future__ import annotations

import asyncio
import gc
import sys

from stream_lstm.service.mqtt import ClientOptions, Filter, Granted, MqttClient

EVENTS_MAX = 1_024


class ReadyObserver:
    """Print `ready` once connected and subscribed."""

    def connected(self, granted: Granted) -> None:
        """Called after the connection is made."""
        print("ready", flush=True)

    def settled(self) -> None:
        """Of no interest here."""

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        """Called after the connection is lost."""
        print(reason, file=sys.stderr, flush=True)


async def main(port: int, qos: int) -> None:
    filters = [Filter("sensors/+/telemetry", 1 if qos else 0)]
    client = MqttClient(
        ClientOptions(host="127.0.0.1", port=port, client_id="echo", filters=filters),
        observer=ReadyObserver(),
    )
    running = asyncio.create_task(client.run())
    number = 0
    while not running.done():
        arrivals = await client.receive(EVENTS_MAX)
        number += 1
        answers = [(f"predictions/{m.topic}", m.payload) for arrival in arrivals for m in arrival.packets]
        await client.deliver(number, answers, arrivals)


if __name__ == "__main__":
    gc.disable()
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
