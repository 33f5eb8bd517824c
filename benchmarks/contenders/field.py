"""All contenders on one broker, each a process of its own; those whose turn it is not are idle."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import wire
from benchmarks.contenders.names import BOOK, GATEWAY, LINK, LOOP, NAIVE, RAW, REMOTE
from benchmarks.figures import Turn
from benchmarks.load import Load, apply_load
from tests.support.broker import Broker
from tests.support.eventstoredb_process import EventStoreProcess
from tests.support.gateway_process import REPOSITORY, GatewayProcess, Sections

FLEET: Final = "pump"
HOT: Final = "hot"
"""What the names of devices begin with; of the second kind there is one."""

BROKER: Final = {"max_inflight_messages": "100"}
"""As many as the gateway takes from it: mosquitto's 20 would be the bottleneck of all contenders."""

_STARTING: Final = 30.0
_READ: Final = 65_536

PRODUCTION: Final[Sections] = {
    "limits": {"commands_per_second": 0.0},
    "readmodel": {"flush_interval": 30.0},
    "health": {"interval": 10.0},
}
"""As the gateway comes, where tests have something of their own; but for the limit for each actor, which would end the
turn of the one hot device."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A process that answers commands below its root."""

    name: str
    root: str
    process_id: int


@dataclass(frozen=True, slots=True)
class Field:
    """Who contends, by name."""

    broker: Broker
    contenders: dict[str, Contender]
    store: EventStoreProcess

    def load(self, name: str, load: Load) -> Turn:
        """One turn of one of them; the load says everything but where."""
        one = self.contenders[name]
        return apply_load(load.at(self.broker.port, one.root, one.process_id, self.broker.process_id))

    def loop(self, warm_up: float, seconds: float) -> Turn:
        """One turn of the bare append loop, against the store that a gateway uses, too."""
        module = "benchmarks.contenders.append_loop"
        done = _run([module, self.store.url, str(warm_up), str(seconds)])
        return Turn(**json.loads(done))


@contextmanager
def field(directory: Path, devices: int, names: Sequence[str]) -> Iterator[Field]:
    """Broker, store and these contenders, started, with so many devices and a hot one registered at each."""
    with ExitStack() as stack:
        broker = Broker(directory / "broker", BROKER)
        stack.callback(broker.stop)
        broker.start()
        store = EventStoreProcess(directory / "store")
        stack.callback(store.close)
        if {REMOTE, LOOP} & {*names}:
            store.start()
        found: dict[str, Contender] = {}
        for name in names:
            if name != LOOP:
                found[name] = _start(stack, name, directory / name.replace(" ", "-"), broker, store)
        started = Field(broker, found, store)
        for name in found:
            for fleet, number in ((FLEET, devices), (HOT, 1)):
                for command in ("register", "report"):  # the first report of a device costs more than any other
                    started.load(name, Load(fleet, number, command=command, commands=1, warm_up=0, seconds=_STARTING))
        yield started


def _start(stack: ExitStack, name: str, directory: Path, broker: Broker, store: EventStoreProcess) -> Contender:
    root = f"bench/{name.replace(' ', '-').replace('+', 'and')}"
    directory.mkdir()
    if name in {GATEWAY, REMOTE}:
        remote: Sections = {"event_store": {"url": store.url}} if name == REMOTE else {}
        gateway = GatewayProcess(directory, broker.port, {**PRODUCTION, **remote, "mqtt": {"root": root}})
        stack.callback(gateway.close)
        start(gateway, broker, root)
        return Contender(name, root, gateway.process_id)
    module, *arguments = {
        RAW: ["raw_echo", str(broker.port), root],
        LINK: ["link_echo", str(broker.port), root],
        BOOK: ["by_the_book", "echo", str(broker.port), root, str(directory)],
        NAIVE: ["by_the_book", "naive", str(broker.port), root, str(directory)],
    }[name]
    command = [sys.executable, "-m", f"benchmarks.contenders.{module}", *arguments]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)  # noqa: S603 - our own
    stack.callback(_end, process)
    if process.stdout is None or process.stdout.readline() != b"ready\n":
        raise RuntimeError(f"{name} does not start")
    return Contender(name, root, process.pid)


def start(gateway: GatewayProcess, broker: Broker, root: str) -> float:
    """Start a gateway; seconds until it says that it is online.

    Raises:
        TimeoutError: it does not say it.
    """
    line, reader = wire.open_connection(broker.port, "watcher", [f"{root}/gateway/status"])
    with line:
        line.settimeout(_STARTING)
        began = time.monotonic()
        gateway.launch()
        while received := line.recv(_READ):
            for packet in reader.packets(received):
                if packet.kind == wire.PUBLISH & 0xF0 and b'"online"' in wire.read_message(packet).payload:
                    return time.monotonic() - began
    raise TimeoutError(f"{root} is not online")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


def _run(arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603 - our own
