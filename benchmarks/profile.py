"""Where the time of the gateway goes: ``python -m benchmarks.profile [LOAD]``, with py-spy installed.

py-spy looks from outside, a hundred times a second, at the thread that holds the interpreter: waiting for it, for the
disk and for the broker is not seen. Told are the functions by their share of all samples: those of the gateway with
what they call, and all of them alone.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.__main__ import DEVICES, LOADS
from benchmarks.contenders.field import field
from benchmarks.contenders.names import GATEWAY, REMOTE
from benchmarks.targets import HOT, SATURATED, SINGLE

SECONDS: Final = 8
SHOWN: Final = 30

_HOW: Final = ("--gil", "--full-filenames", "--format", "raw")

_FRAME: Final = re.compile(r"(.*) \(.*?([^/]*/?[^/]+):\d+\)")
"""A function, the path of its file, of which the last folder is kept, and a line."""

_OURS: Final = re.compile(r"/gateway/(?!cli/|app\.py|__main__\.py)")
"""What is neither a library nor only calls everything else."""


def shares(stacks: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """Samples out of lines of frames and a number: of the gateway's functions with what they call; of all, alone."""
    inclusive: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for line in stacks:
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        alone[_named(frames[-1])] += int(samples)
        for function in {_named(frame) for frame in frames if _OURS.search(frame)}:
            inclusive[function] += int(samples)
    return inclusive, alone


def _named(frame: str) -> str:
    return _FRAME.sub(r"\2 \1", frame)


def main() -> None:
    """Load a gateway, watch it, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile")
    parser.add_argument("load", nargs="?", choices=[SATURATED, HOT, SINGLE], default=SATURATED)
    parser.add_argument("--esdb", action="store_true", help="of the gateway on EventStoreDB")
    options = parser.parse_args()
    name = REMOTE if options.esdb else GATEWAY
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        sys.exit("py-spy is missing: pip install py-spy")
    load = LOADS[options.load].lasting(1.0, SECONDS + 2.0)
    with tempfile.TemporaryDirectory() as directory, field(Path(directory), DEVICES, [name]) as contenders:
        samples = Path(directory) / "samples"
        process = str(contenders.contenders[name].process_id)
        command = [
            spy,
            "record",
            "--gil",
            "--full-filenames",
            "--format",
            "raw",
            "--duration",
            str(SECONDS),
            "--pid",
            process,
        ]
        watching = subprocess.Popen([*command, "--output", str(samples)], stdout=subprocess.DEVNULL)  # noqa: S603 - our own
        turn = contenders.load(name, load)
        watching.wait()
        inclusive, alone = shares(samples.read_text().splitlines())
    total = sum(alone.values())
    print(f"{turn.rate:,.0f} commands/s, {turn.cpu_us:,.0f} µs of CPU each, {total} samples")
    for title, counted in (("the gateway's, with what they call", inclusive), ("alone", alone)):
        print(f"\n{title}")
        for function, number in counted.most_common(SHOWN):
            print(f"{number / total:7.1%}  {function}")


if __name__ == "__main__":
    main()
