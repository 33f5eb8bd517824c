"""The stand-in EventStoreDB server: as a process of its own, or in the loop of a test."""

import json
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.eventstoredb.server import Options, StandIn, serve

REPOSITORY: Final = Path(__file__).parents[2]
STARTING: Final = 20.0
STOPPING: Final = 10.0


class EventStoreProcess:
    """Started, terminated, killed and started again, on the same file and the same port.

    Attributes:
        data: the file that keeps the log.
        port: that it listens on, known from the first start on.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        """Keep the data here; start nothing yet.

        Args:
            directory: of the data and of what the process complains about.
            arguments: more of the command line, such as ``--generation 23``.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.data = directory / "eventstore.log"
        self.port = 0
        self._arguments = arguments
        self._complaints = directory / "eventstore.err"
        self._control = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For a client without TLS."""
        return f"esdb://127.0.0.1:{self.port}?Tls=false"

    @property
    def process_id(self) -> int:
        """Of the running process."""
        return self._running.pid

    def start(self) -> "EventStoreProcess":
        """Start it, and wait until it listens; again on the port that it had before."""
        command = [sys.executable, "-m", "tests.support.eventstoredb", "--data", str(self.data)]
        command += ["--port", str(self.port), *self._arguments]
        with self._complaints.open("ab") as complaints:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=complaints, bufsize=0
            )
        listening = self._first_line()
        self.port, self._control = listening["port"], listening["control"]
        return self

    def terminate(self) -> int:
        """Ask it to stop (SIGTERM); returns its exit status."""
        self._running.terminate()
        return self._wait()

    def kill(self) -> None:
        """End it at once (SIGKILL), whatever it is doing."""
        self._running.kill()
        self._wait()

    def wait_killed(self) -> None:
        """Wait until somebody else has killed it."""
        assert self._wait() == -signal.SIGKILL

    def restart(self) -> None:
        """Kill it and start it again: its data stays, the ids that it remembers do not."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            self.kill()

    def fault(self, kind: str, **details: Any) -> None:
        """Let something go wrong, in the words of :class:`~tests.support.eventstoredb.faults.Fault`."""
        self._tell({"fault": {"kind": kind, **details}})

    def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        self._tell({"clear": {}})

    def change(self, **changes: Any) -> None:
        """Change the node while it runs: ``role``, ``leader`` (host and port), ``read_only``."""
        self._tell({"node": changes})

    def pending_faults(self) -> int:
        """How many faults are still to come."""
        return int(self._tell({})["pending"])

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "the event store does not run"
        return self._process

    def _wait(self) -> int:
        process, self._process = self._running, None
        status = process.wait(STOPPING)
        process.communicate()
        return status

    def _first_line(self) -> dict[str, int]:
        process = self._running
        assert process.stdout is not None
        deadline = time.monotonic() + STARTING
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if selector.select(deadline - time.monotonic()) and (line := process.stdout.readline()):
                listening: dict[str, int] = json.loads(line)
                return listening
        self.kill()
        tail = self._complaints.read_bytes()[-4_000:].decode(errors="replace")
        raise AssertionError(f"the event store does not listen:\n{tail}")

    def _tell(self, command: dict[str, Any]) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self._control), STOPPING) as connection:
            connection.sendall(json.dumps(command).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile("rb").readline())
        assert "error" not in answer, answer["error"]
        return answer


@asynccontextmanager
async def stand_in(**options: Any) -> AsyncIterator[StandIn]:
    """The server in the loop of the test, with :class:`~tests.support.eventstoredb.server.Options`."""
    async with serve(Options(**options)) as server:
        yield server
