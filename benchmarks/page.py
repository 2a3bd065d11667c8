"""The live page: how soon it is there with 100,000 streams, how it scrolls, what somebody who looks costs.

The cost is taken side by side: the service on one core, fed faster than a broker could (`benchmarks.fed`), in
turns with nobody looking, with one who asks for what the page asks for (the list, or a stream) and draws
nothing, and with a real Chromium. Whoever looks shares the feeder's core, and a browser takes much of it: so
of the browser read the service's own CPU time an event.

    python -m benchmarks.page
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from playwright.sync_api import sync_playwright

from benchmarks import machine
from benchmarks.fed import WINDOW, feeding
from benchmarks.filled import name
from benchmarks.load import Frames, topic
from benchmarks.viewer import chromium
from stream_lstm.demo.broker import free_port

STREAMS = 100_000
TOPICS = (1_000, 100_000)
LOOKS = ("nobody", "asks for the list", "asks for a stream", "Chromium on the list", "Chromium on a stream")
SCROLLS = 120
# Down by a few rows a frame, and now and then by ten thousand.
SCROLL = """async (scrolls) => {
  const frames = [];
  let last = performance.now();
  for (let n = 0; n < scrolls; n += 1) {
    window.scrollBy(0, n % 40 === 39 ? 440_000 : 700);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames.sort((a, b) => a - b);
}"""
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def page(cores: Sequence[int]) -> dict[str, float]:
    """Milliseconds until the page of a service with many streams shows what it should."""
    http = free_port()
    with feeding(1, cores, http=http, streams=STREAMS), sync_playwright() as playwright:
        shown = chromium(playwright).new_page()
        begun = time.perf_counter()

        def passed() -> float:
            return (time.perf_counter() - begun) * 1e3

        shown.goto(f"http://127.0.0.1:{http}/")
        shown.wait_for_selector(".list tbody a[href]")
        found = {"rows_ms": passed(), "first_paint_ms": float(shown.evaluate(PAINTED))}
        frames = shown.evaluate(SCROLL, SCROLLS)
        found |= {"frame_ms_p50": frames[SCROLLS // 2], "frame_ms_p95": frames[SCROLLS * 95 // 100]}
        begun = time.perf_counter()
        shown.fill("#search", "SENSOR0054321")
        shown.wait_for_selector(f".list tbody a[href$='{quote(name(54_321), safe='')}']")
        found["search_ms"] = passed()
        shown.fill("#search", "")
        shown.wait_for_selector(".list[aria-rowcount='100001']")
        begun = time.perf_counter()
        shown.click("th.stream button")
        shown.wait_for_selector("th.stream[aria-sort=ascending]")
        shown.wait_for_selector(
            f".list tbody tr:not(.space):nth-child(2) a[href$='{quote(name(0), safe='')}']"
        )
        found["by_name_ms"] = passed()
    return found


@contextmanager
def looking(what: str, http: int, topics: int) -> Iterator[None]:
    """Somebody who looks, or nobody."""
    if what == LOOKS[0]:
        yield
        return
    view = f"#/stream/{quote(topic(0, topics) + ':temp', safe='')}" if "stream" in what else ""
    command = [sys.executable, "-m", "benchmarks.viewer", f"http://127.0.0.1:{http}/{view}"]
    command += ["--asks"] if what.startswith("asks") else []
    viewer = subprocess.Popen(command, cwd=machine.ROOT, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert viewer.stdout
        assert viewer.stdout.readline() == b"looking\n"
        yield
    finally:
        os.killpg(viewer.pid, signal.SIGKILL)
        viewer.wait()


def cost(what: str, events: int, topics: int, cores: Sequence[int]) -> dict[str, float]:
    """Events a second and CPU time an event, with somebody who looks or nobody."""
    http = free_port()
    with feeding(1, cores, http=http) as (fake, pid):
        warm = max(2 * topics, WINDOW)
        fake.feed(Frames(0, warm, topics=topics, qos=1), qos=1, window=WINDOW)
        with looking(what, http, topics):
            frames, before = Frames(warm, events, topics=topics, qos=1), machine.cpu_seconds(pid)
            fed = fake.feed(frames, qos=1, window=WINDOW)
            spent = machine.cpu_seconds(pid) - before
    return {"events_per_second": events / fed.seconds, "cpu_us_per_event": spent / events * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="medians of so many (5)")
    parser.add_argument("--events", type=int, default=1_000_000, help="in each measurement (1,000,000)")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {cores[0]})
    shown = machine.medians([page(cores) for _ in range(options.rounds)])
    print(f"with {STREAMS:,} streams: " + ", ".join(f"{key} {value:.0f}" for key, value in shown.items()))
    costs: dict[str, dict[str, float]] = {}
    for topics in TOPICS:
        rounds: dict[str, list[dict[str, float]]] = {what: [] for what in LOOKS}
        for n in range(options.rounds):
            for what in LOOKS if n % 2 else reversed(LOOKS):
                rounds[what].append(cost(what, options.events, topics, cores))
        nobody = machine.medians(rounds["nobody"])
        for what, rows in rounds.items():
            found = machine.medians(rows)
            ratios = {key: found[key] / nobody[key] for key in found}
            costs[f"{topics:,} streams, {what}"] = found | {f"{key}_ratio": r for key, r in ratios.items()}
            speed, cpu = found["events_per_second"], found["cpu_us_per_event"]
            told = f"{speed:9,.0f} events/s ({ratios['events_per_second']:.3f})"
            cpu_told = f"{cpu:5.2f} us CPU an event ({ratios['cpu_us_per_event']:.3f})"
            print(f"{topics:7,} streams, {what:20} {told}  {cpu_told}", flush=True)
    print(f"kept in {machine.keep('page', {'page': shown, 'costs': costs})}")


if __name__ == "__main__":
    main()
