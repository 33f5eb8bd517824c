"""One gateway with a past on a broker of its own, for what is measured without others beside it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.contenders.field import BROKER, FLEET, PRODUCTION, start
from benchmarks.figures import Turn
from benchmarks.history import fill
from benchmarks.load import Load, apply_load
from tests.support.broker import Broker
from tests.support.gateway_process import REPOSITORY, GatewayProcess, Sections

ROOT: Final = "edge/gw1"


@dataclass(frozen=True, slots=True)
class Plant:
    """A broker, which runs, and a gateway, which need not; it always ends in good order before it starts again."""

    broker: Broker
    gateway: GatewayProcess

    def start(self) -> float:
        """Seconds until the gateway is online."""
        return start(self.gateway, self.broker, ROOT)

    def rebuild(self) -> float:
        """Seconds that the gateway takes to make its read cache anew; it does not run meanwhile."""
        began = time.monotonic()
        command = [sys.executable, "-m", "gateway", "rebuild", "--config", str(self.gateway.config)]
        subprocess.run(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL, check=True)  # noqa: S603 - our own
        return time.monotonic() - began

    def load(self, load: Load) -> Turn:
        """One load; it says everything but where."""
        return apply_load(load.at(self.broker.port, ROOT, self.gateway.process_id, self.broker.process_id))

    def each_once(self, devices: int, command: str = "report") -> Turn:
        """One command of each device."""
        return self.load(Load(FLEET, devices, command=command, commands=1, warm_up=0.0, seconds=600.0))


@contextmanager
def plant(
    directory: Path, devices: int = 0, events: int = 0, of_first: int = 0, settings: Sections | None = None
) -> Iterator[Plant]:
    """A gateway that does not run yet, with so many events of so many devices, and more of the first one."""
    broker = Broker(directory / "broker", BROKER)
    if events:
        fill(directory / "gateway" / "state", FLEET, devices, events, of_first)
    gateway = GatewayProcess(directory / "gateway", broker.port, {**PRODUCTION, **(settings or {})})
    try:
        broker.start()
        yield Plant(broker, gateway)
    finally:
        gateway.close()
        broker.stop()
