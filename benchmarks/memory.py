"""What the gateway holds in memory: ``python -m benchmarks.memory``.

First a thousand devices that report again and again: what is in use after each tenth of the commands; then a hundred
thousand devices, with the read cache written again and again while one command after the other waits for its answer:
what is longest shows how long the event loop was blocked.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.load import Load
from benchmarks.plant import plant
from benchmarks.processes import resident_mib

TENTHS: Final = 10
ALLOWED: Final = 90.0
ALLOWED_WIDE: Final = 400.0
ALLOWED_PAUSE: Final = 100.0
FLUSH_INTERVAL: Final = 1.0


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--commands", type=int, default=200_000, help="of the thousand devices together")
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--wide", type=int, default=100_000, help="devices of the second part")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        _long(Path(directory), options.devices, options.commands)
    with tempfile.TemporaryDirectory() as directory:
        _wide(Path(directory), options.wide)


def _long(directory: Path, devices: int, commands: int) -> None:
    with plant(directory) as one:
        one.start()
        one.each_once(devices, "register")
        each = commands // devices // TENTHS
        found = []
        for _ in range(TENTHS):
            turn = one.load(Load("pump", devices, commands=each, warm_up=0.0, seconds=600.0))
            found.append(turn.rss_mib)
    told = " ".join(f"{rss:.0f}" for rss in found)
    print(f"{devices:,} devices, {each * devices * TENTHS:,} commands: RSS after each tenth, MiB: {told}")
    print(f"  at the end {found[-1]:.0f} MiB (at most {ALLOWED:.0f})")
    print(f"  more in the last half: {found[-1] - found[TENTHS // 2 - 1]:+.1f} MiB")


def _wide(directory: Path, devices: int) -> None:
    with plant(directory, devices, devices, settings={"readmodel": {"flush_interval": FLUSH_INTERVAL}}) as one:
        one.rebuild()
        one.start()
        one.each_once(devices)
        rss = resident_mib(one.gateway.process_id)
        turn = one.load(Load("pump", 1, seconds=10.0))
        size = one.gateway.cache.stat().st_size / 2**20
    print(f"{devices:,} devices: {rss:.0f} MiB after a command of each (at most {ALLOWED_WIDE:.0f}), ", end="")
    print(f"{turn.rss_mib:.0f} MiB after more of one; the cache has {size:.0f} MiB")
    print(f"  one in flight while it is written each {FLUSH_INTERVAL:g} s: ", end="")
    print(f"p50 {turn.p50:.1f} ms, p99 {turn.p99:.1f} ms, longest {turn.longest:.1f} ms (at most {ALLOWED_PAUSE:.0f})")


if __name__ == "__main__":
    main()
