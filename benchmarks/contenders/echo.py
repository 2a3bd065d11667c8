"""The service's own MQTT link and no work: every message goes back as it came, and is acknowledged."""

from __future__ import annotations

import asyncio
import gc
import sys

from stream_lstm.service.mqtt import ClientOptions, Filter, Granted, MqttClient

EVENTS_MAX = 1_024


class Ready:
    """Says when it listens."""

    def connected(self, verdict: Granted) -> None:
        """The link has connected."""
        print("ready", flush=True)

    def disconnected(self, reason: str, retry_seconds: float) -> None:
        """The link is not connected."""
        print(reason, file=sys.stderr, flush=True)


async def main(port: int, qos: int) -> None:
    filters = [Filter("sensors/+/telemetry", 1 if qos else 0)]
    link = MqttClient(
        ClientOptions(host="127.0.0.1", port=port, client_id="echo", filters=filters), observer=Ready()
    )
    running = asyncio.create_task(link.run())
    number = 0
    while not running.done():
        arrivals = await link.receive(EVENTS_MAX)
        number += 1
        answers = [(f"predictions/{m.topic}", m.payload) for arrival in arrivals for m in arrival.packets]
        await link.deliver(number, answers, arrivals)


if __name__ == "__main__":
    gc.disable()
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
