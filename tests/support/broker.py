"""A real mosquitto of a test's own, on a free loopback port."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import Final

STARTING: Final = 10.0
# Debian keeps it where only root's path looks
MOSQUITTO: Final = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


# what the system gives to others by itself lies above
_PORTS: Final = range(20_000, 32_000)


def free_port() -> int:
    """A port on 127.0.0.1 for a server that starts later: none that somebody else is given meanwhile."""
    while True:
        # each worker of a test run has the same seed
        port = SystemRandom().choice(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Broker:
    """Started, stopped, killed and started again, always on the same port.

    Attributes:
        port: on 127.0.0.1.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        """Write its configuration; start nothing yet.

        Args:
            directory: of all its files.
            settings: of its own, which take the place of ours.
        """
        directory.mkdir(parents=True)
        self.port: Final = free_port()
        self._store = directory / "store"
        self._log = directory / "mosquitto.log"
        self._config = directory / "mosquitto.conf"
        merged = {
            "allow_anonymous": "true",
            "user": "root",  # only where root runs the tests: mosquitto could not write its store otherwise
            "set_tcp_nodelay": "true",
            "max_queued_messages": "0",
            "persistence": "true",
            "persistence_location": f"{self._store}/",
            **(settings or {}),
        }
        lines = (f"{name} {value}\n" for name, value in merged.items())
        self._config.write_text("".join((f"listener {self.port} 127.0.0.1\n", *lines)))
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, text: str) -> None:
        """Give it another configuration as a whole; it must still listen on the same port."""
        self._config.write_text(text)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._store.mkdir(exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", self._config], stdout=log, stderr=log)
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.01)
        raise AssertionError(f"mosquitto does not start:\n{self._log.read_text()}")

    def stop(self) -> None:
        """End it in good order, if it runs: it keeps sessions, queues and retained messages."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL): what it has not saved is gone."""
        self._end(signal.SIGKILL)

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    @property
    def process_id(self) -> int:
        """Of the running process."""
        assert self._process is not None, "the broker does not run"
        return self._process.pid

    def wait_killed(self) -> None:
        """Wait until somebody else has killed it."""
        assert self._process is not None, "the broker does not run"
        assert self._process.wait(STARTING) == -signal.SIGKILL
        self._process = None

    def forget(self) -> None:
        """Take everything from it that it has saved; it must not run."""
        shutil.rmtree(self._store)

    def reload(self) -> None:
        """Let it read its passwords, rules and certificates again."""
        self._signal(signal.SIGHUP)

    def pause(self) -> None:
        """Let it do nothing, with its connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None, "the broker does not run"
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(STARTING)
            self._process = None
