"""Fuzzing of MQTT framing, payload decoder, state file and snapshot: `make fuzz`.

Each packet and payload, random or mutated, must end as an event, a counted rejection or a fault of the
broker's. Any other exception stops the run and prints the bytes that caused it. At the end the process must
not have grown.

Each bit of a state file and of a snapshot, flipped alone, must be refused by the file's reader, or change
nothing that it reads. That takes half an hour of processor time; `--every 7` flips every seventh.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import mqtt5

from stream_lstm.errors import PayloadError
from stream_lstm.events import Events
from stream_lstm.service.assembly import decoder, load_model
from stream_lstm.service.mqtt.framing import Fault, Framing
from stream_lstm.service.settings import Settings
from tests.sim.world import FAST
from tests.state_damage import flip_bits, restored, survey

PACKET_BYTES_MAX = 4_096  # above the longest packet here; mutated length fields exceed it
GROWTH_BYTES_MAX = 16_000_000  # after the first tenth; a leak of 20 bytes an input shows in a million
TOPICS = ["s/a", "s/b/c", "z/livingroom/sensor", "s/ü", "s/a+b", "x" * 300]
PAYLOADS = [
    b'{"v": 21.5, "t": 1700000000}',
    b'{"v": -1e-300, "w": {"x": [1, 2.5, null]}, "time": "2026-01-01T00:00:00Z"}',
    b"21.5",
    b"online",
    b'{"id": "a/b#+", "v": 1e308, "ts": 1700000000000}',
    b'{"v": NaN}',
    b'{"\\u0076": 9007199254740993, "t": "1700000000"}',
    b"\xff\xfe\x00{",
    b"[[[[[[",
    b'{"v": true}',
    b"-0",
    b"1_000",
    b" 7 ",
    b"0x10",
    b"Infinity",
]
PACKETS: list[Any] = [
    mqtt5.PublishPacket("s/a", PAYLOADS[0], qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=7),
    mqtt5.PublishPacket("s/b", PAYLOADS[1], qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=65_535, duplicate=True),
    mqtt5.PublishPacket("s/c", b"x" * 3_000, retain=True),
    mqtt5.ConnAckPacket(session_present=True),
    mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]),
    mqtt5.PubAckPacket(3),
    mqtt5.PubRelPacket(3),
    mqtt5.PingRespPacket(),
    mqtt5.DisconnectPacket(),
]


def mutated(draw: random.Random, content: bytes) -> bytes:
    """Change, remove, insert or repeat a few bytes."""
    out = bytearray(content)
    for _ in range(draw.choice((0, 1, 1, 2, 8))):
        at = draw.randrange(len(out) + 1)
        kind = draw.randrange(4)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del out[at : at + draw.randrange(1, 6)]
        elif kind == 2:
            out[at:at] = draw.randbytes(draw.randrange(1, 6))
        else:
            out[at:at] = out[max(at - 6, 0) : at]
    return bytes(out)


def feed(framing: Framing, content: bytes, step: int, faults: Counter[str]) -> Framing:
    """Pass bytes to the framing in pieces of `step`; returns a new framing after a fault, as on reconnect."""
    messages: list[Any] = []
    try:
        while content:
            room = framing.get_buffer()
            piece = content[: min(step, len(room))]
            room[: len(piece)] = piece
            framing.parse(len(piece), messages.append, lambda packet: faults.update([type(packet).__name__]))
            content = content[len(piece) :]
    except Fault as fault:
        faults[fault.code.name] += 1
        framing = Framing(PACKET_BYTES_MAX)
    faults["messages"] += len(messages)
    return framing


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


def fuzz_messages(count: int, draw: random.Random) -> bool:
    """Feed packets and payloads; true if the process has not grown."""
    settings = Settings(
        subscribe=[
            {"topic": "s/{d...}", "stream": "{d}", "time": ["t", "time", "ts"]},
            {"topic": "z/{room}/+", "stream": "{room}/{payload.id}", "fields": ["v", "w.x"], "time": ["t"]},
        ]
    )
    payload_decoder = decoder(settings, load_model(None))
    framing, outcomes = Framing(PACKET_BYTES_MAX), Counter[str]()
    packets = [packet.write() for packet in PACKETS]
    growth_bytes = 0
    for n in range(count):
        packet = mutated(draw, draw.choice(packets)) if n % 8 else draw.randbytes(draw.randrange(40))
        payload = mutated(draw, draw.choice(PAYLOADS)) if n % 8 else draw.randbytes(draw.randrange(60))
        events = Events()
        try:
            framing = feed(framing, packet, draw.choice((1, 7, 4_096)), outcomes)
            outcomes.update(
                error.reason for error in payload_decoder.decode(draw.choice(TOPICS), payload, 1.7e9, events)
            )
            outcomes["events"] += len(events)
        except PayloadError as error:
            outcomes[error.reason] += 1
        except BaseException:
            print(f"packet {packet!r}\npayload {payload!r}", file=sys.stderr)
            raise
        if n == count // 10:
            gc.collect()
            growth_bytes = -resident_bytes()
    gc.collect()
    growth_bytes += resident_bytes()
    print(json.dumps(dict(sorted(outcomes.items())), indent=1))
    print(f"{count:,} packets and payloads; memory grew by {growth_bytes:,} bytes after the first tenth")
    return growth_bytes <= GROWTH_BYTES_MAX


def fuzz_files(every: int) -> None:
    """Flip every N-th bit of a state file and of a snapshot."""
    parts = os.cpu_count() or 1
    slices = [slice(n * every, None, parts * every) for n in range(parts)]
    for read in (survey, restored):
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            found = sum(pool.map(partial(flip_bits, read, FAST), slices), Counter[str]())
        print(f"{found.total():,} flipped bits, {read.__name__}: {json.dumps(dict(sorted(found.items())))}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--count", type=int, default=1_000_000, help="number of packets and of payloads (1,000,000)"
    )
    parser.add_argument("--every", type=int, default=1, help="flip every N-th bit of a file; 0: none (1)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    bounded = fuzz_messages(options.count, random.Random(options.seed))
    if options.every:
        fuzz_files(options.every)
    return 0 if bounded else 1


if __name__ == "__main__":
    sys.exit(main())
