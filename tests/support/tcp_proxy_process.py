"""The TCP fault proxy as a process of its own, for tests that are not on an event loop."""

import json
import math
import selectors
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

from tests.support.tcp_line import Direction
from tests.support.tcp_proxy import LOOPBACK, Counts

REPOSITORY: Final = Path(__file__).parents[2]
ANSWERING: Final = 20.0
STOPPING: Final = 10.0


class TcpProxyProcess:
    """Does what :class:`~tests.support.tcp_proxy.TcpProxy` does, in the same words.

    Attributes:
        port: that it listens on, on 127.0.0.1, known from the start on.
    """

    def __init__(self, directory: Path, target: int, *, host: str = LOOPBACK, seed: int = 0) -> None:
        """Lead to a server; start nothing yet.

        Args:
            directory: of what the process complains about.
            target: port of the server.
            host: address of the server.
            seed: of the numbers that :meth:`reset_after` draws.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.port = 0
        self._arguments = ["--target", f"{host}:{target}", "--seed", str(seed)]
        self._complaints = directory / "tcp_proxy.err"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "tests.support.tcp_proxy", *self._arguments]
        with self._complaints.open("ab") as complaints:
            self._process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                bufsize=0,  # a line in a buffer would wake nobody up
            )
        self.port = self._answer()["port"]
        return self

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            with self._process as process:  # which closes the pipes and waits
                self._process = None
                assert process.stdin is not None
                process.stdin.close()  # it ends with its input
                try:
                    process.wait(STOPPING)
                finally:
                    process.kill()

    def counts(self) -> Counts:
        """What it has seen so far."""
        return self._tell({})

    def heal(self) -> None:
        """Pass everything on again, first what was kept back; directions that were ended stay so."""
        self._tell({"heal": {}})

    def refuse(self) -> None:
        """Refuse new connections; those that stand go on."""
        self._tell({"refuse": {}})

    def reset(self) -> None:
        """Reset every connection now, at both ends; new ones are welcome."""
        self._tell({"reset": {}})

    def black_hole(self, *directions: Direction) -> None:
        """Read nothing and tell nothing, not even an end, in these directions, by default in both."""
        self._tell({"black_hole": {"directions": directions}})

    def half_close(self, direction: Direction) -> None:
        """End one direction: its receiver sees an orderly end, its sender nothing."""
        self._tell({"half_close": {"direction": direction}})

    def slow(self, *, latency: float = 0.0, bytes_per_second: float = math.inf) -> None:
        """Delay every chunk by so many seconds, and let so much through, on each connection and in each direction."""
        self._tell({"slow": {"latency": latency, "bytes_per_second": bytes_per_second}})

    def reset_after(self, least: int, most: int) -> None:
        """Reset each connection after so many more bytes (1 at least) in both directions together, drawn for each."""
        self._tell({"reset_after": {"least": least, "most": most}})

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "the proxy does not run"
        return self._process

    def _tell(self, command: dict[str, Any]) -> Counts:
        assert self._running.stdin is not None
        self._running.stdin.write(json.dumps(command).encode() + b"\n")
        answer = self._answer()
        assert "error" not in answer, answer["error"]
        return Counts(**answer)

    def _answer(self) -> dict[str, Any]:
        process = self._running
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if selector.select(ANSWERING) and (line := process.stdout.readline()):
                answer: dict[str, Any] = json.loads(line)
                return answer
        self.close()
        tail = self._complaints.read_bytes()[-4_000:].decode(errors="replace")
        raise AssertionError(f"the proxy does not answer:\n{tail}")
