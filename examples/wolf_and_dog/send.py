"""Send walks to the service: a cue, then a thousand events, then a picture.

    python -m examples.wolf_and_dog.send --lag 1000

Needs a broker, the service running with examples/wolf_and_dog/service.toml, and aiomqtt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import aiomqtt
import numpy as np

from examples.wolf_and_dog.events import FEATURES, LABELS, PICTURE, evaluation_walks

SECONDS_MAX = 60.0  # to wait for the prediction of the picture


async def walk(host: str, port: int, name: str, lag: int, seed: int) -> tuple[str, dict[str, Any]]:
    """Send one walk; returns the right label and the service's prediction for the picture."""
    sent = evaluation_walks(np.random.default_rng(seed), 1, lag)
    async with aiomqtt.Client(host, port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(f"guesses/{name}", qos=1)
        for event in sent.events[:, 0].tolist():
            payload = json.dumps(dict(zip(FEATURES, event, strict=True)))
            await client.publish(f"animals/{name}", payload, qos=1)
        async with asyncio.timeout(SECONDS_MAX):
            async for message in client.messages:
                prediction: dict[str, Any] = json.loads(bytes(message.payload))
                if prediction["value"][FEATURES[PICTURE]]:
                    return LABELS[int(sent.labels[lag, 0])], prediction
    raise AssertionError("the broker closed the connection")


async def main() -> None:
    """Send some walks, one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--lag", type=int, default=1_000, help="events between the cue and the picture")
    parser.add_argument("--walks", type=int, default=5)
    options = parser.parse_args()
    for n in range(options.walks):
        label, prediction = await walk(options.host, options.port, f"walk{n}", options.lag, n)
        odds = ", ".join(f"{name} {share:.1%}" for name, share in prediction["probabilities"].items())
        print(
            f"walk {n}, event {prediction['seq']:,}: predicted {prediction['label']} ({odds}), true {label}"
        )


if __name__ == "__main__":
    asyncio.run(main())
