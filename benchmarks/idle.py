"""What the gateway costs while nothing happens: ``python -m benchmarks.idle``. A thousand devices have a session."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.plant import plant
from benchmarks.processes import cpu_seconds, resident_mib

DEVICES: Final = 1_000
SETTLING: Final = 5.0
SECONDS: Final = 30.0
ALLOWED: Final = 0.01


def main() -> int:
    """Measure, and fail if it is more than allowed."""
    with tempfile.TemporaryDirectory() as directory, plant(Path(directory)) as one:
        one.start()
        for command in ("register", "connect"):
            one.each_once(DEVICES, command)
        time.sleep(SETTLING)
        before = cpu_seconds(one.gateway.process_id)
        time.sleep(SECONDS)
        share = (cpu_seconds(one.gateway.process_id) - before) / SECONDS
        rss = resident_mib(one.gateway.process_id)
    print(f"{DEVICES:,} connected devices, idle: {share:.2%} of a core (at most {ALLOWED:.0%}), {rss:.0f} MiB")
    return int(share > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
