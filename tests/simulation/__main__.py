"""Tell one run, or look for seeds that fail.

``python -m tests.simulation SEED``, or ``python -m tests.simulation soak [SEED [PROCESSES]]``: new seeds in as many
processes as there are cores, until one fails, or until stopped.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count
from typing import Final

from tests.simulation.run import Run, simulate

CHUNK: Final = 20


def main(arguments: list[str]) -> int:
    """The exit status: 1 where a promise was broken."""
    match arguments:
        case ["soak", *numbers] if len(numbers) <= 2 and all(number.isdecimal() for number in numbers):
            first, processes = (*map(int, numbers), *(time.time_ns() // 1_000_000, _cores())[len(numbers) :])
            return _soak(first, processes)
        case [seed] if seed.isdecimal():
            return _tell(simulate(int(seed)))
    print(__doc__)  # noqa: T201 - it is what the command is for
    return 2


def _tell(run: Run) -> int:
    for moment, who, *what in run.trace:
        print(f"{moment:10.4f}  {who:12} {' '.join(map(str, what))}")  # noqa: T201 - as above
    print(verdict(run))  # noqa: T201 - as above
    return bool(run.faults)


def _soak(first: int, processes: int) -> int:
    """New seeds until one fails, or until told to stop."""
    began, runs, commands = time.monotonic(), 0, 0
    with ProcessPoolExecutor(processes, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        chunks: Iterator[Future[tuple[int, str]]] = (pool.submit(_chunk, seed) for seed in count(first, CHUNK))
        # one more than can run, so that nobody has to wait for the next
        waiting = {next(chunks) for _ in range(processes + 1)}
        try:
            while True:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for chunk in done:
                    settled, broken = chunk.result()
                    if broken:
                        print(f"\n{broken}")  # noqa: T201 - as above
                        return 1
                    runs, commands = runs + CHUNK, commands + settled
                    waiting.add(next(chunks))
                pace = runs / (time.monotonic() - began) * 60
                told = f"{runs} runs from seed {first} on, {commands} commands, {pace:.0f} runs a minute"
                print(f"\r{told}", end="", flush=True)  # noqa: T201 - as above
        except KeyboardInterrupt:
            # what is under way is over in a moment
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print()  # noqa: T201 - as above
            return 0
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _chunk(first: int) -> tuple[int, str]:
    """So many seeds: how many commands there were, and what went wrong."""
    commands = 0
    for seed in range(first, first + CHUNK):
        run = simulate(seed)
        commands += run.commands
        if run.faults:
            return commands, verdict(run)
    return commands, ""


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def verdict(run: Run) -> str:
    """What came of a run, and how to have it again."""
    if not run.faults:
        return f"seed {run.seed}: {run.commands} commands, all promises kept"
    return "\n  ".join(
        [f"seed {run.seed} breaks {len(run.faults)} promises; see: make simulate SEED={run.seed}", *run.faults]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
