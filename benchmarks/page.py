"""Speed of the live page with 100,000 streams, and what a viewer costs the service.

The cost is measured in alternation: the service on one core, fed as in `benchmarks.fed`, without a viewer,
with a client that makes the page's requests (for the list, or for a stream) but draws nothing, and with a
real Chromium. Viewers share the fake broker's core, of which a browser takes much: with Chromium, compare the
service's CPU time an event rather than the throughput.

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
NO_VIEWER = "no viewer"
VIEWERS = (
    *(NO_VIEWER, "requests of the list", "requests of a stream"),
    *("Chromium on the list", "Chromium on a stream"),
)
SCROLLS = 120
# Down by a few rows a frame, and every 40th frame by ten thousand.
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
    """Milliseconds of the page with many streams: first rows, frames while scrolling, a search, a sort."""
    http = free_port()
    with feeding(1, cores, http=http, streams=STREAMS), sync_playwright() as playwright:
        tab = chromium(playwright).new_page()
        begun = time.perf_counter()

        def elapsed_ms() -> float:
            return (time.perf_counter() - begun) * 1e3

        tab.goto(f"http://127.0.0.1:{http}/")
        tab.wait_for_selector(".list tbody a[href]")
        figures = {"rows_ms": elapsed_ms(), "first_paint_ms": float(tab.evaluate(PAINTED))}
        frames = tab.evaluate(SCROLL, SCROLLS)
        figures |= {"frame_ms_p50": frames[SCROLLS // 2], "frame_ms_p95": frames[SCROLLS * 95 // 100]}
        begun = time.perf_counter()
        tab.fill("#search", "SENSOR0054321")
        tab.wait_for_selector(f".list tbody a[href$='{quote(name(54_321), safe='')}']")
        figures["search_ms"] = elapsed_ms()
        tab.fill("#search", "")
        tab.wait_for_selector(".list[aria-rowcount='100001']")
        begun = time.perf_counter()
        tab.click("th.stream button")
        tab.wait_for_selector("th.stream[aria-sort=ascending]")
        tab.wait_for_selector(f".list tbody tr:not(.space):nth-child(2) a[href$='{quote(name(0), safe='')}']")
        figures["by_name_ms"] = elapsed_ms()
    return figures


@contextmanager
def running_viewer(kind: str, http: int, topics: int) -> Iterator[None]:
    """Run one of `VIEWERS`."""
    if kind == NO_VIEWER:
        yield
        return
    view = f"#/stream/{quote(topic(0, topics) + ':temp', safe='')}" if "stream" in kind else ""
    command = [sys.executable, "-m", "benchmarks.viewer", f"http://127.0.0.1:{http}/{view}"]
    command += ["--requests"] if kind.startswith("requests") else []
    viewer = subprocess.Popen(command, cwd=machine.ROOT, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert viewer.stdout
        assert viewer.stdout.readline() == b"ready\n"
        yield
    finally:
        os.killpg(viewer.pid, signal.SIGKILL)
        viewer.wait()


def cost(viewer: str, events: int, topics: int, cores: Sequence[int]) -> dict[str, float]:
    """Events per second and CPU time an event with one of `VIEWERS`."""
    http = free_port()
    with feeding(1, cores, http=http) as (broker, pid):
        warmup = max(2 * topics, WINDOW)
        broker.feed(Frames(0, warmup, topics=topics, qos=1), qos=1, window=WINDOW)
        with running_viewer(viewer, http, topics):
            frames, before = Frames(warmup, events, topics=topics, qos=1), machine.cpu_seconds(pid)
            fed = broker.feed(frames, qos=1, window=WINDOW)
            spent = machine.cpu_seconds(pid) - before
    return {"events_per_second": events / fed.seconds, "cpu_us_per_event": spent / events * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, of which medians count (5)")
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="number of events in each measurement (1,000,000)"
    )
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {cores[0]})
    figures = machine.medians([page(cores) for _ in range(options.rounds)])
    print(f"with {STREAMS:,} streams: " + ", ".join(f"{key} {value:.0f}" for key, value in figures.items()))
    costs: dict[str, dict[str, float]] = {}
    for topics in TOPICS:
        rounds: dict[str, list[dict[str, float]]] = {viewer: [] for viewer in VIEWERS}
        for n in range(options.rounds):
            for viewer in VIEWERS if n % 2 else reversed(VIEWERS):
                rounds[viewer].append(cost(viewer, options.events, topics, cores))
        without = machine.medians(rounds[NO_VIEWER])
        for viewer, rows in rounds.items():
            medians = machine.medians(rows)
            ratios = {key: medians[key] / without[key] for key in medians}
            costs[f"{topics:,} streams, {viewer}"] = medians | {
                f"{key}_ratio": r for key, r in ratios.items()
            }
            speed, cpu = medians["events_per_second"], medians["cpu_us_per_event"]
            speed_text = f"{speed:9,.0f} events/s ({ratios['events_per_second']:.3f})"
            cpu_text = f"{cpu:5.2f} us CPU per event ({ratios['cpu_us_per_event']:.3f})"
            print(f"{topics:7,} streams, {viewer:20} {speed_text}  {cpu_text}", flush=True)
    print(f"written: {machine.keep('page', {'page': figures, 'costs': costs})}")


if __name__ == "__main__":
    main()
