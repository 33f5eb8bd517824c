"""How long commands wait while the gateway has other things to do: ``python -m benchmarks.disturbed``.

Ten thousand devices, five hundred of which send two hundred commands a second together. In turns: nothing else; the
read cache is written again and again; it is rebuilt; somebody reads the history of a device with 100,000 events.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figures import Turn, spread
from benchmarks.load import Load
from benchmarks.plant import ROOT, Plant, plant
from tests.support.gateway_process import REPOSITORY

DEVICES: Final = 10_000
EVENTS: Final = 200_000
OF_FIRST: Final = 100_000
LOAD: Final = Load("pump", 500, rate=200.0, warm_up=0.5, seconds=5.0)
ROUNDS: Final = 3
ALLOWED: Final = 2.0
FLUSH_INTERVAL: Final = 0.5
REBUILDING: Final = 300.0


def main() -> None:
    """Measure all of it, round by round."""
    with ExitStack() as stack:
        quiet, flushing = (_started(stack, interval) for interval in (30.0, FLUSH_INTERVAL))
        measures: dict[str, Callable[[], Turn]] = {
            "nothing": lambda: quiet.load(LOAD),
            f"cache written each {FLUSH_INTERVAL:g} s": lambda: flushing.load(LOAD),
            "history read": lambda: _while_asked(quiet),
            "rebuild": lambda: _while_rebuilt(quiet),
        }
        rounds = [{name: measure() for name, measure in measures.items()} for _ in range(ROUNDS)]
    print(f"| besides | p50 ms | p99 ms | longest ms | p99 beside the quiet one (at most {ALLOWED:g}) |")
    print("|---|---|---|---|---|")
    for name in measures:
        turns = [one[name] for one in rounds]
        beside = spread([one[name].p99 / one["nothing"].p99 for one in rounds])
        times = ([one.p50 for one in turns], [one.p99 for one in turns], [one.longest for one in turns])
        ratio = f"{beside.median:.2f} x ({beside.least:.2f} .. {beside.most:.2f})"
        print(f"| {name} | {' | '.join(f'{median(found):.1f}' for found in times)} | {ratio} |")


def _started(stack: ExitStack, flush_interval: float) -> Plant:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    settings = {"readmodel": {"flush_interval": flush_interval}}
    one = stack.enter_context(plant(directory, DEVICES, EVENTS, OF_FIRST, settings))
    one.rebuild()
    one.start()
    one.each_once(LOAD.devices)
    return one


def _while_asked(one: Plant) -> Turn:
    command = [sys.executable, "-m", "benchmarks.asking", str(one.broker.port), ROOT, "pump-0"]
    asking = subprocess.Popen(command, cwd=REPOSITORY)  # noqa: S603 - our own
    try:
        turn = one.load(LOAD)
        if asking.poll() is not None:
            raise RuntimeError("nobody read the history any more")
        return turn
    finally:
        asking.kill()
        asking.wait()


def _while_rebuilt(one: Plant) -> Turn:
    caught_up = len(one.gateway.log("read_cache_caught_up"))
    one.gateway.signal(signal.SIGUSR1)
    turn = one.load(LOAD)
    is_over = len(one.gateway.log("read_cache_caught_up")) > caught_up
    if is_over:
        raise RuntimeError("the rebuild was over too soon: nothing was measured")
    deadline = time.monotonic() + REBUILDING
    while len(one.gateway.log("read_cache_caught_up")) == caught_up:
        if time.monotonic() > deadline:
            raise TimeoutError("the rebuild does not end")
        time.sleep(0.1)
    return turn


if __name__ == "__main__":
    main()
