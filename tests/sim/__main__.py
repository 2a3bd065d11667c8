"""Run simulated worlds: `make sim SEEDS=10000`; one of them again: `python -m tests.sim --from 4711`.

`--without` removes one of the pipeline's safeguards first, to prove that the simulator notices.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stream_lstm.core.dedup import DedupWindow
from stream_lstm.service.state.writer import StateWriter
from stream_lstm.store.entry import Entry
from tests.sim.world import FAST, World


def without_recognition() -> None:
    """No deduplication: every message counts as new."""
    DedupWindow.is_duplicate = lambda self, topic, content: False  # type: ignore[method-assign]


def without_waiting() -> None:
    """Publish and acknowledge before the commit is durable."""
    real = StateWriter.commit

    def commit(self: StateWriter, entry: Entry) -> Any:
        real(self, entry)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    StateWriter.commit = commit  # type: ignore[method-assign]


def as_it_is() -> None:
    """Keep everything."""


# Without fsync: a setting, which the simulated disk honours.
SAFEGUARDS: dict[str, Callable[[], None]] = {
    "nothing": as_it_is,
    "recognition": without_recognition,
    "waiting": without_waiting,
    "fsync": as_it_is,
}


def live(seed: int, *, place: Path, fsync: bool = True) -> tuple[int, str, Counter[str]]:
    """Run one world; returns its seed, its problem or an empty text, and its faults."""
    world = World(seed, place, fsync=fsync)
    try:
        world.run()
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}", world.faults
    return seed, "", world.faults


def prepare(without: str) -> None:
    """Initialise a worker process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    SAFEGUARDS[without]()


@contextmanager
def side_by_side(without: str) -> Iterator[Callable[..., Iterable[tuple[int, str, Counter[str]]]]]:
    """A `map` over all cores, or in this process where there are no semaphores (a bare chroot)."""
    try:
        pool = multiprocessing.Pool(initializer=prepare, initargs=(without,))
    except OSError:
        prepare(without)
        yield map
    else:
        with pool:
            yield partial(pool.imap_unordered, chunksize=8)


def leave(*_: object) -> None:
    """Exit on SIGTERM with cleanup."""
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many (1)")
    parser.add_argument("--from", type=int, default=0, dest="start", help="the first one (0)")
    parser.add_argument(
        "--without", choices=list(SAFEGUARDS), default="nothing", help="a safeguard to remove"
    )
    parser.add_argument("--place", default=FAST, help="parent of the temporary folder (default: memory)")
    options = parser.parse_args()
    begun, faults, failed = time.monotonic(), Counter[str](), []
    seeds = range(options.start, options.start + options.seeds)
    # The worlds end before their folder is removed. After a SIGKILL the caller removes `--place`.
    with TemporaryDirectory(prefix="sim-", dir=options.place) as place, side_by_side(options.without) as run:
        signal.signal(signal.SIGTERM, leave)
        world = partial(live, place=Path(place), fsync=options.without != "fsync")
        for seed, problem, found in run(world, seeds):
            faults += found
            if problem:
                failed.append(seed)
                print(f"seed {seed}: {problem}", flush=True)
                if options.without != "nothing":
                    break
    for kind, count in sorted(faults.items()):
        print(f"{count:10,} × {kind}")
    print(f"{options.seeds:,} seeds, {len(failed)} failed, {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
