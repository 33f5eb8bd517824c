"""How costs grow: ``python -m benchmarks.curves [devices] [events] [payload] [history]``, by default all four.

Along each dimension some gateways run side by side, one for each point, and are measured in turns, round by round.
What is found becomes data below ``docs/performance`` and, with plots, part of ``docs/performance.md``. All of it takes
about ten minutes; ``--quick`` tries it with little, and prints in place of writing.
"""

import argparse
import os
import platform
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks import growing, plots
from benchmarks.contenders.field import FLEET
from benchmarks.growing import DIMENSIONS, Dimension, Past
from benchmarks.load import Load
from benchmarks.plant import Plant, plant
from benchmarks.plots import Curve, Figure
from tests.support.broker import MOSQUITTO
from tests.support.gateway_process import REPOSITORY

DOCUMENT: Final = REPOSITORY / "docs" / "performance.md"
DATA: Final = REPOSITORY / "docs" / "performance"

STARTS: Final = 3
ANSWERING: Final = 600.0
"""Seconds in which each of some devices gets its one answer at the latest."""

AT_ONCE: Final = 1_000
"""Devices that send their first command together: more would leave a heap that no gateway ever needs."""

Sample = Mapping[Figure, float]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds that each load is measured for, and how often it is."""

    single: float
    saturated: float
    steady: float
    rounds: int


FULL: Final = Lengths(single=0.8, saturated=1.5, steady=2.0, rounds=5)
QUICK: Final = Lengths(single=0.3, saturated=0.5, steady=0.5, rounds=2)


def main() -> None:
    """Measure what the command line names."""
    options = _options()
    document = DOCUMENT.read_text()
    for name in options.dimensions:
        # before minutes are spent on what would then have no place
        plots.replaced(document, name, "")
    lengths = QUICK if options.quick else FULL
    lengths = replace(lengths, rounds=options.rounds or lengths.rounds)
    for name in options.dimensions:
        dimension = DIMENSIONS[name]
        curve = _measured(
            dimension, options.points or (dimension.small if options.quick else dimension.points), lengths
        )
        text = _text(name, dimension, curve, lengths.rounds)
        if options.quick:
            print(f"\n{text}\n\n{plots.data(curve)}", flush=True)
        else:
            DATA.mkdir(exist_ok=True)
            (DATA / f"{name}.csv").write_text(plots.data(curve))
            DOCUMENT.write_text(plots.replaced(DOCUMENT.read_text(), name, text))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves")
    parser.add_argument("dimensions", nargs="*", metavar="DIMENSION", help=f"{', '.join(DIMENSIONS)}; all by default")
    parser.add_argument("--points", type=int, nargs="+", help="of one dimension, the smallest first")
    parser.add_argument("--rounds", type=int, help=f"by default {FULL.rounds}")
    parser.add_argument("--quick", action="store_true", help="little of everything; printed, not written")
    options = parser.parse_args()
    options.dimensions = options.dimensions or list(DIMENSIONS)
    if unknown := {*options.dimensions} - {*DIMENSIONS}:
        parser.error(f"no such dimension: {', '.join(sorted(unknown))}")
    if options.points and len(options.dimensions) > 1:
        parser.error("--points wants one dimension")
    return options


def _measured(dimension: Dimension, points: Sequence[int], lengths: Lengths) -> Curve:
    pasts = [dimension.past(point, lengths.rounds) for point in points]
    found: dict[Figure, list[list[float]]] = defaultdict(list)

    def take(samples: Sequence[Sample]) -> None:
        for figure in samples[0]:
            found[figure].append([one[figure] for one in samples])

    with ExitStack() as stack:
        plants = [_started(stack, past) for past in pasts]
        pairs = [(one, past) for (one, _), past in zip(plants, pasts, strict=True)]
        for number in range(lengths.rounds):
            print(f"{dimension.title}: round {number + 1} of {lengths.rounds}", flush=True)
            take([_round(one, past, number, lengths) for one, past in pairs])
        for number in range(min(STARTS, lengths.rounds)):
            take([_restart(one, past, number) for one, past in pairs])
        if dimension.fills:
            take([sample for _, sample in plants])
    ordered = {figure: found[figure] for figure in growing.FIGURES if figure in found}
    return Curve(dimension.title, points, [dimension.label(point) for point in points], ordered)


def _started(stack: ExitStack, past: Past) -> tuple[Plant, Sample]:
    """A gateway that runs, with whatever it can have in memory."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    one = stack.enter_context(plant(directory, past.devices, past.events))
    rebuilt = one.rebuild()
    size = one.gateway.database.stat().st_size / 2**20
    one.start()
    for first in range(0, past.in_memory, AT_ONCE):
        devices = min(AT_ONCE, past.in_memory - first)
        load = Load(FLEET, devices, first=first, size=past.size, commands=1)
        one.load(load.lasting(0.0, ANSWERING))
    return one, {growing.REBUILT: rebuilt, growing.FILE: size}


def _round(one: Plant, past: Past, number: int, lengths: Lengths) -> Sample:
    first = one.load(past.first(number).lasting(0.0, ANSWERING)) if past.alone else None
    single = one.load(past.single(number).lasting(0.2, lengths.single))
    steady = one.load(past.steady(number).lasting(0.3, lengths.steady))
    saturated = one.load(past.saturated(number).lasting(0.3, lengths.saturated))
    return {
        growing.RATE: saturated.rate,
        growing.SATURATED: saturated.cpu_us,
        growing.STEADY: steady.cpu_us,
        growing.SINGLE: single.p50,
        **({growing.FIRST: first.p50} if first else {}),
        growing.RESIDENT: saturated.rss_mib,
        growing.GENERATOR: saturated.generator,
    }


def _restart(one: Plant, past: Past, number: int) -> Sample:
    one.gateway.terminate()
    online = one.start()
    if not past.alone:
        return {growing.ONLINE: online}
    first = one.load(past.first(number).lasting(0.0, ANSWERING))
    return {growing.AGAIN: first.p50, growing.ONLINE: online}


def _text(name: str, dimension: Dimension, curve: Curve, rounds: int) -> str:
    told = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - the broker
    broker = told.partition("\n")[0].replace(" version", "")
    made = f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {broker}, {rounds} rounds"
    charts = [plots.chart(curve, chart) for chart in dimension.charts]
    return "\n\n".join((f"{made}; [the data](performance/{name}.csv).", plots.table(curve), *charts))


if __name__ == "__main__":
    main()
