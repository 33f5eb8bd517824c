"""The gateway as a process of its own, on a state directory and a settings file of its own."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.support.chosen_store import ChosenStore
from tests.support.event_log import LoggedEvent, read_log, read_remote_log
from tests.support.technician import ROOT

REPOSITORY: Final = Path(__file__).parents[2]
STARTING: Final = 20.0
STOPPING: Final = 15.0

OPERATORS: Final = """\
[[operators]]
actors = ["alice", "operator-*"]

[[operators]]
actors = ["olga"]
devices = ["valve-*"]
"""
"""Alice of every device, Olga of valves only."""

Sections = Mapping[str, Mapping[str, object]]

DEFAULTS: Final[Sections] = {
    "gateway": {"id": "gw1"},
    "mqtt": {"host": "127.0.0.1", "root": ROOT, "will_delay": 0, "backoff_max": 1.0},
    "limits": {"commands_per_second": 0.0},
    "readmodel": {"flush_interval": 0.2},
    "health": {"interval": 0.2},
    "log": {"level": "info", "format": "json"},
}


class GatewayProcess:
    """Started, terminated, killed and started again, on the same state.

    Attributes:
        state_dir: what it keeps.
        epoch: of the newest connection that this object has seen it make.
        store: where it keeps its events.
        environment: what it has besides ours.
    """

    module = "gateway"
    """What Python is told to run."""

    def __init__(self, directory: Path, port: int, settings: Sections | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.state_dir = directory / "state"
        self.config = directory / "gateway.toml"
        self.epoch = 0
        self.environment: dict[str, str] = {}
        self._port = port
        self._log = directory / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.store = ChosenStore(directory / "store")
        own: Sections = {
            "gateway": {"state_dir": str(self.state_dir)},
            "mqtt": {"port": port},
            "event_store": self.store.settings(),
        }
        merged = _merge(DEFAULTS, own, settings or {})
        self._event_store: dict[str, Any] = merged["event_store"]
        self.config.write_text(_toml(merged))

    @property
    def database(self) -> Path:
        """The event log and everything else that must last."""
        return self.state_dir / "gateway.db"

    @property
    def cache(self) -> Path:
        """The read cache."""
        return self.state_dir / "readmodel.json"

    @property
    def process_id(self) -> int:
        """Of the running process."""
        return self._running.pid

    def start(self) -> "GatewayProcess":
        """Start it, and wait until it has told the broker that it is online."""
        self.launch()
        self.wait_online()
        return self

    def launch(self, crash_point: tuple[str, int, int] | None = None) -> None:
        """Start it without waiting.

        Args:
            crash_point: at which passage of which point which process is to be killed; see tests/support/crash_points.
        """
        module = ["tests.support.crash_points", *map(str, crash_point)] if crash_point else [self.module]
        command = [sys.executable, "-m", *module, "run", "--config", str(self.config)]
        environment = os.environ | self.environment
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)

    def wait_online(self) -> None:
        """Wait for a retained status "online" of a connection that is newer than the last one seen."""
        watcher = subprocess.Popen(
            ["mosquitto_sub", "-p", str(self._port), "-q", "1", "-t", f"{ROOT}/gateway/status"],
            stdout=subprocess.PIPE,
            bufsize=0,  # a line in a buffer would wake nobody up
        )
        try:
            self.epoch = self._epoch_after(watcher, self.epoch)
        finally:
            watcher.kill()
            watcher.communicate()

    def terminate(self) -> int:
        """Ask it to stop (SIGTERM); returns its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._running.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; returns its exit status."""
        status = self._running.wait(STOPPING)
        self._process = None
        return status

    def kill(self) -> None:
        """End it at once (SIGKILL), whatever it is doing."""
        self._running.kill()
        self.wait()

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            self.kill()
        self.store.close()

    def logged(self) -> Sequence[LoggedEvent]:
        """Every event of its log, in order."""
        if "url" in self._event_store:
            return read_remote_log(self._event_store["url"], self._event_store.get("prefix", ""))
        return read_log(self.database)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a subcommand with this gateway's settings."""
        command = self._command(*arguments)
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=STARTING, check=False)

    def log(self, event: str) -> list[dict[str, Any]]:
        """Every log line so far with this event name."""
        lines = []
        for line in self._log.read_bytes().splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
        return [line for line in lines if line.get("event") == event]

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "the gateway does not run"
        return self._process

    def _command(self, subcommand: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", self.module, subcommand, *arguments, "--config", str(self.config)]

    def _epoch_after(self, watcher: "subprocess.Popen[bytes]", seen: int) -> int:
        assert watcher.stdout is not None
        deadline = time.monotonic() + STARTING
        with selectors.DefaultSelector() as selector:
            selector.register(watcher.stdout, selectors.EVENT_READ)
            while time.monotonic() < deadline and self._running.poll() is None:
                if selector.select(0.1):
                    status = json.loads(watcher.stdout.readline())
                    if status["state"] == "online" and status["epoch"] > seen:
                        return int(status["epoch"])
        tail = self._log.read_bytes()[-4_000:].decode(errors="replace")
        raise AssertionError(f"the gateway is not online (exit status {self._running.poll()}):\n{tail}")


def _merge(*layers: Sections) -> dict[str, dict[str, object]]:
    merged: dict[str, dict[str, object]] = {}
    for layer in layers:
        for section, values in layer.items():
            merged.setdefault(section, {}).update(values)
    return merged


def _toml(sections: Sections) -> str:
    # what is JSON and no object is TOML, too
    tables = [
        "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())])
        for name, values in sections.items()
    ]
    return "\n\n".join([*tables, OPERATORS])
