"""How many bytes the gateway has written to the disk for each command: what a memory card wears out by.

Run ``.venv/bin/python -m benchmarks.writes``. Needs mosquitto and a state directory on a disk: give one as an argument,
as a tmpfs counts nothing. Reads ``write_bytes`` in ``/proc/PID/io``: the pages that the process has made dirty, so what
the file system adds of its own, and what a card makes of it, come on top. The settings are the defaults.
"""

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.settings import Settings
from tests.support.site import Site, site
from tests.support.technician import Technician

IDLE: Final = 60.0
STEADY: Final = 60.0
"""Seconds; the read cache is written twice in such a time."""

PAUSE: Final = 0.1
DEVICES: Final = 10
AT_ONCE: Final = 20
SATURATING: Final = 500
"""Reports of each device."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a load took.

    Attributes:
        payload: bytes of the commands themselves.
    """

    commands: int
    payload: int
    written: int
    seconds: float


class Load:
    """Reports of some devices."""

    def __init__(self, plant: Site, tech: Technician) -> None:
        self._plant = plant
        self._tech = tech
        self._sent = 0
        self._payload = 0

    async def idle(self) -> None:
        """Send nothing."""
        await asyncio.sleep(IDLE)

    async def steady(self) -> None:
        """One report after the other, ten a second."""
        began = time.monotonic()
        while time.monotonic() - began < STEADY:
            await self._report(f"pump-{self._sent % DEVICES}")
            await asyncio.sleep(PAUSE)

    async def saturated(self) -> None:
        """Every device as much as it can."""
        await asyncio.gather(*(self._flood(f"pump-{number}") for number in range(DEVICES)))

    async def _flood(self, device: str) -> None:
        for _ in range(SATURATING // AT_ONCE):
            await asyncio.gather(*(self._report(device) for _ in range(AT_ONCE)))

    async def _report(self, device: str) -> None:
        self._sent += 1
        command_id = f"{device}-{self._sent}"
        body = {"command_id": command_id, "data": {"properties": {"count": self._sent, "temperature": 41.5}}}
        self._payload += len(json.dumps(body))
        await self._tech.publish(f"cmd/{device}/{device}/report", body)
        await self._tech.final(command_id)

    async def measured(self, name: str) -> Taken:
        """Put the gateway under the load of this name."""
        before, sent, payload, began = self._written(), self._sent, self._payload, time.monotonic()
        await getattr(self, name)()
        seconds = time.monotonic() - began
        return Taken(self._sent - sent, self._payload - payload, self._written() - before, seconds)

    def _written(self) -> int:
        counters = Path(f"/proc/{self._plant.gateway.process_id}/io").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in counters.splitlines() if line.startswith("write_bytes"))


async def measure(directory: Path) -> None:
    """Idle, then ten a second, then all that goes."""
    defaults = Settings()
    with site(
        directory,
        {
            "readmodel": {"flush_interval": defaults.readmodel.flush_interval},
            "health": {"interval": defaults.health.interval},
        },
    ) as plant:
        async with plant.technician() as tech:
            for number in range(DEVICES):
                await tech.send(f"pump-{number}", f"pump-{number}", "register", {"model": "T-1000"})
            load = Load(plant, tech)
            await asyncio.sleep(defaults.readmodel.flush_interval + 1)
            for name in ("idle", "steady", "saturated"):
                tell(name, await load.measured(name))


def tell(name: str, taken: Taken) -> None:
    """One line."""
    line = f"{name:10} {taken.written / 1_024:9.1f} KiB in {taken.seconds:5.1f} s"
    if taken.commands:
        each, own = taken.written / taken.commands, taken.payload / taken.commands
        line += (
            f"  {taken.commands:6} commands  {each:8.0f} bytes for each, {own:.0f} of them its own: {each / own:.0f} x"
        )
    print(line, flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        asyncio.run(measure(Path(made)))
