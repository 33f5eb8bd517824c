"""Tell one run, or look for seeds that fail: ``python -m tests.simulation SEED``, or ``soak`` in its place."""

import sys
import time
from itertools import count

from tests.simulation.run import Run, simulate


def main(arguments: list[str]) -> int:
    """The exit status: 1 where a promise was broken."""
    match arguments:
        case ["soak"]:
            return _soak(time.time_ns() // 1_000_000)
        case ["soak", first] if first.isdecimal():
            return _soak(int(first))
        case [seed] if seed.isdecimal():
            return _tell(simulate(int(seed)))
    print(__doc__)  # noqa: T201 - it is what the command is for
    return 2


def _tell(run: Run) -> int:
    for moment, who, *what in run.trace:
        print(f"{moment:10.4f}  {who:12} {' '.join(map(str, what))}")  # noqa: T201 - as above
    print(verdict(run))  # noqa: T201 - as above
    return bool(run.faults)


def _soak(first: int) -> int:
    """New seeds until one fails, or until told to stop."""
    began, commands = time.monotonic(), 0
    for seed in count(first):
        run = simulate(seed)
        commands += run.commands
        if run.faults:
            print(f"\n{verdict(run)}")  # noqa: T201 - as above
            return 1
        done = seed - first + 1
        if not done % 100:
            pace = done / (time.monotonic() - began) * 60
            print(f"\r{done} runs, {commands} commands, {pace:.0f} runs a minute", end="", flush=True)  # noqa: T201 - as above
    return 0


def verdict(run: Run) -> str:
    """What came of a run, and how to have it again."""
    if not run.faults:
        return f"seed {run.seed}: {run.commands} commands, all promises kept"
    return "\n  ".join(
        [f"seed {run.seed} breaks {len(run.faults)} promises; see: make simulate SEED={run.seed}", *run.faults]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
