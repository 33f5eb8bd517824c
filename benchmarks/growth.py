"""What a long log costs: ``python -m benchmarks.growth [EVENTS ...]``.

For each number of events: how quickly the read cache is rebuilt from them, how long the gateway takes until it is
online, and then, with all of them running and in turns, what a command costs. Ten million take minutes and 7 GB of the
directory for temporary files.
"""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figures import Turn
from benchmarks.load import Load
from benchmarks.plant import Plant, plant

SIZES: Final = (10_000, 1_000_000)
SOME: Final = 1_000
MANY: Final = 10_000
"""Devices of a short log, and of a long one; between the two, each has a hundred events."""

BUSY: Final = 500
ROUNDS: Final = 5
STARTS: Final = 3


def main() -> None:
    """Measure every size."""
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    with ExitStack() as stack:
        print("| events | devices | rebuilt, events/s | online after, s | file, MiB |\n|---|---|---|---|---|")
        plants = [_grown(stack, size) for size in sizes]
        saturated: list[list[Turn]] = [[] for _ in sizes]
        single: list[list[Turn]] = [[] for _ in sizes]
        for one in plants:
            one.each_once(BUSY)
        for _ in range(ROUNDS):
            for index, one in enumerate(plants):
                saturated[index].append(one.load(Load("pump", BUSY, seconds=2.0)))
                single[index].append(one.load(Load("pump", 1, seconds=1.0)))
        _tell(sizes, saturated, single)


def _grown(stack: ExitStack, events: int) -> Plant:
    """A gateway with so many events; it runs."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    devices = max(SOME, min(MANY, events // 100))
    one = stack.enter_context(plant(directory, devices, events))
    seconds = one.rebuild()
    online = []
    for number in range(STARTS):
        if number:
            one.gateway.terminate()
        online.append(one.start())
    size = one.gateway.database.stat().st_size / 2**20
    print(f"| {events:,} | {devices:,} | {events / seconds:,.0f} | {median(online):.2f} | {size:,.0f} |", flush=True)
    return one


def _tell(sizes: Sequence[int], saturated: Sequence[Sequence[Turn]], single: Sequence[Sequence[Turn]]) -> None:
    print("\n| events | commands/s | CPU µs/command | p50 ms, one in flight | CPU beside the shortest log |")
    print("|---|---|---|---|---|")
    for index, size in enumerate(sizes):
        cpu = median([one.cpu_us for one in saturated[index]])
        beside = median([one.cpu_us / first.cpu_us for one, first in zip(saturated[index], saturated[0], strict=True)])
        rate, p50 = median([one.rate for one in saturated[index]]), median([one.p50 for one in single[index]])
        print(f"| {size:,} | {rate:,.0f} | {cpu:,.0f} | {p50:.2f} | {beside:.2f} x |")


if __name__ == "__main__":
    main()
