"""Runs worlds by the thousand: `make sim SEEDS=10000`, or one again: `python -m tests.sim --from 4711`.

With `--without`, one of the line's safeguards is taken out first; a simulator that does not notice is worth
nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from stream_lstm.core.window import ReplayWindow
from stream_lstm.service.keeper import Keeper
from stream_lstm.store.journal import Entry
from tests.sim.world import World


def without_recognition() -> None:
    """What comes again is taken for new."""
    ReplayWindow.is_copy = lambda self, topic, content: False  # type: ignore[method-assign]


def without_waiting() -> None:
    """Predictions and acknowledgements go out while the commit is still under way."""
    real = Keeper.commit

    def commit(self: Keeper, entry: Entry) -> Any:
        real(self, entry)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    Keeper.commit = commit  # type: ignore[method-assign]


def as_it_is() -> None:
    """Nothing is taken out."""


# An fsync that is left out is a setting, and the disk's affair.
SAFEGUARDS: dict[str, Callable[[], None]] = {
    "nothing": as_it_is,
    "recognition": without_recognition,
    "waiting": without_waiting,
    "fsync": as_it_is,
}


def live(seed: int, *, fsync: bool = True) -> tuple[int, str, Counter[str]]:
    """One world: its seed, what went wrong if anything did, and its faults."""
    world = World(seed, fsync=fsync)
    try:
        world.run()
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}", world.faults
    return seed, "", world.faults


def prepare(without: str) -> None:
    """For each process that runs worlds."""
    logging.disable(logging.CRITICAL)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    SAFEGUARDS[without]()


@contextmanager
def side_by_side(without: str) -> Iterator[Callable[..., Iterable[tuple[int, str, Counter[str]]]]]:
    """A `map` over all cores, or over this one where there are no semaphores (a bare chroot)."""
    try:
        pool = multiprocessing.Pool(initializer=prepare, initargs=(without,))
    except OSError:
        prepare(without)
        yield map
    else:
        with pool:
            yield partial(pool.imap_unordered, chunksize=8)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many (1)")
    parser.add_argument("--from", type=int, default=0, dest="start", help="the first one (0)")
    parser.add_argument(
        "--without", choices=list(SAFEGUARDS), default="nothing", help="a safeguard to take out"
    )
    options = parser.parse_args()
    begun, faults, failed = time.monotonic(), Counter[str](), []
    seeds = range(options.start, options.start + options.seeds)
    with side_by_side(options.without) as run:
        for seed, problem, found in run(partial(live, fsync=options.without != "fsync"), seeds):
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
