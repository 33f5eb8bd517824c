"""The gateway beside others, in turns on one machine: ``python -m benchmarks``, or ``make bench``.

Absolute figures are those of this machine at this moment; what counts is how the contenders compare within one run.
Fails if a figure is worse than half of its target.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks import table
from benchmarks.contenders.field import Field, field
from benchmarks.contenders.names import BOOK, GATEWAY, LINK, LOOP, NAIVE, RAW, REMOTE
from benchmarks.figures import Turn
from benchmarks.load import Load
from benchmarks.targets import HALF, HOT, SATURATED, SINGLE, Key, Round, judge

DEVICES: Final = 500
ALL: Final = (RAW, LINK, BOOK, NAIVE, GATEWAY, REMOTE, LOOP)

LOADS: Final = {
    SATURATED: Load("pump", DEVICES),
    HOT: Load("hot", 1, window=500),
    SINGLE: Load("pump", 1),
    HALF: Load("pump", DEVICES),
}


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    rounds: int
    warm_up: float
    seconds: float
    latency: bool

    def loads(self, contender: str) -> tuple[str, ...]:
        """Under which loads this contender is measured; the saturated one first, as the half of it comes later."""
        latency = {LINK: (SINGLE,), GATEWAY: (SINGLE, HALF)}.get(contender, ()) if self.latency else ()
        return (SATURATED, *((HOT,) if contender in {GATEWAY, REMOTE} else ()), *latency)


FULL: Final = Extent(rounds=5, warm_up=1.0, seconds=3.0, latency=True)
QUICK: Final = Extent(rounds=2, warm_up=0.5, seconds=1.2, latency=False)


def measure(contenders: Field, names: Sequence[str], extent: Extent) -> Iterator[Round]:
    """Round after round, the contenders in another order in each."""
    for number in range(extent.rounds):
        first = number % len(names)
        found: dict[Key, Turn] = {}
        for name in (*names[first:], *names[:first]):
            for load in extent.loads(name):
                found[name, load] = _turn(contenders, name, load, extent, found)
        yield {key: found[key] for key in sorted(found, key=lambda key: names.index(key[0]))}


def _turn(contenders: Field, name: str, load: str, extent: Extent, found: Round) -> Turn:
    if name == LOOP:
        return contenders.loop(extent.warm_up, extent.seconds)
    wanted = LOADS[load].lasting(extent.warm_up, extent.seconds)
    if load == HALF:
        wanted = replace(wanted, rate=found[name, SATURATED].rate / 2)
    return contenders.load(name, wanted)


def main() -> int:
    """Measure, tell, and judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="less than a minute: ratios only")
    parser.add_argument("--rounds", type=int, help="instead of the usual number")
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL, help="the contenders to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every turn of every round goes")
    options = parser.parse_args()
    extent = QUICK if options.quick else FULL
    extent = replace(extent, rounds=options.rounds or extent.rounds)
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory() as directory, field(Path(directory), DEVICES, options.only) as contenders:
        for found in measure(contenders, options.only, extent):
            rounds.append(found)
            print(f"round {len(rounds)} of {extent.rounds}", file=sys.stderr, flush=True)
    judged = judge(rounds)
    if options.json:
        told = [[{"contender": key[0], "load": key[1], **asdict(turn)} for key, turn in one.items()] for one in rounds]
        options.json.write_text(json.dumps(told, indent=1))
    print(table.turns(rounds), end="\n\n")
    if GATEWAY in options.only:
        print(table.ratios(rounds), end="\n\n")
    print(table.verdicts(judged))
    return int(any(one.collapsed for one in judged))


if __name__ == "__main__":
    sys.exit(main())
