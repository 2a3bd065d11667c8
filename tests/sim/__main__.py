"""Run simulated worlds: `make sim SEEDS=10000`; one of them again: `python -m tests.sim --from 4711`.

A world is the pipeline with a simulated broker, clock and disk; or, with `--whole`, the service from its
settings to its sockets, with a simulated network and MQTT server. `python -m tests.mutants` proves that
removed safeguards are noticed.
"""

from __future__ import annotations

import argparse
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

from tests.sim.process import ProcessWorld
from tests.sim.world import FAST, World


def live(seed: int, *, place: Path, whole: bool) -> tuple[int, str, Counter[str]]:
    """Run one world; returns its seed, its problem or an empty text, and its faults."""
    world = (ProcessWorld if whole else World)(seed, place)
    try:
        world.run()
    except Exception as error:
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        return seed, f"{type(first).__name__}: {first}", world.faults
    return seed, "", world.faults


def prepare() -> None:
    """Initialise a worker process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


@contextmanager
def side_by_side() -> Iterator[Callable[..., Iterable[tuple[int, str, Counter[str]]]]]:
    """A `map` over all cores, or in this process where there are no semaphores (a bare chroot)."""
    try:
        pool = multiprocessing.Pool(initializer=prepare)
    except OSError:
        prepare()
        yield map
    else:
        with pool:
            yield partial(pool.imap_unordered, chunksize=4)


def leave(*_: object) -> None:
    """Exit on SIGTERM with cleanup."""
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many (1)")
    parser.add_argument("--from", type=int, default=0, dest="start", help="the first one (0)")
    parser.add_argument("--whole", action="store_true", help="the whole process instead of the pipeline")
    parser.add_argument("--first", action="store_true", help="end with the first failure")
    parser.add_argument("--place", default=FAST, help="parent of the temporary folder (default: memory)")
    options = parser.parse_args()
    begun, faults, failed, count = time.monotonic(), Counter[str](), 0, 0
    seeds = range(options.start, options.start + options.seeds)
    # The worlds end before their folder is removed. After a SIGKILL the caller removes `--place`.
    with TemporaryDirectory(prefix="sim-", dir=options.place) as place, side_by_side() as run:
        signal.signal(signal.SIGTERM, leave)
        for seed, problem, found in run(partial(live, place=Path(place), whole=options.whole), seeds):
            faults += found
            count += 1
            if problem:
                failed += 1
                print(f"seed {seed}: {problem}", flush=True)
                if options.first:
                    break
    for kind, number in sorted(faults.items()):
        print(f"{number:10,} × {kind}")
    print(f"{count:,} seeds, {failed} failed, {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
