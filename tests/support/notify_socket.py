"""What systemd hears: the socket that it gives to a daemon."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

PATIENCE: Final = 15.0


class NotifySocket:
    """Listens, and remembers.

    Attributes:
        address: as a daemon is told.
        heard: every message so far, in order, but for those that feed the watchdog.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Listen at a path, or at an abstract address."""
        self.address = str(path) if path else f"@edge-gateway-test-{uuid4().hex}"
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0", 1) if path is None else self.address)

    def environment(self, watchdog: float | None = None) -> dict[str, str]:
        """What tells a daemon of it."""
        watched = {} if watchdog is None else {"WATCHDOG_USEC": str(round(watchdog * 1e6))}
        return {"NOTIFY_SOCKET": self.address, **watched}

    def hear(self, patience: float = PATIENCE) -> str | None:
        """The next message; ``None`` if none comes in time."""
        self._socket.settimeout(patience)
        try:
            message = self._socket.recv(4_096).decode()
        except TimeoutError:
            return None
        if message != "WATCHDOG=1":
            self.heard.append(message)
        return message

    def until(self, found: Callable[[str], bool]) -> str:
        """The next message that is meant, past all others."""
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            message = self.hear(left)
            if message is not None and found(message):
                return message
        raise AssertionError(f"not heard; only: {self.heard}")

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@contextmanager
def notify_socket(path: Path | None = None) -> Iterator[NotifySocket]:
    """One that is closed in the end."""
    listening = NotifySocket(path)
    try:
        yield listening
    finally:
        listening.close()


def fields(message: str) -> Mapping[str, str]:
    """A message's assignments."""
    return dict(line.split("=", 1) for line in message.splitlines())
