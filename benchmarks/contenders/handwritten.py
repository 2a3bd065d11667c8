"""Handwritten script, as one would write in an afternoon: aiomqtt, json, and a PyTorch LSTMCell a message.

It keeps a memory for each sensor and has nothing else: no disk, no redelivery, no scaling, no intervals.
"""

from __future__ import annotations

import asyncio
import json
import sys

import aiomqtt
import torch

UNITS = 64


async def main(port: int, qos: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    cell, readout = torch.nn.LSTMCell(1, UNITS), torch.nn.Linear(UNITS, 1)
    memories: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    nothing = torch.zeros(1, UNITS), torch.zeros(1, UNITS)
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("sensors/+/telemetry", qos=qos)
        print("ready", flush=True)
        with torch.inference_mode():
            async for message in client.messages:
                name = str(message.topic)
                event = json.loads(message.payload)
                value = torch.tensor([[event["temp"]]], dtype=torch.float32)
                memory = cell(value, memories.get(name, nothing))
                memories[name] = memory
                answer = {"stream": name, "seq": event["seq"], "prediction": readout(memory[0]).item()}
                await client.publish(f"predictions/{name}", json.dumps(answer), qos=0)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
